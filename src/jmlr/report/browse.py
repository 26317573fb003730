"""Every test question as the page lets people browse it: who answered what, and where the gold passage stood after each round.

    browse(run)      # JSON for page.js; None where texts must not be shown

    {"seed": 0, "pair": [1, 2], "systems": [{"title", "colour", "rounds": 4}, ...], "passages": [[id, title, text], ...],
     "questions": [{"text", "options", "gold": index, "gold_passages": [...], "answers": [[option, probability, [...]], ...],
                    "places": [[place by round], ...]}, ...]}

Answers and places are lists over systems; passages are numbers into "passages"; a place counts from 1, 0 is "not among the candidates".
Of several seeds the first is shown. No text is put in twice, and long ones are cut, so that the page stays small.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from jmlr.corpus.stored_passages import StoredPassages
from jmlr.report.load import ALL, Run, System, read_parquet
from jmlr.report.plots import colour
from jmlr.report.pool import counterpart, headline, main_joint

MOST_QUESTIONS = 2000
MOST_CHARACTERS = 400  # of a passage
MOST_TEXT = 2_000_000  # characters of all passages: where there are more, passages have their names only
COLUMNS = ("question_id", "split", "answer", "predicted", "probabilities", "passages", "ids")


def browse(run: Run) -> dict[str, Any] | None:
    """Return what the page shows of each question of the headline's split; None where the run is private or nothing was asked."""
    if run.private:
        return None
    split = headline(run)[1]
    answers = [_answers(run, s, split) for s in run.systems]
    ids = list(dict.fromkeys(i for own in answers for i in own))
    asked = _questions(run, ids[:MOST_QUESTIONS])
    places = [_places(run, s, split) for s in run.systems]
    passages = _Passages(run, {row for own in answers for i in asked for row in own.get(i, {}).get("passages", ())})
    questions = [
        {
            "text": q["question"],
            "options": q["options"],
            "gold": q["answer"],
            "answers": [_answer(own.get(i), passages) for own in answers],
            "places": [[by_round.get(i) for by_round in own] for own in places],
            "gold_passages": [passages.number[g] for g in q["gold_ids"] if g in passages.number],
        }
        for i, q in asked.items()
    ]
    return {
        "seed": run.seeds_of(run.systems[0].name)[0],
        "pair": _pair(run),
        "systems": [{"title": s.title, "colour": colour(run, s.name), "rounds": len(own)} for s, own in zip(run.systems, places, strict=True)],
        "left_out": max(0, len(ids) - MOST_QUESTIONS),
        "passages": passages.shown,
        "questions": questions,
    }  # fmt: skip


def _answers(run: Run, system: System, split: str) -> dict[str, dict[str, Any]]:
    path = run.answers[system.name, run.seeds_of(system.name)[0]].path
    columns = [c for c in COLUMNS if c in pq.read_schema(path).names]
    rows = read_parquet(path, columns, pc.field("split") == split).to_pylist()
    return {r["question_id"]: r for r in rows if r["answer"] >= 0}


def _questions(run: Run, ids: list[str]) -> dict[str, dict[str, Any]]:
    columns = ["id", "question", "options", "answer", "gold_ids"]
    table = read_parquet(run.prepared / "questions.parquet", columns, pc.field("id").isin(ids))
    return {q["id"]: q for q in table.to_pylist()}


def _places(run: Run, system: System, split: str) -> list[dict[str, int]]:
    """Return the place of each question's first gold passage, by round: the reciprocal rank that `evaluate` wrote, turned round."""
    values = run.values[system.name, run.seeds_of(system.name)[0]]
    rounds: dict[int, dict[str, int]] = {}
    for number, dataset, own_split, metric, k in sorted(values.places, key=str):
        if (own_split, metric) == (split, "mrr") and dataset != ALL:
            found = values.of(number, dataset, split, metric, k)
            rounds.setdefault(number, {}).update({i: round(1 / v) if v else 0 for i, v in found.items()})
    return [rounds[number] for number in sorted(rounds)]


class _Passages:
    """The passages that any system read, each once."""

    def __init__(self, run: Run, rows: set[int]) -> None:
        held = StoredPassages.open(run.prepared).take(sorted(rows), ("id", "title", "text")) if rows else []
        whole = sum(min(len(text), MOST_CHARACTERS) for _, _, text in held) <= MOST_TEXT
        self.shown = [[id, title or "", _cut(text) if whole else ""] for id, title, text in held]
        self.number = {id: i for i, (id, _, _) in enumerate(held)}


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rsplit(" ", 1)[0] + " …"


def _answer(row: dict[str, Any] | None, passages: _Passages) -> list[Any] | None:
    """Return [option, its probability in %, passages]; an answer that could not be parsed is option -1."""
    if row is None:
        return None
    chosen, shares = row["predicted"], row.get("probabilities") or []
    return [
        chosen,
        round(100 * shares[chosen], 1) if chosen >= 0 and shares else None,
        [passages.number[i] for i in row["ids"]],
    ]


def _pair(run: Run) -> list[int]:
    """Return which systems are compared at first: the joint one after its counterpart, else the last after the first."""
    joint = main_joint(run)
    frozen = counterpart(run, joint) if joint else None
    if joint is None or frozen is None:
        return [0, len(run.systems) - 1]
    return [run.systems.index(frozen), run.systems.index(joint)]
