"""Late interaction in two steps: one inner product a passage nominates, exact MaxSim over the best of these decides.

tokens = MaxSimIndex.open("passages.index")
build_first(tokens, "passages.first")                           # an `Index` of one vector a passage
two = TwoSteps(tokens, open_first("passages.first", tokens))
scores, ids = two.search(query_tokens, k=30, rerank_count=1000)     # [B, T, D] -> float32 [B, 30], int64 [B, 30]

A passage's vector is the mean of its token vectors and one number more: by how much the best tokens of such a passage lie
above the mean. A query's is the mean of its tokens, and 1 (docs/topk.md, "In two steps"). The answer is, bit for bit, that of
an exhaustive search of the passages which the first step nominates. Which of all it loses, `recalls` counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jmlr.topk.format import IndexFormatError
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex
from jmlr.topk.shards import passages_of

FEW = 16  # where one passage of so many is reranked, an exhaustive search is no dearer (csrc/maxsim.cpp, kFew)
RUNS = 40  # in which the sample is read
BELONGS = "tokens"  # key of the first stage's provenance: the checksum of the index of the tokens
SAMPLE, ASKED, TOKENS, NEAR = (
    4000,
    64,
    32,
    300,
)  # passages, queries of them, tokens of each, best of each: what `lift` is fitted to


def build_first(
    tokens: MaxSimIndex,
    directory: str | os.PathLike[str],
    *,
    shards: Iterable[tuple[Any, Any]] | None = None,
) -> Index:
    """Write the first stage of an index that lies on disk to a folder, and open it.

    shards: what the index was made from, as `MaxSimIndex.from_shards` has it: of files a few tens of MiB are in memory at a
    time. Default: the index itself. It has the passages' ids, and in its provenance the checksum of the index.
    Raises ValueError if the index lies on no disk; OSError.
    """
    lift = lift_of(tokens)
    pairs = ((part.vectors, part.offsets) for part in _parts(tokens)) if shards is None else shards
    pooled = (passage_vectors(vectors, bounds, lift) for vectors, bounds in passages_of(pairs))
    note = {BELONGS: _checksum(tokens), "lift": lift}
    return Index.from_shards(pooled, directory, ids=tokens.ids, provenance=note)


def open_first(directory: str | os.PathLike[str], tokens: MaxSimIndex) -> Index:
    """Map what `build_first` wrote for the whole index `tokens`; errors as `Index.open`, and where it is another index's."""
    first = Index.open(directory)
    if first.provenance.get(BELONGS) != _checksum(tokens) or first.shape != (len(tokens), tokens.dim + 1):
        raise IndexFormatError(
            f"{os.fspath(directory)}: the first stage of other tokens than those of {tokens!r}; index again"
        )
    return first


