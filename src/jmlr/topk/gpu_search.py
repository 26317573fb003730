"""Indexes on disk, searched on a GPU where the job has one: arrays in, arrays out, the bits of the CPU (docs/topk.md, "On a GPU").

if where := gpu_here():                                       # None: no GPU, or no module for it, or JMLR_DEVICE=cpu
    scores, ids = search_on_gpu(index, batches, k=30, where=where)
    index = resident(index, where) or index                   # for many searches, if it fits
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex

SHARE = 0.4  # of the free memory of a GPU that an index may take; its codes, its norms and the search take as much again at most
MAX_K = 2048
Batches = Callable[[], Iterator[tuple[np.ndarray, np.ndarray | None]]]


def gpu_here() -> Any | None:
    """Return the torch device that searches are to use, or None for the CPU. Without the GPU module torch is not even imported."""
    if importlib.util.find_spec("jmlr.topk._topk_cuda") is None:
        return None
    from jmlr.runtime.devices import device
    from jmlr.topk import cuda

    where = device()
    return where if where.type == "cuda" and cuda.why_not() is None else None


def search_on_gpu(
    index: Index | MaxSimIndex,
    batches: Batches,
    k: int,
    where: Any,
    room: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]) of all queries; the index passes through the GPU once, in parts that fit.

    batches: yields, anew for each part, (vectors [b, D], None), or token vectors [b, T, D] with their numbers [b]; k: at most 2,048;
    room: bytes for a part's vectors, default a share of what is free.
    """
    import torch

    from jmlr.topk import cuda

    found: list[list[Any]] = []  # of each part and batch: (scores, ids)
    for first, last in _parts(index, _room(where) if room is None else room):
        part = _built(index.rows(first, last), where)
        found.append([_searched(part, torch.from_numpy(np.array(queries)).to(where), k, n) for queries, n in batches()])
    merged = []
    for shards in zip(*found, strict=True):
        scores, ids = (torch.cat(side, 1).contiguous() for side in zip(*shards, strict=True))
        merged.append(cuda.merge_disjoint(scores, ids, k))
    best, names = (torch.cat(side).cpu().numpy() for side in zip(*merged, strict=True))
    return best, names


def resident(index: Index | MaxSimIndex, where: Any, room: int | None = None) -> Any | None:
    """Return the index in the memory of a GPU, a `CudaIndex` or a `CudaMaxSimIndex`; None if it takes more than `room` bytes."""
    most = _room(where) if room is None else room
    return _built(index, where) if 4 * index.shape[0] * index.dim <= most else None


def _searched(part: Any, queries: Any, k: int, lengths: np.ndarray | None) -> Any:
    return part.search(queries, k) if lengths is None else part.search(queries, k, query_lengths=lengths)


def _built(part: Index | MaxSimIndex, where: Any) -> Any:
    import torch

    from jmlr.topk.cuda import CudaIndex
    from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

    vectors = torch.from_numpy(np.array(part.vectors)).to(where)
    if isinstance(part, Index):
        return CudaIndex.build(vectors, part.storage, ids=part.ids, copy=False)
    return CudaMaxSimIndex.build(vectors, part.offsets, part.storage, ids=part.ids)


def _parts(index: Index | MaxSimIndex, room: int) -> Iterator[tuple[int, int]]:
    """Yield runs of rows whose vectors take at most `room` bytes, or are one row; one empty run of an empty index."""
    ends = np.arange(len(index) + 1) if isinstance(index, Index) else np.asarray(index.offsets)
    first, most = 0, room // (4 * index.dim)
    while first < len(index) or first == 0:
        last = max(int(np.searchsorted(ends, ends[first] + most, side="right")) - 1, first + 1)
        yield first, min(last, len(index))
        first = max(last, 1)


def _room(where: Any) -> int:
    import torch

    return int(SHARE * torch.cuda.mem_get_info(where)[0])
