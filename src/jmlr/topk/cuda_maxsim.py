"""Exact MaxSim on a GPU: `MaxSimIndex` for token vectors that lie there; tensors in, tensors out, the bits of the CPU.

index = MaxSimIndex.build(tokens, offsets, storage="bfloat16")    # tokens [M, D] on a CUDA device: a CudaMaxSimIndex
scores, ids = index.search(query_tokens, k=10)                    # [B, T, D] there -> float32 [B, 10], int64 [B, 10] there

As `jmlr.topk.cuda`: the caller's stream, torch's allocator, k at most 2,048. See docs/topk.md, "MaxSim on a GPU".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from jmlr.topk import cuda
from jmlr.topk.arrays import as_count, as_ids, as_lengths, as_offsets, as_storage, on_gpu, query_shape

BATCH_BYTES = 256 << 20  # of the tokens of the queries that are searched together, about


class Batch(NamedTuple):
    """Some queries, from number `first` on, on their way: everything that the device reads and writes."""

    first: int
    call: Any
    slots: np.ndarray  # int64 [B, 2]: where each query's tokens stand
    bad: torch.Tensor
    overflow: torch.Tensor
    kept: tuple[torch.Tensor, ...]  # what else `call` points to


class CudaMaxSimIndex:
    """Token vectors of N passages on a GPU made ready for exact MaxSim; `MaxSimIndex.build` makes one of tokens there."""

    def __init__(self, storage: str, columns: cuda.Tensors, passages: int, dim: int, chunk: bytes) -> None:
        self._storage, self._columns, self._passages, self._dim = storage, columns, passages, dim
        self.device = columns["norm"].device
        addresses = {name: column.data_ptr() for name, column in columns.items()}
        module, rows = cuda.gpu_module(), len(columns["vectors"])
        self._rows = module.DeviceRows(cuda.ordinal_of(self.device), storage, rows, dim, addresses, 0)
        self._native = module.DevicePassages(self._rows, addresses, passages, chunk)
        self._exact = 0

    @classmethod
    def build(cls, tokens: Any, offsets: Any, storage: str = "float32", *, ids: Any = None) -> CudaMaxSimIndex:
        """Return an index over a copy of `tokens` [M, D] on their device; arguments and errors as `MaxSimIndex.build`."""
        as_storage(storage)
        cuda.require_gpu()
        matrix = cuda.as_tensor(tokens, "tokens")
        bounds = as_offsets(_on_host(offsets), len(matrix))
        passages = len(bounds) - 1
        names = None if ids is None else as_ids(_on_host(ids), passages, "passage")
        rows_bytes, chunk, padded = cuda.gpu_module().passage_layout(bounds.ctypes.data, passages)
        rows = np.frombuffer(rows_bytes, np.uint32).reshape(passages, 2).astype(np.int64)
        columns = cuda.allocate(_laid_out(matrix, bounds, rows, padded), storage)
        device = matrix.device
        columns["passages"] = torch.from_numpy(rows.astype(np.int32)).to(device)
        columns["chunk"] = torch.from_numpy(np.frombuffer(chunk, np.int32).copy()).to(device)
        for name in ("passage_residual", "passage_norm"):
            columns[name] = torch.empty(passages, dtype=torch.float32, device=device)
        if names is not None:
            columns["passage_ids"] = torch.from_numpy(names).to(device)
        index = cls(storage, columns, passages, matrix.shape[1], chunk)
        bad = int(index._encode().item())
        if bad >= 0:
            row, column = divmod(bad, matrix.shape[1])
            passage = int(np.searchsorted(rows[:, 0], row, side="right")) - 1
            token = int(bounds[passage] + row - rows[passage, 0])
            cuda.refuse(matrix[token, column], "tokens", f"row {token}", column)
        return index

    def _encode(self) -> torch.Tensor:
        bad = torch.empty(1, dtype=torch.int64, device=self.device)
        stream = cuda.stream_of(self.device)
        self._rows.encode(bad.data_ptr(), stream)
        self._native.bound(stream)
        return bad

    def search(
        self, query_tokens: Any, k: int, threads: int | None = None, *, query_lengths: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (scores float32 [B, k], ids int64 [B, k]) on the device, by (score descending, id ascending).

        query_tokens: [B, T, D], or [T, D] for one, on the same device; query_lengths as in `MaxSimIndex.search`, best in
        the memory of the CPU (on the GPU it is waited for); k at most 2,048. Waits once, at the end, to learn whether
        every answer is certified. `threads` is for the CPU. Raises as `MaxSimIndex.search`.
        """
        del threads
        count = as_count(k, "k", 0)
        if count > cuda.gpu_module().MAX_K:
            raise ValueError(f"k: {count}; allowed on a GPU: 0 to {cuda.gpu_module().MAX_K}")
        tokens, held = self._as_queries(query_tokens, query_lengths)
        scores, ids = cuda.results_of(len(tokens), count, self.device)
        most = int(held.max(initial=1))
        reach = self._columns["max_norm"] * most
        room = max(1, BATCH_BYTES // (4 * self._dim * most))
        step = min(room, self._native.batch(count))
        batches = [
            self._start(tokens, held, first, min(step, len(tokens) - first), reach, scores, ids)
            for first in range(0, len(tokens), step)
        ]
        self._finish(batches, tokens)
        return scores, ids

    def _as_queries(self, values: Any, lengths: Any) -> tuple[torch.Tensor, np.ndarray]:
        """Return the tokens [B, T, D] as float32 and how many each query has, [B]."""
        if not on_gpu(values):
            raise TypeError(
                f"query_tokens: in the memory of the CPU, but the index is on {self.device}; move them there"
            )
        tensor = cuda.imported(values)
        count, most, dim = query_shape(tuple(tensor.shape))
        matrix = cuda.as_tensor(tensor.reshape(count * most, dim), "query_tokens", self._dim)
        if matrix.device != self.device:
            raise TypeError(
                f"query_tokens: on {matrix.device}, but the index is on {self.device}; allowed: the same device"
            )
        return matrix.reshape(count, most, dim), as_lengths(_on_host(lengths), count, most)

    def _start(
        self,
        tokens: torch.Tensor,
        held: np.ndarray,
        first: int,
        count: int,
        reach: torch.Tensor,
        scores: torch.Tensor,
        ids: torch.Tensor,
    ) -> Batch:
        """Queue the search of `count` queries from `first` on."""
        lengths, k = held[first : first + count], scores.shape[1]
        slot_bytes, group_bytes, padded = cuda.gpu_module().query_layout(lengths.ctypes.data, count, self._storage)
        slots = np.frombuffer(slot_bytes, np.int32).reshape(count, 2)
        ranges, groups = (
            torch.from_numpy(np.frombuffer(part, np.int32).copy()).to(self.device) for part in (slot_bytes, group_bytes)
        )
        placed = _in_slots(tokens[first : first + count], ranges.reshape(count, 2), padded)
        overflow = torch.empty(count, dtype=torch.int32, device=self.device)
        bad = torch.empty(1, dtype=torch.int64, device=self.device)
        workspace = cuda.workspace_of(self._native.workspace_bytes(padded, count, k), self.device)
        call = cuda.gpu_module().PassageCall(
            tokens=placed.data_ptr(),
            slot_count=padded,
            slots=ranges.data_ptr(),
            groups=groups.data_ptr(),
            group_count=len(group_bytes) // 16,
            count=count,
            k=k,
            reach=reach.data_ptr(),
            scores=scores[first:].data_ptr(),
            ids=ids[first:].data_ptr(),
            overflow=overflow.data_ptr(),
            bad=bad.data_ptr(),
            workspace=workspace.data_ptr(),
        )
        self._native.search(call, cuda.stream_of(self.device))
        return Batch(first, call, slots.astype(np.int64), bad, overflow, (ranges, groups, placed, workspace, reach))

    def _finish(self, batches: list[Batch], tokens: torch.Tensor) -> None:
        """Wait for what the batches found; refuse what is not finite; answer the queries that lack a certificate."""
        self._exact = 0
        if not batches:
            return
        found = [torch.cat([b.bad, b.overflow.ne(0).sum(dtype=torch.int64)[None]]) for b in batches]
        numbers = torch.stack(found).tolist()  # the one wait
        for batch, (bad, _) in zip(batches, numbers, strict=True):
            if bad >= 0:
                slot, column = divmod(bad, self._dim)
                query = int(np.searchsorted(batch.slots[:, 0], slot, side="right")) - 1
                token = int(slot - batch.slots[query, 0])
                query += batch.first
                cuda.refuse(tokens[query, token, column], "query_tokens", f"query {query}, token {token}", column)
        for batch, (_, missing) in zip(batches, numbers, strict=True):
            self._exact += missing
            if missing:
                order = torch.argsort(batch.overflow.ne(0).to(torch.int32), descending=True)
                which = order[:missing].to(torch.int32).contiguous()
                stream = cuda.stream_of(self.device)
                self._native.search_exactly(batch.call, which.data_ptr(), missing, stream)

    def __len__(self) -> int:
        return self._passages

    @property
    def dim(self) -> int:
        """D, the length of a token's vector."""
        return self._dim

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def last_exact(self) -> int:
        """Queries of the last search that no certificate could be given for, so that all passages were scored exactly."""
        return self._exact


def _on_host(values: Any) -> Any:
    return values.cpu() if isinstance(values, torch.Tensor) else values


def _laid_out(matrix: torch.Tensor, bounds: np.ndarray, rows: np.ndarray, padded: int) -> torch.Tensor:
    """Return [padded, stride], zero but for token t of passage p in row rows[p, 0] + t."""
    device, (count, dim) = matrix.device, matrix.shape
    wide = torch.zeros((padded, -(-dim // 4) * 4), dtype=torch.float32, device=device)
    shift, lengths = (torch.from_numpy(side).to(device) for side in (rows[:, 0] - bounds[:-1], np.diff(bounds)))
    place = torch.repeat_interleave(shift, lengths, output_size=count)
    wide[:, :dim].index_copy_(0, place.add_(torch.arange(count, device=device)), matrix)
    return wide


def _in_slots(tokens: torch.Tensor, slots: torch.Tensor, padded: int) -> torch.Tensor:
    """Return [padded + 1, D], zero but for the tokens [B, T, D] in their slots; what is no query's goes to the last row."""
    _, most, dim = tokens.shape
    there = slots[:, :1].to(torch.int64) + torch.arange(most, device=tokens.device)
    place = torch.where(there < slots[:, 1:], there, padded)
    placed = torch.zeros((padded + 1, dim), dtype=torch.float32, device=tokens.device)
    return placed.index_copy_(0, place.reshape(-1), tokens.reshape(-1, dim))
