"""Which round of a joint training answers: the one whose retriever is best on the dev split (`train.keep_best`).

found = hits(prepared, [search_of_round_0, search_of_round_1, ...])     # figures by round, on dev
found.best                                                              # 0: training made the retriever worse

Round 0 is the retriever before training; its passages are answered by the LLM of round 1, which learned to read with them. The test
split is never looked at, so what is measured there stays fair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.metrics.answer_hit import answer_hit, countable
from jmlr.metrics.hit import hit
from jmlr.metrics.statistics.mcnemar import mcnemar
from jmlr.runtime.counting import count_of

SPLIT = "dev"
CHANCE = 0.05  # a fall is told whose p-value is lower


@dataclass(frozen=True)
class Hits:
    """How often the first passage is right on the dev split, by round.

    Attributes:
        what: "hit@1": it is gold; "answer hit@1": the answer's words stand in it; "": there is nothing to go by.
        marks: [rounds, questions]: 1.0 where it is right, else 0.0; none where there is nothing to go by.
    """

    what: str
    marks: list[list[float]]

    @property
    def values(self) -> list[float]:
        """Shares in [0, 1], of rounds 0, 1, ..."""
        return [sum(own) / len(own) for own in self.marks]

    @property
    def n(self) -> int:
        """How many questions there are."""
        return len(self.marks[0]) if self.marks else 0

    def change(self, before: int, after: int) -> tuple[int, int]:
        """Return how many questions were lost between two rounds, and how many were won."""
        pairs = list(zip(self.marks[before], self.marks[after], strict=True))
        return sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)

    def fell(self, before: int, after: int) -> bool:
        """Tell whether more were lost than won, by more than chance makes: the sign test, as few questions as there may be."""
        lost, won = self.change(before, after)
        return lost > won and mcnemar(lost, won) < CHANCE

    @property
    def best(self) -> int:
        """The round with the highest share, of equals the last one; the last where there is nothing to go by."""
        return max(range(len(self.values)), key=lambda r: (self.values[r], r)) if self.values else -1

    def in_vain(self) -> str:
        """Return a clause that tells that no round was as good as the retriever before training; "" where one was."""
        if self.best != 0 or len(self.marks) < 2:
            return ""
        nearest = max(range(1, len(self.marks)), key=lambda r: self.values[r])
        lost, won = self.change(0, nearest)
        chance = "" if self.fell(0, nearest) else ", which may be chance"
        counts = f"round {nearest} lost {count_of(lost, 'question')} and won {won:,}{chance}"
        return f"no round of training was as good as the retriever before it ({self}; {counts})"

    def __str__(self) -> str:
        return f"{self.what} on {self.n} questions of {SPLIT}: " + ", ".join(f"{v:.1%}" for v in self.values)


def fall(prepared: Path, before: Path, after: Path) -> str:
    """Return a clause that tells how far the first passages have become worse in a round; "" where they have not.

    Measured on the questions of train and dev, of which there are more; a fall that chance makes is not told.
    """
    found = hits(prepared, [before, after], ("train", SPLIT))
    if not found.marks or not found.fell(0, 1):
        return ""
    (start, end), (lost, won) = found.values, found.change(0, 1)
    return f"{found.what} of train and dev fell from {start:.1%} to {end:.1%} ({count_of(lost, 'question')} lost, {won:,} won of {found.n:,})"


def hits(prepared: Path, searches: Sequence[Path], splits: Sequence[str] = (SPLIT,)) -> Hits:
    """Measure the first passages of each round's search: by gold where any question of the splits has it, else by the answer's words."""
    columns = ["id", "split", "gold_ids", "answer_text", "options", "answer"]
    asked = [q for q in read_table(prepared / "questions.parquet", columns).to_pylist() if q["split"] in splits]
    graded = {q["id"]: set(q["gold_ids"]) for q in asked if q["gold_ids"]}
    worded = {} if graded else {q["id"]: text for q in asked if countable(text := _answer(q))}
    if not (graded or worded):
        return Hits("", [])
    first = [_first(search, {*graded, *worded}) for search in searches]
    if graded:
        marks = [[hit([found[q][0]], gold, 1) for q, gold in graded.items()] for found in first]
    else:
        passages = StoredPassages.open(prepared)
        texts = [
            dict(zip(found, passages.take([row for _, row in found.values()], ["text"]), strict=True))
            for found in first
        ]
        marks = [[answer_hit(held[q], text, 1) for q, text in worded.items()] for held in texts]
    return Hits("hit@1" if graded else "answer hit@1", marks)


def _answer(question: dict[str, object]) -> str:
    options, index = question["options"], question["answer"]
    assert isinstance(options, list)
    assert isinstance(index, int)
    return str(question["answer_text"] or (options[index] if index >= 0 else ""))


def _first(search: Path, wanted: set[str]) -> dict[str, tuple[str, int]]:
    """Return question -> (id, row) of the passage that a search put first."""
    table = read_table(search / "candidates.parquet", ["question_id", "ids", "passages"])
    return {r["question_id"]: (r["ids"][0], r["passages"][0]) for r in table.to_pylist() if r["question_id"] in wanted}
