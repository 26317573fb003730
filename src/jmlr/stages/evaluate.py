"""Stage `evaluate`: answers and candidates -> metrics.csv, one row per number, with its 95 % interval and n.

Columns: run, system, seed, round, dataset, split, metric, k, value, low, high, n. Metrics: accuracy and unparsed
(questions with options), hit, recall and mrr (questions whose gold passages are known). The dataset 'all' is the mean
over datasets. hit_change is a round's hit less that of round 0, question by question, so that its interval is a paired
one. Rounds are the retriever's; an accuracy has that of the retriever behind the answers (none: 0).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jmlr.options import EvaluateOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.progress import say

COLUMNS = ("run", "system", "seed", "round", "dataset", "split", "metric", "k", "value", "low", "high", "n")


def evaluate(
    out: Path,
    prepared: Path,
    answers: Path,
    run: str,
    system: str,
    seed: int,
    options: EvaluateOptions,
    searches: list[Path] | None = None,
) -> None:
    """Measure one system: accuracy of its answers, and its retriever before and after each round.

    Args:
        out: folder to make: metrics.csv, qrels.trec
        prepared: output of `prepare`
        answers: output of `answer`
        run: name of the run, for the table
        system: name of the system, for the table
        seed: of the training, for the table
        searches: outputs of `search`, of rounds 0, 1, ...; none for a closed-book system
    """
    import pyarrow.parquet as pq

    from jmlr.metrics.qrels import write_qrels

    inputs = {"prepared": prepared, "answers": answers, "searches": searches}
    with stage_output(out, "evaluate", inputs=inputs, options=[options]) as (folder, notes):
        columns = ["id", "dataset", "split", "answer", "gold_ids"]
        asked = pq.read_table(existing(prepared / "questions.parquet", "--prepared"), columns=columns)
        questions = {q["id"]: q for q in asked.to_pylist()}
        columns = ["question_id", "split", "answer", "predicted"]
        answered = pq.read_table(existing(answers / "answers.parquet", "--answers"), columns=columns).to_pylist()
        _check(answered, questions, answers)
        splits = list(dict.fromkeys(a["split"] for a in answered))
        gold = {q["id"]: q["gold_ids"] for q in questions.values() if q["gold_ids"] and q["split"] in splits}
        write_qrels(folder / "qrels.trec", gold)
        rows = list(_answer_rows(answered, questions, max(len(searches or []) - 1, 0)))
        first: list[Row] = []
        for number, path in enumerate(searches or []):
            ranked = _ranked(path, gold)
            found = list(
                _retrieval_rows(ranked, gold, questions, number, _cut_offs(ranked, options.retrieval_k, notes))
            )
            first = first or found
            rows += [*found, *_changes(first, found, number)]
        with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as f:
            table = csv.writer(f, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in _with_intervals(rows, options.bootstrap):
                table.writerow([run, system, seed, *row])
        notes.update(questions=len(answered), with_gold=len(gold), splits=splits)


def _check(answered: list[dict[str, Any]], questions: dict[str, Any], answers: Path) -> None:
    """Refuse answers to questions, or with keys, that are not those of `prepare`."""
    if not answered:
        raise UserError(f"{answers / 'answers.parquet'}: no answers; was the split that was answered empty?")
    for a in answered:
        question = questions.get(a["question_id"])
        if question is None or question["answer"] != a["answer"] or question["split"] != a["split"]:
            where = f"{answers / 'answers.parquet'}: question '{a['question_id']}'"
            raise UserError(f"{where} is not the one in --prepared; answer again")


Row = tuple[int, str, str, str, "int | str", list[float]]  # round, dataset, split, metric, k, one value per question


def _answer_rows(answered: list[dict[str, Any]], questions: dict[str, Any], round: int) -> Iterator[Row]:
    """Yield accuracy and unparsed of each split and dataset, of the questions that have options."""
    import numpy as np

    from jmlr.metrics.accuracy import accuracy, unparsed

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for a in answered:
        if a["answer"] >= 0:
            groups.setdefault((questions[a["question_id"]]["dataset"], a["split"]), []).append(a)
    for (dataset, split), members in groups.items():
        predicted = np.array([a["predicted"] for a in members])
        right = accuracy(np.array([a["answer"] for a in members]), predicted)
        yield round, dataset, split, "accuracy", "", right.tolist()
        yield round, dataset, split, "unparsed", "", unparsed(predicted).tolist()


def _ranked(search: Path, gold: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the candidates of the questions that have gold passages, best first."""
    import pyarrow.parquet as pq

    table = pq.read_table(existing(search / "candidates.parquet", "--searches"), columns=["question_id", "ids"])
    ranked = {r["question_id"]: r["ids"] for r in table.to_pylist() if r["question_id"] in gold}
    for question in gold:
        if question not in ranked:
            where = f"{search / 'candidates.parquet'}: question '{question}' of --prepared"
            raise UserError(f"{where} has no candidates; search again")
    return ranked


