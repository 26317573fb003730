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

from jmlr.corpus.tables import read_table
from jmlr.metrics.answer_hit import answer_hit, countable
from jmlr.metrics.hit import hit

SPLIT = "dev"
FALL, FEWEST = 0.05, 20  # a fall that is told: so great, on so many questions


@dataclass(frozen=True)
class Hits:
    """How often the first passage is right on the dev split, by round.

    Attributes:
        what: "hit@1": it is gold; "answer hit@1": the answer's words stand in it; "": there is nothing to go by.
        values: shares in [0, 1], of rounds 0, 1, ...; none where there is nothing to go by.
        n: questions.
    """

    what: str
    values: list[float]
    n: int

    @property
    def best(self) -> int:
        """The round with the highest share, of equals the last one; the last where there is nothing to go by."""
        return max(range(len(self.values)), key=lambda r: (self.values[r], r)) if self.values else -1

    def __str__(self) -> str:
        return f"{self.what} on {self.n} questions of {SPLIT}: " + ", ".join(f"{v:.1%}" for v in self.values)


def fall(prepared: Path, before: Path, after: Path) -> str:
    """Return a clause that tells how far the first passages have become worse in a round; "" where they have not.

    Measured on the questions of train and dev, of which there are more; a fall that chance makes is not told.
    """
    found = hits(prepared, [before, after], ("train", SPLIT))
    if found.n < FEWEST or found.values[0] - found.values[1] < FALL:
        return ""
    return (
        f"{found.what} of {found.n} questions of train and dev fell from {found.values[0]:.1%} to {found.values[1]:.1%}"
    )


def hits(prepared: Path, searches: Sequence[Path], splits: Sequence[str] = (SPLIT,)) -> Hits:
    """Measure the first passages of each round's search: by gold where any question of the splits has it, else by the answer's words."""
    columns = ["id", "split", "gold_ids", "answer_text", "options", "answer"]
    asked = [q for q in read_table(prepared / "questions.parquet", columns).to_pylist() if q["split"] in splits]
    graded = {q["id"]: set(q["gold_ids"]) for q in asked if q["gold_ids"]}
    worded = {} if graded else {q["id"]: text for q in asked if countable(text := _answer(q))}
    if not (graded or worded):
        return Hits("", [], 0)
    first = [_first(search, {*graded, *worded}) for search in searches]
    if graded:
        values = [_mean([hit([found[q]], gold, 1) for q, gold in graded.items()]) for found in first]
    else:
        texts = _texts(prepared, {i for found in first for i in found.values()})
        values = [_mean([answer_hit([texts[found[q]]], text, 1) for q, text in worded.items()]) for found in first]
    return Hits("hit@1" if graded else "answer hit@1", values, len(graded or worded))


def _answer(question: dict[str, object]) -> str:
    options, index = question["options"], question["answer"]
    assert isinstance(options, list)
    assert isinstance(index, int)
    return str(question["answer_text"] or (options[index] if index >= 0 else ""))


def _first(search: Path, wanted: set[str]) -> dict[str, str]:
    """Return question -> id of the passage that a search put first."""
    table = read_table(search / "candidates.parquet", ["question_id", "ids"])
    return {r["question_id"]: r["ids"][0] for r in table.to_pylist() if r["question_id"] in wanted}


def _texts(prepared: Path, ids: set[str]) -> dict[str, str]:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    table = ds.dataset(prepared / "passages.parquet", format="parquet")
    found = table.to_table(columns=["id", "text"], filter=pc.field("id").isin(sorted(ids)))
    return dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
