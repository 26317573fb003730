"""Late interaction in two steps: one inner product a passage nominates, exact MaxSim over the best of these decides.

tokens = MaxSimIndex.open("passages.index")
build_first(tokens, "passages.first", storage="int8")           # an `Index` of one vector a passage
two = TwoSteps(tokens, open_first("passages.first", tokens))
scores, ids = two.search(query_tokens, k=30, rerank_count=1000)     # [B, T, D] -> float32 [B, 30], int64 [B, 30]

A passage's vector is the mean of its token vectors, a query's the mean of its: the inner product of the two is the mean over
all pairs of tokens, where MaxSim takes the best of each query token (docs/topk.md, "In two steps"). The answer is, bit for bit,
that of an exhaustive search of the passages which the first step nominates. Which of all it loses, `recalls` counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jmlr.topk.format import IndexFormatError
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex
from jmlr.topk.shards import passages_of

FEW = 16  # where one passage of so many is reranked, an exhaustive search is no dearer (csrc/maxsim.cpp, kFew)
BELONGS = "tokens"  # key of the first stage's provenance: the checksum of the index of the tokens


def build_first(
    tokens: MaxSimIndex,
    directory: str | os.PathLike[str],
    storage: str = "float32",
    *,
    shards: Iterable[tuple[Any, Any]] | None = None,
) -> Index:
    """Write the first stage of an index that lies on disk to a folder, and open it.

    shards: what the index was made from, as `MaxSimIndex.from_shards` has it: of files a few tens of MiB are in memory at a
    time. Default: the index itself. It has the passages' ids, and in its provenance the checksum of the index.
    Raises ValueError if the index lies on no disk, or the shards have another number of passages; OSError.
    """
    pairs = [(tokens.vectors, tokens.offsets)] if shards is None else shards
    pooled = (means(vectors, bounds) for vectors, bounds in passages_of(pairs))
    names = np.arange(len(tokens)) if tokens.ids is None else tokens.ids  # given, they are counted
    return Index.from_shards(pooled, directory, storage, ids=names, provenance={BELONGS: _checksum(tokens)})


def open_first(directory: str | os.PathLike[str], tokens: MaxSimIndex) -> Index:
    """Map what `build_first` wrote for the whole index `tokens`; errors as `Index.open`, and where it is another index's."""
    first = Index.open(directory)
    if first.provenance.get(BELONGS) != _checksum(tokens) or first.shape != (len(tokens), tokens.dim):
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
        found: np.ndarray = self.first.search(means(flat, _bounds(lengths)), min(rerank_count, len(self.first)))[1]
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


def recalls(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the share of each query's exact ids [B, k] that are among those found [B, n], float64 [B]; -1 is no id.

    >>> recalls(np.array([[4, 2, 9]]), np.array([[2, 3, 4, -1]])).round(2).tolist()
    [0.67]
    """
    held = [np.isin(e[e >= 0], f) for f, e in zip(found, exact, strict=True)]
    return np.array([h.mean() if len(h) else 1.0 for h in held])


def _bounds(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _checksum(tokens: MaxSimIndex) -> str:
    checksum = tokens.checksum
    if checksum is None:
        raise ValueError(f"{tokens!r} lies on no disk; save it first")
    return checksum
