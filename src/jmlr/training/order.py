"""Which questions or documents a step sees, and which of them a rank computes: a fresh permutation each epoch, which a resumed run repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from jmlr.runtime.distributed import Ranks
from jmlr.runtime.seeds import stream

T = TypeVar("T")


def batch_at(items: Sequence[T], step: int, batch: int, seed: int | None) -> list[T]:
    """Return the items of optimiser step `step`: a fresh permutation each epoch, made from the seed alone; in their order where
    `seed` is None.

    Nothing has to be saved to go on after a kill. Epochs run on without a gap: a batch may hold the end of one and the
    beginning of the next.
    """
    chosen = []
    for place in range(step * batch, (step + 1) * batch):
        epoch, position = divmod(place, len(items))
        chosen.append(items[position if seed is None else int(_permutation(len(items), seed, epoch)[position])])
    return chosen


def share(batch: list[T], ranks: Ranks) -> list[T]:
    """Return a rank's items of a batch: a run of its order, so that ranks in order hold the batch.

    >>> share([1, 2, 3], Ranks(0, 2)), share([1, 2, 3], Ranks(1, 2))
    ([1], [2, 3])
    """
    n = len(batch)
    return batch[n * ranks.rank // ranks.size : n * (ranks.rank + 1) // ranks.size]


_permutations: dict[tuple[int, int, int], np.ndarray] = {}


def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    key = (n, seed, epoch)
    order = _permutations.get(key)  # reading ahead, another thread may clear what is here
    if order is None:
        order = np.random.default_rng(stream(seed, "epoch", epoch)).permutation(n)
        _permutations.clear() if len(_permutations) > 2 else None
        _permutations[key] = order
    return order
