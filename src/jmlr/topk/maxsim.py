"""`MaxSimIndex` and `maxsim_topk`: exact MaxSim over a whole corpus, for late-interaction retrievers (ColBERT).

index = MaxSimIndex.build(tokens, offsets, storage="bfloat16")    # tokens [M, D], passage p: offsets[p]:offsets[p + 1]
scores, ids = index.search(query_tokens, k=10)                    # [B, T, D] -> float32 [B, 10], int64 [B, 10]

The score (Khattab and Zaharia 2020, equation 3) and its order of additions are fixed in docs/topk.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import (
    as_count,
    as_ids,
    as_lengths,
    as_matrix,
    as_offsets,
    as_storage,
    on_gpu,
    query_shape,
    thread_count,
    to_numpy,
)

if TYPE_CHECKING:
    import torch

    from jmlr.topk.cuda_maxsim import CudaMaxSimIndex


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
    def build(
        cls, tokens: Any, offsets: Any, storage: str = "float32", *, ids: Any = None
    ) -> MaxSimIndex | CudaMaxSimIndex:
        """Return an index in memory over a copy of `tokens` [M, D], finite and convertible to float32.

        offsets: integers [N + 1] from 0 to M; passage p has the tokens offsets[p] to offsets[p + 1] - 1, at least one.
        storage: what the scan reads, "float32", "bfloat16" or "int8"; the answer is the same, speed and memory differ.
        ids: distinct int64 [N] that are not negative; default 0..N-1. Raises TypeError or ValueError, saying where.
        Tokens on a GPU give an index there, which takes and returns tensors on that device: see `jmlr.topk.cuda_maxsim`.
        """
        if on_gpu(tokens):
            from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

            return CudaMaxSimIndex.build(tokens, offsets, storage, ids=ids)
        as_storage(storage)
        matrix = as_matrix(tokens, "tokens")
        bounds = as_offsets(offsets, len(matrix))
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
) -> tuple[np.ndarray, np.ndarray] | tuple[torch.Tensor, torch.Tensor]:
    """Return what `MaxSimIndex.build(tokens, offsets, ids=ids).search(query_tokens, k)` would, without a copy on the CPU."""
    if on_gpu(tokens):
        from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

        return CudaMaxSimIndex.build(tokens, offsets, ids=ids).search(query_tokens, k, query_lengths=query_lengths)
    matrix = as_matrix(tokens, "tokens")
    bounds = as_offsets(offsets, len(matrix))
    index = MaxSimIndex("float32", matrix, bounds, _optional_ids(ids, bounds))
    return index.search(query_tokens, k, threads, query_lengths=query_lengths)


def _optional_ids(ids: Any, offsets: np.ndarray) -> np.ndarray | None:
    return None if ids is None else as_ids(ids, len(offsets) - 1, "passage")


def _as_queries(values: Any, lengths: Any, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the queries' tokens one after another, [sum of lengths, D], and where each query starts, [B + 1]."""
    array = to_numpy(values, "query_tokens")
    count, most, width = query_shape(array.shape)
    held = as_lengths(lengths, count, most)
    packed = array.reshape(count * most, width)
    if lengths is not None:
        packed = packed[(np.arange(most) < held[:, None]).reshape(-1)]
    starts = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)

    def place(row: int) -> str:
        query = int(np.searchsorted(starts, row, side="right")) - 1
        return f"query {query}, token {row - starts[query]}"

    return as_matrix(packed, "query_tokens", dim, place), starts
