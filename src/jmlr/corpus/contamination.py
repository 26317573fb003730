"""Texts that contain a test question: found by n-grams of words, so that they can be dropped and listed.

    tests = HeldOut([{"id": "q1", "dataset": "medqa", "question": "...", "answer_text": "..."}])
    tests.in_text("...")              # None, or Match(id="q1", dataset="medqa", share=0.8)

A text contains a question if it holds at least `share` of the question's n-grams: 13 words in passages (the length that
Brown et al. 2020, appendix C, use for overlap between corpus and test sets), 8 in other questions; and at least `LEAST` of
them, or all where it has fewer: "which of the following is not a feature of" is most of many short questions and makes none
of them. A question shorter than one n-gram is not looked for in passages, where "most common cause of gout" may simply be a
sentence; among questions it is found by its whole text together with its answer. Words are those of `jmlr.corpus.words`; in
scripts without blanks n characters make an n-gram, but how short a question is goes by `weight`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jmlr.corpus.seen import normalised
from jmlr.corpus.shingles import Hashes, ngrams, word_hashes
from jmlr.corpus.words import weight
from jmlr.runtime.distinct import distinct

DROPPED = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "id", "dataset", "split", "reason", "test_id", "test_dataset")),
        ("share", pa.float32()),
    ]
)
REASON = "contains a test question"
LEAST = 13


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
        words, weights = [], []
        self._whole: dict[str, int] = {}
        for question in self.questions:
            self._whole.setdefault(_whole(question), len(self.names))
            self.names.append((question["id"], question["dataset"]))
            words.append(word_hashes(question["question"]))
            weights.append(weight(question["question"]))
        self.too_short = sum(w < self.passage_ngram for w in weights)
        self._tables = {n: _Table(words, weights, n, self.share) for n in {self.passage_ngram, self.question_ngram}}

    def in_text(self, text: str) -> Match | None:
        """Return the test question that a passage or document contains most of; None if there is none."""
        return self._match(self._tables[self.passage_ngram].best(word_hashes(text)))

    def touched(self, text: str) -> Match | None:
        """Return the test question that a text has any n-gram of: of the pieces of a text that contains one."""
        return self._match(self._tables[self.passage_ngram].best(word_hashes(text), enough=False))

    def in_question(self, question: dict[str, Any]) -> Match | None:
        """Return the test question that a question of another split contains or repeats."""
        same = self._whole.get(_whole(question))
        if same is not None:
            return Match(*self.names[same], 1.0)
        return self._match(self._tables[self.question_ngram].best(word_hashes(question["question"])))

    def _match(self, best: tuple[int, float] | None) -> Match | None:
        return Match(*self.names[best[0]], best[1]) if best else None


class _Table:
    """The n-grams of all test questions, sorted, each with the question it is of, and how many make one."""

    def __init__(self, questions: list[Hashes], weights: list[float], n: int, share: float) -> None:
        self.n = n
        long = (words if w >= n else words[:0] for words, w in zip(questions, weights, strict=True))
        grams = [distinct(ngrams(words, n)) for words in long]
        self.sizes = np.array([max(1, len(g)) for g in grams])
        self.needed = np.minimum(self.sizes, np.maximum(LEAST, np.ceil(share * self.sizes)))
        joined = np.concatenate([*grams, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(grams)), [len(g) for g in grams])
        order = np.argsort(joined, kind="stable")
        self.grams, self.owners = joined[order], owners[order]

    def best(self, words: Hashes, enough: bool = True) -> tuple[int, float] | None:
        """Return (the question with the largest share of its n-grams in a text, that share), of those with enough."""
        found = distinct(ngrams(words, self.n))
        begins = np.searchsorted(self.grams, found, "left")
        hits = begins < len(self.grams)
        hits[hits] = self.grams[begins[hits]] == found[hits]
        if not hits.any():
            return None
        ends = np.searchsorted(self.grams, found[hits], "right")
        owners = np.concatenate([self.owners[b:e] for b, e in zip(begins[hits], ends, strict=True)])
        numbers, counts = np.unique(owners, return_counts=True)
        if enough:
            kept = counts >= self.needed[numbers]
            numbers, counts = numbers[kept], counts[kept]
        shares = counts / self.sizes[numbers]
        return (int(numbers[np.argmax(shares)]), float(shares.max())) if len(numbers) else None


def dropped(kind: str, id: str, dataset: str, split: str, match: Match) -> dict[str, Any]:
    """Return the row of dropped.parquet that lists a text with a test question; it holds no text."""
    what = {"kind": kind, "id": id, "dataset": dataset, "split": split, "reason": REASON}
    return {**what, "test_id": match.id, "test_dataset": match.dataset, "share": match.share}


def _whole(question: dict[str, Any]) -> str:
    return f"{normalised(question['question'])}\n{normalised(question['answer_text'])}"