@dataclass(frozen=True)
class TwoSteps:
    """An index of tokens and its first stage, or the same rows of both."""

    tokens: MaxSimIndex
    first: Index

    def search(
        self, query_tokens: np.ndarray, k: int, rerank_count: int, query_lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (scores float32 [B, k], ids int64 [B, k]): the k best by MaxSim of the `rerank_count` best of the first stage.

        query_tokens: float32 [B, T, D]; query_lengths: int [B], as `MaxSimIndex.search` has it.
        """
        named = self.nominated(query_tokens, rerank_count, query_lengths)
        return self.tokens.search(query_tokens, k, query_lengths=query_lengths, allow=named)

    def nominated(
        self, query_tokens: np.ndarray, rerank_count: int, query_lengths: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the ids int64 [B, n] of the first stage's best, best first; -1 fills up."""
        count, most, _ = query_tokens.shape
        lengths = np.full(count, most) if query_lengths is None else query_lengths
        flat = query_tokens.reshape(count * most, -1)[(np.arange(most) < lengths[:, None]).reshape(-1)]
        found: np.ndarray = self.first.search(query_vectors(flat, lengths), min(rerank_count, len(self.first)))[1]
        return found

    @property
    def most(self) -> int:
        """The largest `rerank_count` that makes sense: with more an exhaustive search is no dearer."""
        return max(1, len(self.tokens) // FEW)


def means(vectors: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the mean of each text's vectors, float32 [n, D], from [M, D] and offsets [n + 1]: added in float64, in their order."""
    if len(offsets) < 2:
        return np.zeros((0, vectors.shape[1]), np.float32)
    sums = np.add.reduceat(np.asarray(vectors, np.float64), offsets[:-1], axis=0)
    mean: np.ndarray = (sums / np.diff(offsets)[:, None]).astype(np.float32)
    return mean


def passage_vectors(vectors: np.ndarray, offsets: np.ndarray, lift: Sequence[float]) -> np.ndarray:
    """Return what stands for passages in the first stage, float32 [n, D + 1]: the mean of the tokens, and what `lift` makes of them."""
    return np.column_stack([means(vectors, offsets), (_traits(vectors, offsets) @ np.asarray(lift)).astype(np.float32)])


def query_vectors(vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return what stands for queries, float32 [b, D + 1], from the tokens of one after another and their numbers [b]."""
    return np.column_stack([means(vectors, _bounds(lengths)), np.ones(len(lengths), np.float32)])


def lift_of(tokens: MaxSimIndex) -> tuple[float, float]:
    """Return the weights of a passage's traits (how far its tokens lie apart, the logarithm of their number), fitted to the index.

    Queries are drawn from the tokens of passages. Of the best passages of each, by exact MaxSim within a sample, the mean over
    query tokens of the maximum is regressed on the mean of all products and on the traits. (0, 0) where that says nothing.
    """
    near = min(NEAR, len(tokens) - 1)
    if near < 3:
        return 0.0, 0.0
    rng = np.random.default_rng(0)
    held = []
    for begin, last in _runs(len(tokens)):  # what is read is verified, a block of the file for each run
        part = tokens.rows(begin, last)
        held += np.split(part.vectors, part.offsets[1:-1])
    offsets, vectors = _bounds(np.array([len(h) for h in held])), np.concatenate(held)
    drawn = rng.choice(len(held), min(ASKED, len(held)), replace=False)
    queries = np.stack([held[p][rng.choice(len(held[p]), TOKENS)] for p in drawn])
    scores, ids = MaxSimIndex.build(vectors, offsets, "bfloat16").search(queries, near + 1)
    scores, ids = scores[:, 1:] / TOKENS, ids[:, 1:]  # without the passage itself
    products = np.take_along_axis(queries.mean(axis=1) @ means(vectors, offsets).T, ids, axis=1)
    known = np.concatenate([products[..., None], _traits(vectors, offsets)[ids]], axis=2)
    known, wanted = known - known.mean(axis=1, keepdims=True), scores - scores.mean(axis=1, keepdims=True)
    slope, *weights = np.linalg.lstsq(known.reshape(-1, 3), wanted.reshape(-1), rcond=None)[0]
    if slope <= 0:
        return 0.0, 0.0
    spread, number = (float(f"{w / slope:.3g}") for w in weights)
    return spread, number


def _runs(passages: int) -> list[tuple[int, int]]:
    """Return (first, last + 1) of RUNS runs of passages, evenly spread, SAMPLE in all; of one run where there are no more."""
    if passages <= SAMPLE:
        return [(0, passages)]
    begins = np.linspace(0, passages - SAMPLE // RUNS, RUNS).astype(int).tolist()
    return [(begin, begin + SAMPLE // RUNS) for begin in begins]


def _traits(vectors: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return float64 [n, 2]: the root mean square distance of a passage's tokens from their mean, and the logarithm of their number."""
    lengths = np.diff(offsets)
    if not len(lengths):
        return np.zeros((0, 2))
    squares = np.einsum("md,md->m", vectors, vectors, dtype=np.float64)
    middle = np.square(means(vectors, offsets), dtype=np.float64).sum(axis=1)
    spread = np.maximum(np.add.reduceat(squares, offsets[:-1]) / lengths - middle, 0.0)
    return np.column_stack([np.sqrt(spread), np.log(lengths)])


def recalls(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the share of each query's exact ids [B, k] that are among those found [B, n], float64 [B]; -1 is no id.

    >>> recalls(np.array([[4, 2, 9]]), np.array([[2, 3, 4, -1]])).round(2).tolist()
    [0.67]
    """
    held = [np.isin(e[e >= 0], f) for f, e in zip(found, exact, strict=True)]
    return np.array([h.mean() if len(h) else 1.0 for h in held])


def _parts(tokens: MaxSimIndex) -> Iterator[MaxSimIndex]:
    for begin in range(0, max(1, len(tokens)), SAMPLE):
        yield tokens.rows(begin, min(begin + SAMPLE, len(tokens)))


def _bounds(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _checksum(tokens: MaxSimIndex) -> str:
    checksum = tokens.checksum
    if checksum is None:
        raise ValueError(f"{tokens!r} lies on no disk; save it first")
    return checksum
