"""Search on a GPU over an index that does not fit there: shards of rows pass through two buffers on the device.

index = StreamedIndex(Index.open("passages.index"), device="cuda:0")     # memory-mapped; nothing is read yet
scores, ids = index.search(queries, k=100)                               # queries [B, D] on that device; the same bits

While shard i is searched on the caller's stream, shard i + 1 is read from the file into pinned memory and copied on a
stream of its own. The float32 originals are what is copied: they decide, and codes would have to be copied besides. So the
time is that of N * D * 4 bytes over the bus, whatever B; give many queries at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from jmlr.topk import cuda
from jmlr.topk.arrays import as_count
from jmlr.topk.index import Index

SHARD_BYTES = 1 << 30  # of float32 in each of the two buffers


class StreamedIndex:
    """An opened `Index` whose rows are brought to the GPU shard by shard at every search."""

    def __init__(self, index: Index, device: Any = "cuda", shard_rows: int | None = None) -> None:
        """Take `index`, in memory or mapped; shard_rows: rows in a buffer, default those of 1 GiB.

        Raises RuntimeError with the reason if there is no GPU to use.
        """
        cuda.require_gpu()
        self._index, self.device = index, torch.device(device)
        self._stride = -(-index.dim // 4) * 4
        fit = max(1, min(len(index), SHARD_BYTES // (4 * self._stride)))
        self._shard_rows = fit if shard_rows is None else as_count(shard_rows, "shard_rows", 1)

    def search(self, queries: Any, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (scores float32 [B, k], ids int64 [B, k]) as `CudaIndex.search` over the whole would."""
        vectors, ids = self._index.vectors, self._index.ids
        starts = range(0, len(vectors), self._shard_rows) or range(1)
        lane = _Lane(self.device, min(self._shard_rows, len(vectors)), self._stride)
        parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        waiting: tuple[cuda.CudaIndex, cuda.Started] | None = None
        for turn, start in enumerate(starts):
            rows = vectors[start : start + self._shard_rows]
            buffer = lane.bring(turn % 2, rows)  # under the search of the last shard
            if waiting is not None:
                parts.append(waiting[0].finish(waiting[1]))
                lane.after_reading(1 - turn % 2)  # only now: what was not certified was read once more
            columns = cuda.allocate(buffer, "float32")
            if ids is not None:
                columns["ids"] = torch.from_numpy(np.array(ids[start : start + len(rows)])).to(self.device)
            shard = cuda.CudaIndex("float32", columns, len(rows), self._index.dim, start)
            lane.before_reading(turn % 2)
            shard.encode()  # for the norms; the vectors were checked when the index was made
            waiting = shard, shard.start(queries, k)
        assert waiting is not None
        parts.append(waiting[0].finish(waiting[1]))
        scores, names = (torch.cat(side, 1).contiguous() for side in zip(*parts, strict=True))
        return cuda.merge_disjoint(scores, names, parts[0][0].shape[1])

    def __len__(self) -> int:
        return len(self._index)


class _Lane:
    """Two pinned buffers, two on the device, and the stream and events that order who may touch them."""

    def __init__(self, device: torch.device, rows: int, stride: int) -> None:
        self._device = device
        self._pinned = [torch.zeros((rows, stride), dtype=torch.float32, pin_memory=True) for _ in range(2)]
        self._there = [torch.empty((rows, stride), dtype=torch.float32, device=device) for _ in range(2)]
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))  # the allocator may have had other uses of them
        self._copied = [torch.cuda.Event() for _ in range(2)]
        self._read = [torch.cuda.Event() for _ in range(2)]

    def bring(self, side: int, rows: np.ndarray) -> torch.Tensor:
        """Queue the copy of rows [n, D] to the device; return where they will lie, [n, stride]."""
        self._copied[side].synchronize()  # pinned memory is free again once its last copy is over
        count, dim = rows.shape
        self._pinned[side][:count, :dim] = torch.from_numpy(np.asarray(rows))
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._read[side])  # the search that read this buffer is over
            self._there[side][:count].copy_(self._pinned[side][:count], non_blocking=True)
            self._copied[side].record(self._stream)
        return self._there[side][:count]

    def before_reading(self, side: int) -> None:
        """Let the caller's stream wait until the buffer is filled."""
        torch.cuda.current_stream(self._device).wait_event(self._copied[side])

    def after_reading(self, side: int) -> None:
        """Note that all queued so far must be over before the buffer is filled again."""
        self._read[side].record(torch.cuda.current_stream(self._device))
