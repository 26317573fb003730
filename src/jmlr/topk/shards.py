"""Shards of vectors, in memory or in .npy files, read in pieces of a few tens of MiB, so that an index may be larger than memory.

rows_of([array, "b.npy"])                     # yields float32 [n, D]
passages_of([(tokens, offsets), ("t.npy", "o.npy")])     # yields (float32 [m, D], int64 [n + 1]), whole passages
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jmlr.topk.arrays import as_matrix, as_offsets

CHUNK_BYTES = 32 << 20  # of float32 rows encoded at a time while streaming to disk


def rows_of(shards: Iterable[Any]) -> Iterator[np.ndarray]:
    """Yield finite float32 [n, D] pieces of at most CHUNK_BYTES, of one D, from arrays [n, D] or paths of .npy files."""
    dim = None
    for number, shard in enumerate(shards):
        name = _name(shard, f"shards[{number}]")
        count, step = _size(shard, name)
        for at in range(0, max(1, count), step):
            chunk = as_matrix(_held(shard, name)[at : at + step], f"{name} from row {at}", dim)
            dim = chunk.shape[1]
            yield chunk


def passages_of(shards: Iterable[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (finite tokens [m, D], offsets [n + 1] from 0) of one D: whole passages of CHUNK_BYTES together, or one longer one.

    shards: pairs (tokens [M, D], offsets [N + 1]), each an array or the path of an .npy file. Raises ValueError or TypeError.
    """
    dim = None
    for number, shard in enumerate(shards):
        if not isinstance(shard, (tuple, list)) or len(shard) != 2:
            raise TypeError(f"shards[{number}]: {type(shard).__name__}; allowed: (tokens [M, D], offsets [N + 1])")
        tokens, offsets = shard
        name = _name(tokens, f"shards[{number}]: tokens")
        count, step = _size(tokens, name)
        place = _name(offsets, f"shards[{number}]: offsets")
        bounds = as_offsets(_held(offsets, place), count, place)
        first = 0
        while True:
            begin = int(bounds[first])
            last = max(min(first + 1, len(bounds) - 1), int(np.searchsorted(bounds, begin + step, side="right")) - 1)
            chunk = as_matrix(_held(tokens, name)[begin : bounds[last]], f"{name} from token {begin}", dim)
            dim = chunk.shape[1]
            yield chunk, bounds[first : last + 1] - begin
            first = last
            if first == len(bounds) - 1:
                break


def _name(values: Any, otherwise: str) -> str:
    return os.fspath(values) if isinstance(values, (str, os.PathLike)) else otherwise


def _held(values: Any, name: str) -> Any:
    """Return an array, or what is in an .npy file, mapped anew each time: so what was read of it does not pile up in memory.

    Raises ValueError, naming the file, if it is none or was cut short; OSError.
    """
    if not isinstance(values, (str, os.PathLike)):
        return values
    try:
        return np.lib.format.open_memmap(values, mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name}: no whole .npy file ({error})") from None


def _size(shard: Any, name: str) -> tuple[int, int]:
    """Return (how many rows a matrix has, how many are read at a time)."""
    shape = np.shape(_held(shard, name))
    if len(shape) != 2:
        raise ValueError(f"{name}: shape {shape}; allowed: 2 dimensions, [n, D]")
    return shape[0], max(1, CHUNK_BYTES // (4 * max(1, shape[1])))
