"""Exact top-k on a GPU: tensors in, tensors out, on the caller's stream, memory from the caller's allocator (torch's).

index = Index.build(vectors, storage="bfloat16")      # vectors [N, D] on a CUDA device: a CudaIndex
scores, ids = index.search(queries, k=100)            # queries [B, D] on the same device; float32 and int64 [B, k] there

The bits are those of the CPU. k is at most 2,048. See docs/topk.md, "On a GPU". For an index larger than the memory of the
GPU, see `jmlr.topk.streamed`. Asking for a GPU where there is none raises RuntimeError with the reason.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from jmlr.topk.arrays import MAX_DIM, as_count, as_ids, as_storage, on_gpu
from jmlr.topk.format import write_index
from jmlr.topk.segments import Segment, Segments, encoded

Tensors = dict[str, torch.Tensor]
MAX_ROWS = 2**31 - 128


def why_not() -> str | None:
    """Return why no GPU can be used here, in one line, or None if one can."""
    try:
        reason = gpu_module().why_not()
    except RuntimeError as error:
        return str(error)
    return f"no GPU to use: {reason}" if reason else None


def require_gpu() -> None:
    """Raise RuntimeError with the reason unless a GPU can be used."""
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)


def as_tensor(values: Any, name: str, dim: int | None = None) -> torch.Tensor:
    """Return `values`, an array on a GPU, as contiguous float32 [rows, D], without a copy where it already is that.

    Whether all are finite is found on the device, by whoever reads them. Raises TypeError or ValueError on the rest.
    """
    tensor = imported(values)
    if not (tensor.dtype.is_floating_point or tensor.dtype in (torch.int8, torch.uint8, torch.int16, torch.int32)) and (
        tensor.dtype != torch.int64
    ):
        raise TypeError(f"{name}: dtype {tensor.dtype}; allowed: floats and integers, converted to float32")
    if tensor.ndim != 2:
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}; allowed: 2 dimensions, [rows, D]")
    if dim is not None and tensor.shape[1] != dim:
        raise ValueError(f"{name}: D = {tensor.shape[1]}, but the index has D = {dim}")
    if not 1 <= tensor.shape[1] <= MAX_DIM:
        raise ValueError(f"{name}: D = {tensor.shape[1]}; allowed: 1 to {MAX_DIM}")
    if tensor.shape[0] > MAX_ROWS:
        raise ValueError(f"{name}: {tensor.shape[0]} rows; allowed on one GPU: {MAX_ROWS}; shard them and `merge`")
    return tensor.to(torch.float32).contiguous()


class Started(NamedTuple):
    """A search on its way: everything it reads and writes, so that nothing is freed before it is queued."""

    queries: torch.Tensor
    k: int
    scores: torch.Tensor
    ids: torch.Tensor
    overflow: torch.Tensor
    bad: torch.Tensor
    workspace: torch.Tensor


class CudaIndex:
    """Vectors [N, D] on a GPU made ready for exact search; `Index.build` makes one of vectors that are there."""

    def __init__(self, storage: str, columns: Tensors, rows: int, dim: int, first_id: int = 0) -> None:
        self._storage, self._columns, self._rows, self._dim = storage, columns, rows, dim
        self.device = columns["norm"].device
        addresses = {name: column.data_ptr() for name, column in columns.items()}
        self._native = gpu_module().DeviceRows(ordinal_of(self.device), storage, rows, dim, addresses, first_id)
        self._exact = 0

    @classmethod
    def build(cls, vectors: Any, storage: str = "float32", *, ids: Any = None, copy: bool = True) -> CudaIndex:
        """Return an index over a copy of `vectors` [N, D] on their device. Raises TypeError or ValueError, saying where.

        storage: what the scan reads; the originals stay too, for they decide. ids: distinct int64 [N], not negative.
        copy: False shares the memory of float32 rows of a multiple of 4 floats; then do not write to them.
        """
        as_storage(storage)
        require_gpu()
        matrix = as_tensor(vectors, "vectors")
        rows, dim = matrix.shape
        names = None if ids is None else as_ids(ids.cpu() if isinstance(ids, torch.Tensor) else ids, rows)
        index = cls(storage, allocate(padded(matrix, copy), storage), rows, dim)
        bad = index.encode()
        if names is not None:
            columns = {**index._columns, "ids": torch.from_numpy(names).to(matrix.device)}
            index = cls(storage, columns, rows, dim)
        _refuse_bad(int(bad.item()), matrix, "vectors")
        return index

    def encode(self) -> torch.Tensor:
        """Queue the coding of the vectors; return int64 [1]: row * D + column of the first that is not finite, or -1."""
        bad = torch.empty(1, dtype=torch.int64, device=self.device)
        self._native.encode(bad.data_ptr(), stream_of(self.device))
        return bad

    def search(self, queries: Any, k: int, threads: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (scores float32 [B, k], ids int64 [B, k]) on the device, by (score descending, id ascending).

        queries: [B, D], or [D] for one, on the same device; k at most 2,048. Where k > N: id -1, score -inf. Waits
        once, at the end, to learn whether every answer is certified. `threads` is for the CPU. Raises as `Index.search`.
        """
        del threads
        return self.finish(self.start(queries, k))

    def start(self, queries: Any, k: int) -> Started:
        """Queue a search without waiting for it; `finish` must follow, on the same stream."""
        count = as_count(k, "k", 0)
        if count > gpu_module().MAX_K:
            raise ValueError(f"k: {count}; allowed on a GPU: 0 to {gpu_module().MAX_K}")
        if not on_gpu(queries):
            raise TypeError(f"queries: in the memory of the CPU, but the index is on {self.device}; move them there")
        many = queries[None, :] if getattr(queries, "ndim", 2) == 1 else queries
        matrix = as_tensor(many, "queries", self._dim)
        if matrix.device != self.device:
            raise TypeError(f"queries: on {matrix.device}, but the index is on {self.device}; allowed: the same device")
        batch = len(matrix)
        scores, ids = results_of(batch, count, self.device)
        started = Started(
            matrix,
            count,
            scores,
            ids,
            torch.empty(batch, dtype=torch.int32, device=self.device),
            torch.empty(1, dtype=torch.int64, device=self.device),
            workspace_of(self._native.workspace_bytes(batch, count), self.device),
        )
        pointers = [t.data_ptr() for t in (started.scores, started.ids, started.overflow, started.bad)]
        self._native.search(
            matrix.data_ptr(), batch, count, *pointers, started.workspace.data_ptr(), stream_of(self.device)
        )
        return started

    def finish(self, started: Started) -> tuple[torch.Tensor, torch.Tensor]:
        """Wait for the certificate; queue the exact search of queries that have none; return (scores, ids)."""
        missing = started.overflow.ne(0).sum(dtype=torch.int64)
        bad, self._exact = torch.cat([started.bad, missing[None]]).tolist()  # the one wait
        _refuse_bad(bad, started.queries, "queries")
        if self._exact and started.k:
            order = torch.argsort(started.overflow.ne(0).to(torch.int32), descending=True)
            which = order[: self._exact].to(torch.int32).contiguous()
            self._native.search_exactly(
                started.queries.data_ptr(),
                which.data_ptr(),
                self._exact,
                started.k,
                started.scores.data_ptr(),
                started.ids.data_ptr(),
                started.workspace.data_ptr(),
                stream_of(self.device),
            )
        return started.scores, started.ids

    def save(self, directory: str | os.PathLike[str], *, provenance: Any = None) -> None:
        """Write what `Index.save` would: the vectors are copied to the CPU and coded there."""
        columns = encoded(self._columns["vectors"][:, : self._dim].cpu().numpy(), self._storage, "inner_product")
        if "ids" in self._columns:
            columns["ids"] = self._columns["ids"].cpu().numpy()
        blocks = Segments(self._storage, [Segment(self._storage, columns)]).blocks()
        write_index(Path(directory), self._storage, self._dim, blocks, provenance or {})

    def __len__(self) -> int:
        return self._rows

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self._dim

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def last_exact(self) -> int:
        """Queries of the last search that no certificate could be given for, so that all rows were scored exactly."""
        return self._exact


