"""Stage `evaluate`: answers and candidates -> metrics.csv, one row per number, with its 95 % interval and n.

Columns: run, system, seed, round, dataset, split, metric, k, value, low, high, n. Metrics: the files of `jmlr.metrics`, each of
the questions of which is known what it takes (docs/metrics.md has the table). The dataset 'all' is the mean over datasets.
Rounds are the retriever's; an answer has the last one (none: 0), also where an earlier one answered (`train.keep_best`; the
manifest of `answer` says which), so that seeds stay comparable.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jmlr.options import EvaluateOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.finished import last_training
from jmlr.runtime.manifest import anew, check_written, read_manifest, stage_output
from jmlr.runtime.progress import say

if TYPE_CHECKING:
    from jmlr.metrics import Known, Row

COLUMNS = ("run", "system", "seed", "round", "dataset", "split", "metric", "k", "value", "low", "high", "n")


def evaluate(
    out: Path,
    prepared: Path,
    answers: Path,
    name: str,
    system: str,
    seed: int,
    options: EvaluateOptions,
    searches: list[Path] | None = None,
    wandb: str = "",
    mlflow: str = "",
) -> None:
    """Measure one system: its answers, and its retriever before and after each round.

    Args:
        out: folder to make: metrics.csv, per_question.parquet (the values behind every mean), qrels.trec, topics.tsv
        prepared: output of `prepare`
        answers: output of `answer`
        name: of the run, for the table
        system: name of the system, for the table
        seed: of the training, for the table
        searches: outputs of `search`, of rounds 0, 1, ...; none for a closed-book system
        wandb: project of Weights & Biases to send the figures to, into the run of the training where it has one
        mlflow: experiment of MLflow, likewise

    Example:
        jmlr evaluate --out my/metrics --prepared results/demo/prepare --answers my/answers --name mine --system rag --seed 1
    """
    from jmlr.corpus.trec import topics, write_qrels, write_topics
    from jmlr.metrics import answered, grades_of, rows, write_values
    from jmlr.runtime.trackers import check_installed, send_final

    check_installed(boards := {"wandb": wandb, "mlflow": mlflow})
    inputs = {"prepared": prepared, "answers": answers, "searches": searches}
    with stage_output(out, "evaluate", inputs=inputs, options=[options]) as (folder, notes):
        asked = _read(prepared / "questions.parquet", "--prepared", ["id", "dataset", "split", "answer", "gold_ids"],
                      ["answer_text", "explanation", "gold_grades"])  # fmt: skip
        questions = {q["id"]: q for q in asked}
        given = _read(answers / "answers.parquet", "--answers", ["question_id", "split", "answer", "predicted"],
                         ["probabilities", "rationale", "citations", "cited_ids", "ids"])  # fmt: skip
        _check(given, questions, answers)
        for a in given:
            a["dataset"] = questions[a["question_id"]]["dataset"]
        splits = list(dict.fromkeys(a["split"] for a in given))
        gold = {q["id"]: grades_of(q) for q in questions.values() if q["gold_ids"] and q["split"] in splits}
        write_topics(folder / "topics.tsv", asked)
        write_qrels(folder / "qrels.trec", {n: gold[i] for i, n in topics(questions).items() if i in gold})
        last = max(len(searches or []) - 1, 0)
        find = _concepts(given, questions, prepared, options.concepts)
        figures = list(rows(answered(given, questions, find), last))
        start: dict[str, list[str]] = {}
        for number, path in enumerate(searches or []):
            ranked, known = _searched(path, prepared, questions, splits, start)
            figures += rows(known, number, _cut_offs(ranked, options.retrieval_k, notes))
            start = start or ranked
        write_values(folder / "per_question.parquet", (row for row in figures if not row.whole))
        measured = _write(folder / "metrics.csv", [name, system, seed], _with_intervals(figures, options.bootstrap))
        notes.update(questions=len(given), with_gold=len(gold), splits=splits)
        notes["unparsed"] = sum(a["predicted"] < 0 <= a["answer"] for a in given)
    send_final(out, boards, f"evaluate {system} seed {seed}", _runs_of(answers, system, seed), _shown(measured))


def _write(file: Path, head: list[Any], rows: Iterable[list[Any]]) -> list[list[Any]]:
    """Write the table, with what begins each of its rows; return the rows."""
    measured = list(rows)
    with file.open("w", newline="", encoding="utf-8") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([*head, *row] for row in measured)
    return measured


def _shown(measured: list[list[Any]]) -> Iterator[tuple[int, str, float]]:
    """Yield the figures of the table as boards show them: (round, name, value), with their intervals and n beside them."""
    for round, dataset, split, metric, k, *figures in measured:
        name = f"{split}/{dataset}/{metric}" + (
            f"_at_{k}" if k else ""
        )  # MLflow takes no @, and no name that is a folder of another's
        for ending, figure in zip(("", "_low", "_high", "_n"), figures, strict=True):
            if figure != "":
                yield round, name + ending, float(figure)


def _runs_of(answers: Path, system: str, seed: int) -> dict[str, str]:
    """Return by which ids the boards hold the training that answered; none where it is not there, or was sent to none."""
    try:
        return dict(read_manifest(last_training(answers.resolve().parents[2], system, seed))["notes"].get("boards", {}))
    except (UserError, IndexError):
        return {}


def _read(path: Path, option: str, columns: list[str], optional: list[str]) -> list[dict[str, Any]]:
    """Read a table's records; optional columns only where it has them."""
    import pyarrow.parquet as pq

    check_written(existing(path, option))
    names = set(pq.read_schema(path).names)
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
            raise UserError(f"{where} is not the one in --prepared; {anew(answers)}")


