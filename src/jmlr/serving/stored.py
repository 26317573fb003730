"""The questions that a run's rows answered, as it stored them: what was asked, who was right, and how far up a gold passage stood.

stored = Stored.read(Path("results/demo"), {"jmlr": row, "rag": other})
[one.question.id for one in stored.chosen(Filter(row="jmlr", beside="rag", outcome="gained"))]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jmlr.report.load import ALL, read_parquet, read_values
from jmlr.runtime.finished import answering_round
from jmlr.serving.row import Row

OUTCOMES = ("", "gained", "lost", "both right", "both wrong")
MOVES = ("", "up", "down", "same", "missing")
ASKED = ["id", "dataset", "question", "options", "answer", "answer_text", "gold_ids"]
SAID = ["question_id", "answer", "predicted", "probabilities"]
FAR_DOWN = 1 << 30  # a place behind all candidates


@dataclass(frozen=True)
class Question:
    """A question as `prepare` has it; `answer`: the right option, or -1."""

    id: str
    dataset: str
    question: str
    options: Sequence[str]
    answer: int
    answer_text: str
    gold_ids: Sequence[str]

    @property
    def gold(self) -> str:
        """The words of the right answer."""
        return self.answer_text or (self.options[self.answer] if self.answer >= 0 else "")


@dataclass(frozen=True)
class Answered:
    """What a row answered.

    places: where the first gold passage stood, by round, from 1; 0: not among the candidates.
    """

    predicted: int
    right: bool
    probability: float | None
    places: Sequence[int]

    @property
    def move(self) -> str:
        """How the place changed from before training to the round that answers."""
        if not self.places:
            return ""
        first, last = (p or FAR_DOWN for p in (self.places[0], self.places[-1]))
        if last == FAR_DOWN:
            return "missing"
        return "up" if last < first else "down" if last > first else "same"


@dataclass(frozen=True)
class Filter:
    """Which questions are shown; "" lets all pass."""

    row: str
    beside: str = ""
    outcome: str = ""
    move: str = ""
    dataset: str = ""
    unparsed: str = ""
    page: int = 1

    def query(self, **changes: Any) -> dict[str, Any]:
        """Return what of it stands in an address, with some of it changed."""
        given = {f.name: getattr(self, f.name) for f in fields(self)} | changes
        return {k: v for k, v in given.items() if v and (k, v) != ("page", 1)}


@dataclass(frozen=True)
class Shown:
    """A question with two rows' answers."""

    question: Question
    own: Answered
    beside: Answered | None

    @property
    def outcome(self) -> str:
        """What the row did beside the other one."""
        if self.beside is None or self.question.answer < 0:
            return ""
        return outcome(self.beside.right, self.own.right)


def outcome(before: bool, after: bool) -> str:
    """Name the change of an answer.

    >>> outcome(False, True), outcome(True, False)
    ('gained', 'lost')
    """
    return ("both right" if before else "gained") if after else ("lost" if before else "both wrong")


@dataclass(frozen=True)
class Stored:
    """The questions and answers of a run's rows."""

    questions: Mapping[str, Question]
    answers: Mapping[str, Mapping[str, Answered]]

    @classmethod
    def read(cls, run: Path, rows: Mapping[str, Row]) -> Stored:
        """Read what rows of a run answered; raise UserError where a file is missing or damaged."""
        answers = {name: _answers(run, row) for name, row in rows.items()}
        ids = pa.array(sorted({i for own in answers.values() for i in own}), pa.string())
        table = read_parquet(run / "prepare/questions.parquet", ASKED, pc.field("id").isin(ids))
        return cls({q["id"]: Question(**q) for q in table.select(ASKED).to_pylist()}, answers)

    @cached_property
    def datasets(self) -> list[str]:
        """The data sets of the questions."""
        return sorted({q.dataset for q in self.questions.values()})

    def chosen(self, by: Filter) -> list[Shown]:
        """Return the questions that pass a filter, in the order of the file."""
        own, other = self.answers[by.row], self.answers.get(by.beside, {})
        shown = [Shown(q, own[i], other.get(i)) for i, q in self.questions.items() if i in own]
        return [
            s
            for s in shown
            if (not by.outcome or s.outcome == by.outcome)
            and (not by.move or s.own.move == by.move)
            and (not by.dataset or s.question.dataset == by.dataset)
            and (not by.unparsed or s.own.predicted < 0)
        ]

    def right(self, row: str) -> tuple[int, int]:
        """Return how many questions with a right option a row answered with it, and how many there are."""
        known = [a for i, a in self.answers[row].items() if i in self.questions and self.questions[i].answer >= 0]
        return sum(a.right for a in known), len(known)


def _answers(run: Path, row: Row) -> dict[str, Answered]:
    """Return what a row answered, by question."""
    folder = run / row.system / f"seed{row.seed}"
    places = _places(folder / "evaluate/per_question.parquet", answering_round(run, row.system, row.seed))
    found = {}
    for said in read_parquet(folder / "answer/answers.parquet", SAID).to_pylist():
        chosen, shares, id = said["predicted"], said["probabilities"] or [], said["question_id"]
        share = shares[chosen] if chosen >= 0 and shares else None
        found[id] = Answered(chosen, chosen >= 0 and chosen == said["answer"], share, places.get(id, []))
    return found


def _places(file: Path, last: int | None) -> dict[str, list[int]]:
    """Return the places of each question's first gold passage: the reciprocal rank that `evaluate` wrote, turned round."""
    if not file.is_file():
        return {}
    values = read_values(file)
    places: dict[str, dict[int, int]] = {}
    for number, dataset, split, metric, k in values.places:
        if metric == "mrr" and dataset != ALL and (last is None or number <= last):
            for id, value in values.of(number, dataset, split, metric, k).items():
                places.setdefault(id, {})[number] = round(1 / value) if value else 0
    return {id: [of[n] for n in sorted(of)] for id, of in places.items()}
