"""Stage `evaluate`: answers and candidates -> metrics.csv, one row per number, with its 95 % interval and n.

Columns: run, system, seed, round, dataset, split, metric, k, value, low, high, n. Metrics: accuracy, unparsed and ece
(questions with options); hit, recall, ndcg, mrr and hit_change, a round's hit less that of round 0, question by question
(questions whose gold passages are known); answer_hit (datasets without gold passages); citation_grounded,
citation_precision and umls_f (systems that write rationales; an empty one counts as 0). The dataset 'all' is the mean
over datasets. Rounds are the retriever's; an answer has the last one (none: 0), also where an earlier one answered (`train.keep_best`; the
manifest of `answer` says which), so that seeds stay comparable.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
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
    """Measure one system: its answers, and its retriever before and after each round.

    Args:
        out: folder to make: metrics.csv, per_question.parquet (the values behind every mean), qrels.trec, topics.tsv
        prepared: output of `prepare`
        answers: output of `answer`
        run: name of the run, for the table
        system: name of the system, for the table
        seed: of the training, for the table
        searches: outputs of `search`, of rounds 0, 1, ...; none for a closed-book system

    Example:
        jmlr evaluate --out my/metrics --prepared results/demo/prepare --answers my/answers --run mine --system rag --seed 1
    """
    from jmlr.metrics.table import answer_rows, calibration_rows, change_rows, grades_of, rationale_rows, write_values
    from jmlr.metrics.trec import topics, write_qrels, write_topics

    inputs = {"prepared": prepared, "answers": answers, "searches": searches}
    with stage_output(out, "evaluate", inputs=inputs, options=[options]) as (folder, notes):
        asked = _read(prepared / "questions.parquet", "--prepared", ["id", "dataset", "split", "answer", "gold_ids"],
                      ["answer_text", "explanation", "gold_grades"])  # fmt: skip
        questions = {q["id"]: q for q in asked}
        answered = _read(answers / "answers.parquet", "--answers", ["question_id", "split", "answer", "predicted"],
                         ["probabilities", "rationale", "citations", "cited_ids", "ids"])  # fmt: skip
        _check(answered, questions, answers)
        for a in answered:
            a["dataset"] = questions[a["question_id"]]["dataset"]
        splits = list(dict.fromkeys(a["split"] for a in answered))
        gold = {q["id"]: grades_of(q) for q in questions.values() if q["gold_ids"] and q["split"] in splits}
        numbers = topics(questions)
        write_topics(folder / "topics.tsv", asked)
        write_qrels(folder / "qrels.trec", {numbers[i]: passages for i, passages in gold.items()})
        last = max(len(searches or []) - 1, 0)
        find = _concepts(answered, questions, prepared, options.concepts)
        rows = [*answer_rows(answered, last), *rationale_rows(answered, questions, find, last)]
        start: list[Any] = []
        for number, path in enumerate(searches or []):
            found = _search_rows(path, prepared, questions, splits, number, options.retrieval_k, notes)
            start = start or found
            rows += [*found, *change_rows(start, found, number)]
        write_values(folder / "per_question.parquet", rows)
        with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as f:
            table = csv.writer(f, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in _with_intervals(rows, options.bootstrap):
                table.writerow([run, system, seed, *row])
            for *head, value, n in calibration_rows(answered, last):
                table.writerow([run, system, seed, *head, f"{value:.6f}", "", "", n])
        unparsed = sum(a["predicted"] < 0 <= a["answer"] for a in answered)
        notes.update(questions=len(answered), with_gold=len(gold), splits=splits, unparsed=unparsed)


def _read(path: Path, option: str, columns: list[str], optional: list[str]) -> list[dict[str, Any]]:
    """Read a table's records; optional columns only where it has them."""
    import pyarrow.parquet as pq

    names = set(pq.read_schema(existing(path, option)).names)
    found = pq.read_table(path, columns=[*columns, *(c for c in optional if c in names)]).to_pylist()
    return [{**dict.fromkeys(optional), **record} for record in found]


def _check(answered: list[dict[str, Any]], questions: dict[str, Any], answers: Path) -> None:
    """Refuse answers to questions, or with keys, that are not those of `prepare`."""
    if not answered:
        raise UserError(f"{answers / 'answers.parquet'}: no answers; was the split that was answered empty?")
    for a in answered:
        question = questions.get(a["question_id"])
        if question is None or question["answer"] != a["answer"] or question["split"] != a["split"]:
            where = f"{answers / 'answers.parquet'}: question '{a['question_id']}'"
            raise UserError(f"{where} is not the one in --prepared; answer again")