def _concepts(answered: list[dict[str, Any]], questions: dict[str, Any], prepared: Path, name: str) -> Any:
    """Return the extractor for UMLS-F: the named one, or the open vocabulary with the run's own terms; None without rationales."""
    from jmlr.metrics.concepts.vocabulary import committed_terms, extra, extractor, vocabulary

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


def _searched(
    search: Path, prepared: Path, questions: dict[str, Any], splits: list[str], start: dict[str, list[str]]
) -> tuple[dict[str, list[str]], list[Known]]:
    """Return a search's candidates by question, and what is known of each: gold passages, else the answer's words in the texts.

    start: the candidates of round 0; empty if this is it
    """
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.metrics import Known, grades_of
    from jmlr.metrics.answer_hit import countable

    asked = [q for q in questions.values() if q["split"] in splits]
    graded = {q["dataset"] for q in asked if q["gold_ids"]}
    gold = [q for q in asked if q["gold_ids"]]
    worded = [q for q in asked if q["dataset"] not in graded and countable(q["answer_text"] or "")]
    table = _read(search / "candidates.parquet", "--searches", ["question_id", "ids"], ["passages"])
    held = {r["question_id"]: r for r in table}
    wanted = {q["id"] for q in (*gold, *worded)}
    for id in (q["id"] for q in asked if q["id"] in wanted - held.keys()):  # in the order of the table
        where = f"{search / 'candidates.parquet'}: question '{id}' of --prepared"
        raise UserError(f"{where} has no candidates; {anew(search)}")
    ranked = {q["id"]: held[q["id"]]["ids"] for q in (*gold, *worded)}
    rows = sorted({row for q in worded for row in held[q["id"]]["passages"]})
    texts = dict(zip(rows, StoredPassages.open(prepared).take(rows, ("text",)), strict=True)) if rows else {}
    facts: dict[str, dict[str, Any]] = {q["id"]: {"ranked": ranked[q["id"]], "gold": grades_of(q)} for q in gold}
    for id in start.keys() & facts.keys():
        facts[id]["start"] = start[id]
    facts |= {
        q["id"]: {"texts": [texts[row][0] for row in held[q["id"]]["passages"]], "answer": q["answer_text"]}
        for q in worded
    }
    return ranked, [Known(id, questions[id]["dataset"], questions[id]["split"], own) for id, own in facts.items()]


def _cut_offs(ranked: dict[str, list[str]], wanted: list[int], notes: dict[str, Any]) -> list[int]:
    """Return the cut-offs that the candidates reach; say which they do not."""
    depth = min(map(len, ranked.values()), default=0)
    skipped = [k for k in wanted if k > depth]
    if ranked and skipped and "skipped_k" not in notes:
        notes["skipped_k"] = skipped
        say(f"evaluate: no hit or recall at k = {', '.join(map(str, skipped))}: {depth} candidates per question")
    return [k for k in wanted if k <= depth]


def _with_intervals(rows: list[Row], samples: int) -> Iterator[list[Any]]:
    """Yield the rows of the table; after them, for each number of several datasets, their mean as dataset 'all'."""
    import numpy as np

    over: dict[tuple[Any, ...], list[np.ndarray]] = {}
    for row in rows:
        *head, values, ids = row
        if row.whole:
            yield [*head, f"{values[0]:.6f}", "", "", len(ids)]
            continue
        groups = over.setdefault((row.round, row.split, row.metric, row.k), [])
        groups.append(np.array(values))
        yield _row(row.round, row.dataset, row.split, row.metric, row.k, groups[-1:], samples)
    for (round, split, metric, k), groups in over.items():
        if len(groups) > 1:
            yield _row(round, "all", split, metric, k, groups, samples)


def _row(round: int, dataset: str, split: str, metric: str, k: Any, groups: list[Any], samples: int) -> list[Any]:
    from jmlr.metrics.statistics.interval import interval, mean

    low, high = interval(groups, samples=samples)
    return [round, dataset, split, metric, k, *(f"{v:.6f}" for v in (mean(groups), low, high)), sum(map(len, groups))]
