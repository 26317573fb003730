"""The rows of metrics.csv before their intervals: for each metric, dataset and split one value per question.

Rows are (round, dataset, split, metric, k, values, ids of the questions); `k` is "" where a metric has none. `averages` are those whose value is
no mean over questions, the calibration error: they carry the number itself and how many answers stand behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.corpus.citations import cited
from jmlr.metrics.accuracy import accuracy, unparsed
from jmlr.metrics.answer_hit import answer_hit
from jmlr.metrics.citation import citation_grounded, citation_precision, named
from jmlr.metrics.ece import ece
from jmlr.metrics.hit import hit
from jmlr.metrics.mrr import reciprocal_rank
from jmlr.metrics.ndcg import ndcg
from jmlr.metrics.recall import recall
from jmlr.metrics.umls_f import umls_f

Row = tuple[int, str, str, str, "int | str", list[float], list[str]]
Record = Mapping[str, Any]
VALUES = pa.schema(
    [("round", pa.int32()), ("dataset", pa.string()), ("split", pa.string()), ("metric", pa.string()), ("k", pa.int32()),
     ("ids", pa.list_(pa.string())), ("values", pa.list_(pa.float64()))]
)  # fmt: skip
AT_K: tuple[tuple[str, Callable[..., float]], ...] = (("hit", hit), ("recall", recall), ("ndcg", ndcg))


def grouped(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Group records by (dataset, split), in the order of their first appearance."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["dataset"], record["split"]), []).append(record)
    return groups


def answer_rows(answers: Iterable[Record], round: int) -> Iterator[Row]:
    """Yield accuracy and unparsed of each dataset and split, of the questions that have options."""
    for (dataset, split), members in grouped(a for a in answers if a["answer"] >= 0).items():
        predicted, ids = np.array([a["predicted"] for a in members]), [a["question_id"] for a in members]
        right = accuracy(np.array([a["answer"] for a in members]), predicted)
        yield round, dataset, split, "accuracy", "", right.tolist(), ids
        yield round, dataset, split, "unparsed", "", unparsed(predicted).tolist(), ids


def confidences(answers: Iterable[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence, correct) of the answers that have a gold option, a prediction and probabilities."""
    sure = [a for a in answers if a["answer"] >= 0 and a["predicted"] >= 0 and a.get("probabilities")]
    confidence = np.array([a["probabilities"][a["predicted"]] for a in sure])
    return confidence, np.array([float(a["predicted"] == a["answer"]) for a in sure])


def calibration_rows(answers: Iterable[Record], round: int) -> Iterator[tuple[int, str, str, str, str, float, int]]:
    """Yield the calibration error of each dataset and split that has one, as (..., value, n)."""
    for (dataset, split), members in grouped(answers).items():
        confidence, correct = confidences(members)
        if len(confidence):
            yield round, dataset, split, "ece", "", ece(confidence, correct), len(confidence)


def retrieval_rows(
    ranked: Mapping[str, list[str]], questions: Mapping[str, Record], round: int, cut_offs: Iterable[int]
) -> Iterator[Row]:
    """Yield hit, recall and nDCG at the cut-offs, and MRR over all candidates, of the questions with gold passages."""
    for (dataset, split), members in grouped(questions[i] for i in ranked if questions[i]["gold_ids"]).items():
        pairs, ids = [(ranked[q["id"]], grades_of(q)) for q in members], [q["id"] for q in members]
        for name, metric in AT_K:
            for k in cut_offs:
                yield round, dataset, split, name, k, [metric(found, gold, k) for found, gold in pairs], ids
        yield round, dataset, split, "mrr", "", [reciprocal_rank(found, gold) for found, gold in pairs], ids


def grades_of(question: Record) -> dict[str, int]:
    """Return a question's gold passages, id -> grade; 1 where a table knows no grades."""
    ids = question["gold_ids"]
    return dict(zip(ids, question.get("gold_grades") or [1] * len(ids), strict=True))


def change_rows(before: Iterable[Row], after: Iterable[Row], round: int) -> Iterator[Row]:
    """Yield hit_change: a round's hit less that of round 0, question by question, so that its interval is a paired one."""
    start = {row[1:5]: row[5] for row in before}
    for _, dataset, split, metric, k, values, ids in after if round else ():
        known = start.get((dataset, split, metric, k))
        if metric == "hit" and known:
            yield round, dataset, split, "hit_change", k, [b - a for a, b in zip(known, values, strict=True)], ids


def answer_hit_rows(
    ranked: Mapping[str, list[str]],
    questions: Mapping[str, Record],
    texts: Mapping[str, str],
    round: int,
    cut_offs: Iterable[int],
) -> Iterator[Row]:
    """Yield the answer hit rate at the cut-offs, of the questions of `ranked`; texts: passage id -> text."""
    for (dataset, split), members in grouped(questions[i] for i in ranked).items():
        for k in cut_offs:
            values = [answer_hit([texts[p] for p in ranked[q["id"]][:k]], q["answer_text"], k) for q in members]
            yield round, dataset, split, "answer_hit", k, values, [q["id"] for q in members]


def rationale_rows(
    answers: Iterable[Record], questions: Mapping[str, Record], find: Callable[[str], Iterable[str]] | None, round: int
) -> Iterator[Row]:
    """Yield what can be said of rationales: citations, and UMLS-F where the question has a reference explanation.

    Where any answer has a rationale, one without counts as 0: no concepts, and nothing cited where passages were read.

    Args:
        answers: with `rationale` and `ids` of the passages that were read; where `answer` resolved its citations, with
            `citations` (numbers from 1) and `cited_ids`
        questions: by id, with `gold_ids` and `explanation`
        find: the concepts of a text; None: no UMLS-F
        round: of the retriever behind the answers
    """
    answers = list(answers)
    written = any(a.get("rationale") for a in answers)
    for (dataset, split), members in grouped(answers if written else []).items():
        found: dict[str, dict[str, float]] = {}
        for a in members:
            id, text = a["question_id"], a.get("rationale") or ""
            question = questions[id]
            numbers, ids = a.get("citations"), a.get("cited_ids")
            if numbers is None or ids is None:
                numbers = cited(text)
                ids = named(numbers, a["ids"] or [])
            if numbers or a["ids"]:
                found.setdefault("citation_grounded", {})[id] = citation_grounded(numbers, ids)
                if question["gold_ids"]:
                    precision = citation_precision(numbers, ids, question["gold_ids"])
                    found.setdefault("citation_precision", {})[id] = precision
            reference = set(find(question["explanation"])) if find and question["explanation"] else set()
            if find and reference:
                found.setdefault("umls_f", {})[id] = umls_f(set(find(text)) if text else set(), reference)
        for metric, values in found.items():
            yield round, dataset, split, metric, "", list(values.values()), list(values)


def write_values(path: Path, rows: Iterable[Row]) -> None:
    """Write one record for each figure: round, dataset, split, metric, k (0: none), and the ids and values of its questions."""
    columns: dict[str, list[Any]] = {name: [] for name in VALUES.names}
    for round, dataset, split, metric, k, values, ids in rows:
        for name, value in zip(VALUES.names, (round, dataset, split, metric, k or 0, ids, values), strict=True):
            columns[name].append(value)
    pq.write_table(pa.table(columns, schema=VALUES), path, compression="zstd")