def _concepts(answered: list[dict[str, Any]], questions: dict[str, Any], prepared: Path, name: str) -> Any:
    """Return the extractor for UMLS-F: the named one, or the open vocabulary with the run's own terms; None without rationales."""
    from jmlr.metrics.concepts import committed_terms, extra, extractor, vocabulary

    if name:
        return extractor(name)
    pairs = [(a["rationale"], questions[a["question_id"]]["explanation"]) for a in answered]
    texts = [text for pair in pairs if pair[1] for text in pair if text]
    if not texts or not any(written for written, _ in pairs):
        return None
    from jmlr.corpus.tables import stored_rows

    glossary = (q["answer_text"] or "" for q in questions.values() if q["answer"] < 0)
    titles = (p["title"] for p in stored_rows(existing(prepared / "passages.parquet", "--prepared"), ["title"]))
    own = extra((term for terms in (glossary, titles) for term in terms if term), texts)
    return vocabulary({**own, **committed_terms()})


def _search_rows(
    search: Path,
    prepared: Path,
    questions: dict[str, Any],
    splits: list[str],
    number: int,
    wanted: list[int],
    notes: dict[str, Any],
) -> list[Any]:
    """Return what one search found: of gold passages where they are known, else of the answer's words."""
    from jmlr.metrics.answer_hit import countable
    from jmlr.metrics.table import answer_hit_rows, retrieval_rows

    graded = {q["dataset"] for q in questions.values() if q["gold_ids"] and q["split"] in splits}
    gold, worded = set(), set()
    for q in questions.values():
        if q["split"] in splits and q["gold_ids"]:
            gold.add(q["id"])
        elif q["split"] in splits and q["dataset"] not in graded and countable(q["answer_text"] or ""):
            worded.add(q["id"])
    table = _read(search / "candidates.parquet", "--searches", ["question_id", "ids"], [])
    ranked = {r["question_id"]: r["ids"] for r in table if r["question_id"] in gold | worded}
    for question in questions:  # in the order of the table
        if question in gold | worded and question not in ranked:
            where = f"{search / 'candidates.parquet'}: question '{question}' of --prepared"
            raise UserError(f"{where} has no candidates; search again")
    cut_offs = _cut_offs(ranked, wanted, notes)
    graded_part = {q: ranked[q] for q in questions if q in gold}
    worded_part = {q: ranked[q] for q in questions if q in worded}
    texts = _texts(prepared, {i for ids in worded_part.values() for i in ids})
    return [
        *retrieval_rows(graded_part, questions, number, cut_offs),
        *answer_hit_rows(worded_part, questions, texts, number, cut_offs),
    ]


def _texts(prepared: Path, ids: Iterable[str]) -> dict[str, str]:
    """Return the text of passages by id; of the table only these are held."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    wanted = sorted(ids)
    if not wanted:
        return {}
    table = ds.dataset(existing(prepared / "passages.parquet", "--prepared"), format="parquet")
    found = table.to_table(columns=["id", "text"], filter=pc.field("id").isin(wanted))
    return dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))


def _cut_offs(ranked: dict[str, list[str]], wanted: list[int], notes: dict[str, Any]) -> list[int]:
    """Return the cut-offs that the candidates reach; say which they do not."""
    depth = min(map(len, ranked.values()), default=0)
    skipped = [k for k in wanted if k > depth]
    if ranked and skipped and "skipped_k" not in notes:
        notes["skipped_k"] = skipped
        say(f"evaluate: no hit or recall at k = {', '.join(map(str, skipped))}: {depth} candidates per question")
    return [k for k in wanted if k <= depth]


def _with_intervals(rows: list[Any], samples: int) -> Iterator[list[Any]]:
    """Yield the rows of the table; after them, for each number of several datasets, their mean as dataset 'all'."""
    import numpy as np

    over: dict[tuple[Any, ...], list[np.ndarray]] = {}
    for round, dataset, split, metric, k, values, _ in rows:
        over.setdefault((round, split, metric, k), []).append(np.array(values))
        yield _row(round, dataset, split, metric, k, over[round, split, metric, k][-1:], samples)
    for (round, split, metric, k), groups in over.items():
        if len(groups) > 1:
            yield _row(round, "all", split, metric, k, groups, samples)


def _row(round: int, dataset: str, split: str, metric: str, k: Any, groups: list[Any], samples: int) -> list[Any]:
    from jmlr.metrics.interval import interval, mean

    low, high = interval(groups, samples=samples)
    return [round, dataset, split, metric, k, *(f"{v:.6f}" for v in (mean(groups), low, high)), sum(map(len, groups))]
