"""`MaxSimIndex` and `maxsim_topk`: exact MaxSim over a whole corpus, for late-interaction retrievers (ColBERT).

index = MaxSimIndex.build(tokens, offsets, storage="bfloat16")    # tokens [M, D], passage p: offsets[p]:offsets[p + 1]
index.save("passages.index")                                      # and MaxSimIndex.open("passages.index")
scores, ids = index.search(query_tokens, k=10)                    # [B, T, D] -> float32 [B, 10], int64 [B, 10]

The score (Khattab and Zaharia 2020, equation 3) and its order of additions are fixed in docs/topk.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
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
from jmlr.topk.format import (
    BY_PASSAGE,
    MAXSIM_FORMAT,
    Arrays,
    Block,
    opening,
    read_index,
    verify_blocks,
    write_index,
)
from jmlr.topk.index import CHUNK_BYTES

if TYPE_CHECKING:
    import torch

    from jmlr.topk.cuda_maxsim import CudaMaxSimIndex


class MaxSimIndex:
    """Token vectors [M, D] of N passages made ready for exact MaxSim; make one with `build` or `open`."""

    def __init__(self, storage: str, columns: Arrays, provenance: Mapping[str, Any]) -> None:
        self._storage, self._columns, self._provenance = storage, columns, dict(provenance)
        self._pending: list[Block] = []
        self._counts = (0, 0)
        self._scanner = _topk.MaxSimScanner(
            storage,
            columns["vectors"],
            columns.get("codes"),
            columns.get("scale"),
            columns.get("residual"),
            columns["norm"],
            columns["offsets"],
            columns.get("ids"),
        )

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
        columns = _encode(storage, as_matrix(tokens, "tokens", copy=True), offsets, ids)
        for column in columns.values():
            column.setflags(write=False)
        return cls(storage, columns, {})

    def save(self, directory: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the index to a folder, as `Index.save` does. Raises ValueError, OSError."""
        self._verify()
        tokens = len(self._columns["vectors"])
        step = max(1, CHUNK_BYTES // (4 * self.dim))
        by_token = {name: array for name, array in self._columns.items() if name not in BY_PASSAGE}
        slices = ({n: array[at : at + step] for n, array in by_token.items()} for at in range(0, max(1, tokens), step))
        last = {name: array for name, array in self._columns.items() if name in BY_PASSAGE}
        note = self._provenance if provenance is None else provenance
        write_index(Path(directory), self._storage, self.dim, chain(slices, [last]), note, passages=len(self))

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, verify: bool | None = None) -> MaxSimIndex:
        """Return the index in a folder, memory-mapped; `verify` and errors as `Index.open`."""
        manifest, columns, pending = read_index(Path(directory), verify, MAXSIM_FORMAT)
        with opening(directory):
            index = cls(manifest["storage"], columns, manifest["provenance"])
        index._pending = pending
        return index

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
        self._verify()
        isa = os.environ.get("JMLR_ISA", "")
        scores, ids, *counts = self._scanner.search(packed, starts, count, thread_count(threads), isa)
        self._counts = (counts[0], counts[1])
        return scores, ids

    def __len__(self) -> int:
        return len(self._columns["offsets"]) - 1

    @property
    def dim(self) -> int:
        """D, the length of a token's vector."""
        return int(self._columns["vectors"].shape[1])

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def provenance(self) -> dict[str, Any]:
        """What was given to `save`."""
        return dict(self._provenance)

    @property
    def last_counts(self) -> tuple[int, int]:
        """(query, passage) pairs that the last search's scan nominated, and pairs that were scored in float64."""
        return self._counts

    def _verify(self) -> None:
        if self._pending:
            verify_blocks(self._pending)
            self._pending = []


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
    index = MaxSimIndex("float32", _encode("float32", matrix, offsets, ids), {})
    return index.search(query_tokens, k, threads, query_lengths=query_lengths)


def _encode(storage: str, tokens: np.ndarray, offsets: Any, ids: Any) -> Arrays:
    bounds = as_offsets(offsets, len(tokens))
    names = None if ids is None else as_ids(ids, len(bounds) - 1, "passage")
    codes, scale, residual, norm = _topk.encode(storage, tokens, thread_count(None))
    if len(bounds) > 1:  # the bound of a passage's maximum is that of its worst token
        with _topk.DefaultFloatingPoint():
            norm = np.maximum.reduceat(norm, bounds[:-1])
            residual = None if residual is None else np.maximum.reduceat(residual, bounds[:-1])
    columns = {"vectors": tokens, "codes": codes, "scale": scale, "residual": residual, "norm": norm}
    columns |= {"offsets": bounds, "ids": names}
    return {name: array for name, array in columns.items() if array is not None}


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

    return as_matrix(packed, "query_tokens", dim, place, copy=True), starts
