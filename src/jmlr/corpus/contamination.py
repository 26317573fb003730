"""Texts that contain a test question: found by n-grams of words, so that they can be dropped and listed.

    tests = HeldOut([{"id": "q1", "dataset": "medqa", "question": "...", "answer_text": "..."}])
    tests.in_text("...")              # None, or Match(id="q1", dataset="medqa", share=0.8)

A text contains a question if it holds at least `share` of the question's n-grams: 13 words in passages (the length that
Brown et al. 2020, appendix C, use for overlap between corpus and test sets), 8 in other questions. A question shorter than
one n-gram is not looked for in passages, where "most common cause of gout" may simply be a sentence; among questions it is
found by its whole text together with its answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jmlr.corpus.seen import normalised
from jmlr.corpus.shingles import Hashes, ngrams, word_hashes

DROPPED = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "id", "dataset", "split", "reason", "test_id", "test_dataset")),
        ("share", pa.float32()),
    ]
)
REASON = "contains a test question"


@dataclass(frozen=True)
class Match:
    """A test question that a text contains, and which share of its n-grams."""

    id: str
    dataset: str
    share: float


@dataclass
class HeldOut:
    """The test questions as n-grams; memory is bounded by them, whatever is checked against them.

    Args:
        questions: with id, dataset, question and answer_text
        passage_ngram: words of an n-gram in passages
        question_ngram: words of an n-gram in other questions
        share: what share of a question's n-grams makes a text contain it
    """

    questions: Iterable[dict[str, Any]]
    passage_ngram: int = 13
    question_ngram: int = 8
    share: float = 0.5
    names: list[tuple[str, str]] = field(default_factory=list, init=False)
    too_short: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        words = []
        self._whole: dict[str, int] = {}
        for question in self.questions:
            self._whole.setdefault(_whole(question), len(self.names))
            self.names.append((question["id"], question["dataset"]))
            words.append(word_hashes(question["question"]))
        self.too_short = sum(len(w) < self.passage_ngram for w in words)
        self._tables = {n: _Table(words, n) for n in {self.passage_ngram, self.question_ngram}}

    def in_text(self, text: str) -> Match | None:
        """Return the test question that a passage or document contains most of; None if there is none."""
        return self._match(self._tables[self.passage_ngram].best(word_hashes(text)))

    def touched(self, text: str) -> Match | None:
        """Return the test question that a text has any n-gram of: of the pieces of a text that contains one."""
        return self._match(self._tables[self.passage_ngram].best(word_hashes(text)), 0.0)

    def in_question(self, question: dict[str, Any]) -> Match | None:
        """Return the test question that a question of another split contains or repeats."""
        same = self._whole.get(_whole(question))
        if same is not None:
            return Match(*self.names[same], 1.0)
        return self._match(self._tables[self.question_ngram].best(word_hashes(question["question"])))

    def _match(self, best: tuple[int, float], share: float | None = None) -> Match | None:
        number, found = best
        wanted = self.share if share is None else share
        return Match(*self.names[number], found) if number >= 0 and found >= wanted else None


class _Table:
    """The n-grams of all test questions, sorted, each with the question it is of."""

    def __init__(self, questions: list[Hashes], n: int) -> None:
        self.n = n
        grams = [np.unique(ngrams(words, n)) for words in questions]
        self.sizes = np.array([max(1, len(g)) for g in grams])
        joined = np.concatenate([*grams, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(grams)), [len(g) for g in grams])
        order = np.argsort(joined, kind="stable")
        self.grams, self.owners = joined[order], owners[order]

    def best(self, words: Hashes) -> tuple[int, float]:
        """Return (the question with the largest share of its n-grams in a text, that share); -1 where it has none."""
        found = np.unique(ngrams(words, self.n))
        begins = np.searchsorted(self.grams, found, "left")
        hits = begins < len(self.grams)
        hits[hits] = self.grams[begins[hits]] == found[hits]
        if not hits.any():
            return -1, 0.0
        ends = np.searchsorted(self.grams, found[hits], "right")
        owners = np.concatenate([self.owners[b:e] for b, e in zip(begins[hits], ends, strict=True)])
        numbers, counts = np.unique(owners, return_counts=True)
        shares = counts / self.sizes[numbers]
        best = int(np.argmax(shares))
        return int(numbers[best]), float(shares[best])


def dropped(kind: str, id: str, dataset: str, split: str, match: Match) -> dict[str, Any]:
    """Return the row of dropped.parquet that lists a text with a test question; it holds no text."""
    what = {"kind": kind, "id": id, "dataset": dataset, "split": split, "reason": REASON}
    return {**what, "test_id": match.id, "test_dataset": match.dataset, "share": match.share}


def _whole(question: dict[str, Any]) -> str:
    return f"{normalised(question['question'])}\n{normalised(question['answer_text'])}"