def merge(parts: Sequence[tuple[Any, Any]], k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k best of results on GPUs, on the device of the first; see `jmlr.topk.merge`."""
    count = as_count(k, "k", 0)
    if count > gpu_module().MAX_K:
        raise ValueError(f"k: {count}; allowed on a GPU: 0 to {gpu_module().MAX_K}")
    device = parts[0][0].device
    scores = torch.cat([part[0].to(device, torch.float32) for part in parts], 1).contiguous()
    ids = torch.cat([part[1].to(device, torch.int64) for part in parts], 1).contiguous()
    ordered = ids.sort(dim=1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()
    if bool(twice | scores.isnan().any()):
        raise ValueError(
            "parts: an id occurs twice for a query, or a score is NaN; allowed: ids distinct across shards"
        )
    return merge_disjoint(scores, ids, count)


def merge_disjoint(scores: torch.Tensor, ids: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k best of scores and ids [B, W], contiguous, on one device; ids below 0 are padding. Does not wait."""
    device, (batch, width) = scores.device, scores.shape
    best, names = results_of(batch, k, device)
    if batch == 0 or k == 0:
        return best, names
    module = gpu_module()
    workspace = workspace_of(module.merge_bytes(batch, k), device)
    addresses = (best.data_ptr(), names.data_ptr(), workspace.data_ptr())
    module.merge(ordinal_of(device), scores.data_ptr(), ids.data_ptr(), batch, width, k, *addresses, stream_of(device))
    return best, names


def padded(matrix: torch.Tensor, copy: bool) -> torch.Tensor:
    """Return float32 [N, D] in rows of a multiple of 16 bytes, zero past D; the same memory if that is allowed."""
    rows, dim = matrix.shape
    stride = -(-dim // 4) * 4
    if stride == dim and not copy and matrix.data_ptr() % 16 == 0:
        return matrix
    wide = torch.zeros((rows, stride), dtype=torch.float32, device=matrix.device)
    wide[:, :dim] = matrix
    return wide


def allocate(vectors: torch.Tensor, storage: str) -> Tensors:
    """Return the columns of an index over rows [N, stride], all but the vectors still to be filled by `encode`."""
    code_bytes, rows, tiles = gpu_module().sizes(storage, len(vectors), vectors.shape[1])
    sizes = {"residual": rows, "norm": rows, "tile_residual": tiles, "tile_norm": tiles, "max_norm": 1}
    if storage == "int8":
        sizes["scale"] = rows
    columns = {name: torch.empty(size, dtype=torch.float32, device=vectors.device) for name, size in sizes.items()}
    columns["vectors"] = vectors
    if storage != "float32":
        columns["codes"] = torch.empty(code_bytes, dtype=torch.uint8, device=vectors.device)
    return columns


def gpu_module() -> Any:
    """Return the compiled module; raise RuntimeError if this installation has none."""
    try:
        return importlib.import_module("jmlr.topk._topk_cuda")
    except ImportError as error:
        raise RuntimeError(
            "no GPU to use: this installation has no GPU module (it is built where nvcc and a GPU are, or with "
            f"CMake's -DJMLR_CUDA=ON; see docs/topk.md): {error}"
        ) from None


def imported(values: Any) -> torch.Tensor:
    """Return an array on a GPU as a tensor over the same memory."""
    if isinstance(values, torch.Tensor):
        return values.detach()
    if hasattr(values, "__dlpack__"):
        return torch.from_dlpack(values)
    return torch.as_tensor(values, device="cuda")


def ordinal_of(device: torch.device) -> int:
    """Return the device's number."""
    return torch.cuda.current_device() if device.index is None else device.index


def stream_of(device: torch.device) -> int:
    """Return the caller's stream on the device, as an address."""
    return torch.cuda.current_stream(device).cuda_stream


def results_of(batch: int, k: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return room for scores float32 [B, k] and ids int64 [B, k]."""
    scores = torch.empty((batch, k), dtype=torch.float32, device=device)
    return scores, torch.empty((batch, k), dtype=torch.int64, device=device)


def workspace_of(size: int, device: torch.device) -> torch.Tensor:
    """Return `size` bytes that the kernels may use, from torch's allocator."""
    return torch.empty(max(size, 1024), dtype=torch.uint8, device=device)  # torch aligns to 512


def refuse(value: torch.Tensor, name: str, place: str, column: int) -> None:
    """Raise ValueError for a number that is not finite."""
    raise ValueError(f"{name}: {float(value.item())} in {place}, column {column}; allowed: finite float32 numbers")


def _refuse_bad(position: int, matrix: torch.Tensor, name: str) -> None:
    if position >= 0:
        row, column = divmod(position, matrix.shape[1])
        refuse(matrix[row, column], name, f"row {row}", column)
