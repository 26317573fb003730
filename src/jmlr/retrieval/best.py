"""The best passages of scores for all of them: in the order of `jmlr.topk`, score descending, then row ascending.

>>> best(np.float32([0, 2, 1, 2]), 3)
(array([2., 2., 1.], dtype=float32), array([1, 3, 2]))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def best(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (scores float32 [k], rows int64 [k]) of the k best of scores [N]; k is at most N, and no score is NaN."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= least)
    rows = rows[np.lexsort((rows, -scores[rows]))[:k]]
    return scores[rows], rows
