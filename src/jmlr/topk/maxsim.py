"""`MaxSimIndex` and `maxsim_topk`: exact MaxSim over a whole corpus, for late-interaction retrievers (ColBERT).

index = MaxSimIndex.build(tokens, offsets, storage="bfloat16")    # tokens [M, D], passage p: offsets[p]:offsets[p + 1]
scores, ids = index.search(query_tokens, k=10)                    # [B, T, D] -> float32 [B, 10], int64 [B, 10]

The score (Khattab and Zaharia 2020, equation 3) and its order of additions are fixed in docs/topk.md.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import as_count, as_ids, as_matrix, as_storage, thread_count, to_numpy

MAX_TOKENS = 65536  # of a query


class MaxSimIndex:
    """Token vectors [M, D] of N passages made ready for exact MaxSim; make one with `build`."""

    def __init__(self, storage: str, tokens: np.ndarray, offsets: np.ndarray, ids: np.ndarray | None) -> None:
        self._storage, self._tokens, self._offsets = storage, tokens, offsets
        self._counts = (0, 0)
        codes, scale, residual, norm = _topk.encode(storage, tokens)
        if len(offsets) > 1:  # the bound of a passage's maximum is that of its worst token
            norm = np.maximum.reduceat(norm, offsets[:-1])
            residual = None if residual is None else np.maximum.reduceat(residual, offsets[:-1])
        self._scanner = _topk.MaxSimScanner(storage, tokens, codes, scale, residual, norm, offsets, ids)

    @classmethod
    def build(cls, tokens: Any, offsets: Any, storage: str = "float32", *, ids: Any = None) -> MaxSimIndex:
        """Return an index in memory over a copy of `tokens` [M, D], finite and convertible to float32.

        offsets: integers [N + 1] from 0 to M; passage p has the tokens offsets[p] to offsets[p + 1] - 1, at least one.
        storage: what the scan reads, "float32", "bfloat16" or "int8"; the answer is the same, speed and memory differ.
        ids: distinct int64 [N] that are not negative; default 0..N-1. Raises TypeError or ValueError, saying where.
        """
        as_storage(storage)
        matrix = as_matrix(tokens, "tokens")
        bounds = _as_offsets(offsets, len(matrix))
        return cls(storage, matrix.copy(), bounds, _optional_ids(ids, bounds))

    def search(
        self, query_tokens: Any, k: int, threads: int | None = None, *, query_lengths: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (scores float32 [B, k], ids int64 [B, k]) of the k best passages by (score descending, id ascending).

        query_tokens: [B, T, D], or [T, D] for one query, finite; T is 1 to 65,536.
        query_lengths: integers [B] from 1 to T: query b uses its first query_lengths[b] tokens; the rest is padding,
        which is never read. Default: all T. Where k > N: id -1, score -inf.
        threads: default OMP_NUM_THREADS, else all cores of this process. The environment variable JMLR_ISA names the
        kernels to use. Raises TypeError or ValueError, saying where.
        """
        count = as_count(k, "k", 0)
        packed, starts = _as_queries(query_tokens, query_lengths, self.dim)
        isa = os.environ.get("JMLR_ISA", "")
        scores, ids, *counts = self._scanner.search(packed, starts, count, thread_count(threads), isa)
        self._counts = (counts[0], counts[1])
        return scores, ids

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def dim(self) -> int:
        """D, the length of a token's vector."""
        return int(self._tokens.shape[1])

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def last_counts(self) -> tuple[int, int]:
        """(query, passage) pairs that the last search's scan nominated, and pairs that were scored in float64."""
        return self._counts


def maxsim_topk(
    query_tokens: Any,
    tokens: Any,
    offsets: Any,
    k: int,
    *,
    query_lengths: Any = None,
    ids: Any = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `MaxSimIndex.build(tokens, offsets, ids=ids).search(query_tokens, k)` would, without a copy."""
    matrix = as_matrix(tokens, "tokens")
    bounds = _as_offsets(offsets, len(matrix))
    index = MaxSimIndex("float32", matrix, bounds, _optional_ids(ids, bounds))
    return index.search(query_tokens, k, threads, query_lengths=query_lengths)


def _optional_ids(ids: Any, offsets: np.ndarray) -> np.ndarray | None:
    return None if ids is None else as_ids(ids, len(offsets) - 1, "passage")


def _as_integers(values: Any, name: str) -> np.ndarray:
    array = to_numpy(values, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: dtype {array.dtype}; allowed: integers")
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}; allowed: 1 dimension")
    return np.array(array, dtype=np.int64, order="C")  # a copy: later writes must not change it


def _as_offsets(values: Any, tokens: int) -> np.ndarray:
    offsets = _as_integers(values, "offsets")
    if not len(offsets):
        raise ValueError("offsets: empty; allowed: [N + 1] integers from 0 to the number of tokens")
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise ValueError(
            f"offsets: from {offsets[0]} to {offsets[-1]}; allowed: from 0 to {tokens}, the tokens' number"
        )
    fall = np.flatnonzero(offsets[1:] <= offsets[:-1])
    if len(fall):
        p = int(fall[0])
        fault = "has no tokens" if offsets[p] == offsets[p + 1] else f"ends at {offsets[p + 1]}, before its start"
        raise ValueError(f"offsets: passage {p}, from {offsets[p]}, {fault}; allowed: one token or more in each")
    return offsets


def _as_queries(values: Any, lengths: Any, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the queries' tokens one after another, [sum of lengths, D], and where each query starts, [B + 1]."""
    array = to_numpy(values, "query_tokens")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise ValueError(f"query_tokens: shape {array.shape}; allowed: [B, T, D], or [T, D] for one query")
    count, most = array.shape[:2]
    if not 1 <= most <= MAX_TOKENS:
        raise ValueError(f"query_tokens: T = {most}; allowed: 1 to {MAX_TOKENS} tokens in a query")
    if lengths is None:
        held = np.full(count, most, np.int64)
        packed = array.reshape(count * most, array.shape[2])
    else:
        held = _as_integers(lengths, "query_lengths")
        if len(held) != count:
            raise ValueError(f"query_lengths: {len(held)}; allowed: {count}, one for every query")
        wrong = np.flatnonzero((held < 1) | (held > most))
        if len(wrong):
            raise ValueError(f"query_lengths: {held[wrong[0]]} for query {wrong[0]}; allowed: 1 to T = {most}")
        packed = array[np.arange(most) < held[:, None]]
    starts = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)

    def place(row: int) -> str:
        query = int(np.searchsorted(starts, row, side="right")) - 1
        return f"query {query}, token {row - starts[query]}"

    return as_matrix(packed, "query_tokens", dim, place), starts