def _cut_offs(ranked: dict[str, list[str]], wanted: list[int], notes: dict[str, Any]) -> list[int]:
    """Return the cut-offs that the candidates reach; say which they do not."""
    depth = min(map(len, ranked.values()), default=0)
    skipped = [k for k in wanted if k > depth]
    if ranked and skipped and "skipped_k" not in notes:
        notes["skipped_k"] = skipped
        say(f"evaluate: no hit or recall at k = {', '.join(map(str, skipped))}: {depth} candidates per question")
    return [k for k in wanted if k <= depth]


def _retrieval_rows(
    ranked: dict[str, list[str]], gold: dict[str, list[str]], questions: dict[str, Any], round: int, cut_offs: list[int]
) -> Iterator[Row]:
    """Yield hit, recall and MRR (over all candidates) of each split and dataset."""
    from jmlr.metrics.hit import hit
    from jmlr.metrics.mrr import reciprocal_rank
    from jmlr.metrics.recall import recall

    groups: dict[tuple[str, str], list[str]] = {}
    for id in gold:
        groups.setdefault((questions[id]["dataset"], questions[id]["split"]), []).append(id)
    for (dataset, split), members in groups.items():
        at_k: tuple[tuple[str, Callable[..., float]], ...] = (("hit", hit), ("recall", recall))
        for name, metric in at_k:
            for k in cut_offs:
                yield round, dataset, split, name, k, [metric(ranked[i], frozenset(gold[i]), k) for i in members]
        yield round, dataset, split, "mrr", "", [reciprocal_rank(ranked[i], frozenset(gold[i])) for i in members]


def _changes(before: list[Row], after: list[Row], round: int) -> Iterator[Row]:
    """Yield the change of every hit since round 0, question by question; none for round 0 itself."""
    start = {row[1:5]: row[5] for row in before}
    for _, dataset, split, metric, k, values in after if round else []:
        known = start.get((dataset, split, metric, k))
        if metric == "hit" and known:
            yield round, dataset, split, "hit_change", k, [b - a for a, b in zip(known, values, strict=True)]


def _with_intervals(rows: list[Row], samples: int) -> Iterator[list[Any]]:
    """Yield the rows of the table; after them, for each number of several datasets, their mean as dataset 'all'."""
    import numpy as np

    over: dict[tuple[Any, ...], list[np.ndarray]] = {}
    for round, dataset, split, metric, k, values in rows:
        over.setdefault((round, split, metric, k), []).append(np.array(values))
        yield _row(round, dataset, split, metric, k, over[round, split, metric, k][-1:], samples)
    for (round, split, metric, k), groups in over.items():
        if len(groups) > 1:
            yield _row(round, "all", split, metric, k, groups, samples)


def _row(round: int, dataset: str, split: str, metric: str, k: Any, groups: list[Any], samples: int) -> list[Any]:
    from jmlr.metrics.interval import interval, mean

    low, high = interval(groups, samples=samples)
    return [round, dataset, split, metric, k, *(f"{v:.6f}" for v in (mean(groups), low, high)), sum(map(len, groups))]
