"""The different values of an array, by sorting."""

from __future__ import annotations

import numpy as np


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the different values of an array [n] without NaN, ascending: those of np.unique, sooner.

    For numbers NumPy from 2.3 on hashes what its sort orders 4 to 50 times as fast (findings/numpy_unique.sh).

    >>> distinct(np.array([3, 1, 3, 2])).tolist(), distinct(np.array([], np.uint64)).tolist()
    ([1, 2, 3], [])
    """
    ordered = np.sort(values)
    return ordered[np.concatenate([np.ones(min(1, len(ordered)), bool), ordered[1:] != ordered[:-1]])]
