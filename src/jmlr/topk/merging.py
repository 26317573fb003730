"""`merge`: the results of several searches for the same queries, put together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import as_count, as_given, on_gpu, to_numpy

if TYPE_CHECKING:
    import torch


@overload
def merge(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], k: int, *, interleaved: bool = ..., largest: bool = ...
) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def merge(
    parts: Sequence[tuple[torch.Tensor, torch.Tensor]], k: int, *, interleaved: bool = ..., largest: bool = ...
) -> tuple[torch.Tensor, torch.Tensor]: ...
def merge(
    parts: Sequence[tuple[Any, Any]], k: int, *, interleaved: bool = False, largest: bool = True
) -> tuple[Any, Any]:
    """Return the k best of several results (scores [B, k_i], ids [B, k_i]) for the same queries over disjoint shards.

    Give each shard its own ids (`Index.build(..., ids=...)`): an id that occurs twice for a query raises ValueError. So do
    parts whose ids, from the lowest to the highest, overlap, for such ids may be row numbers of each shard alone;
    interleaved: say that they are not. largest: as the searches had it. Raises TypeError for ids that are no integers.
    Tensors give tensors. Parts on GPUs are merged on the first's; `interleaved` and `largest` are not asked there.
    """
    count = as_count(k, "k", 0)
    if not parts:
        raise ValueError("parts: none; allowed: one or more (scores, ids)")
    if any(on_gpu(scores) for scores, _ in parts):
        from jmlr.topk import cuda

        return cuda.merge(parts, count)
    arrays = [(to_numpy(scores, f"parts[{n}]"), to_numpy(ids, f"parts[{n}]")) for n, (scores, ids) in enumerate(parts)]
    for number, (scores, ids) in enumerate(arrays):
        if scores.ndim != 2 or scores.shape != ids.shape or len(scores) != len(arrays[0][0]):
            raise ValueError(
                f"parts[{number}]: scores {scores.shape}, ids {ids.shape}; allowed: [B, k] each, the same B"
            )
        if ids.dtype.kind not in "iu":
            raise TypeError(f"parts[{number}]: ids of dtype {ids.dtype}; allowed: integers")
        if np.isnan(scores).any():
            raise ValueError(
                f"parts[{number}]: NaN among the scores of query {int(np.argwhere(np.isnan(scores))[0, 0])}"
            )
    ordered = np.sort(np.concatenate([ids for _, ids in arrays], axis=1), axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        query, place = np.argwhere(twice)[0]
        raise ValueError(
            f"parts: id {ordered[query, place]} twice for query {query}; allowed: ids distinct across shards"
        )
    if not interleaved:
        _refuse_overlap([ids for _, ids in arrays])
    return as_given(parts[0][0], *merge_disjoint(arrays, count, largest))


def merge_disjoint(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], k: int, largest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of several results, whose ids are known to be distinct, ordered and padded as a search does it."""
    scores = np.concatenate([np.asarray(part[0], np.float32) for part in parts], axis=1)
    ids = np.concatenate([np.asarray(part[1], np.int64) for part in parts], axis=1)
    padding = ids < 0  # comes last, even after a row whose score is infinite
    with _topk.DefaultFloatingPoint():
        order = np.lexsort((ids, -scores if largest else scores, padding), axis=-1)[:, :k]
    fill = ((0, 0), (0, k - order.shape[1]))
    worst = -np.inf if largest else np.inf
    best = np.pad(np.take_along_axis(scores, order, axis=1), fill, constant_values=worst)
    return best, np.pad(np.take_along_axis(ids, order, axis=1), fill, constant_values=-1)


def merge_ranges(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], largest: bool) -> tuple[np.ndarray, ...]:
    """Return the results (scores [M], ids [M], offsets [B + 1]) of several range searches as one."""
    lengths = [np.diff(offsets) for _, _, offsets in parts]
    query = np.concatenate([np.repeat(np.arange(len(held)), held) for held in lengths])
    scores, ids = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    with _topk.DefaultFloatingPoint():
        order = np.lexsort((ids, -scores if largest else scores, query))
    return scores[order], ids[order], np.concatenate([[0], np.cumsum(np.sum(lengths, axis=0))]).astype(np.int64)


def _refuse_overlap(ids: Sequence[np.ndarray]) -> None:
    """Raise ValueError if the ids of two parts may be row numbers of each part alone: their ranges overlap."""
    ranges = [(int(i[i >= 0].min()), int(i.max()), n) for n, i in enumerate(ids) if i.max(initial=-1) >= 0]
    for (low, high, one), (second, last, other) in pairwise(sorted(ranges)):
        if second <= high:
            raise ValueError(
                f"ids of parts[{one}], {low} to {high}, and of parts[{other}], {second} to {last}, overlap: are they rows "
                "of each shard alone? allowed: ids of the whole, and interleaved=True where shards take turns in them"
            )
