"""The p-value of a paired bootstrap: how often does a resample turn the difference round? (Efron and Tibshirani 1993, chapter 15.)

    p = min(1, 2 min( (1 + #{d <= 0}) / (R + 1), (1 + #{d >= 0}) / (R + 1) ))

over R resampled differences d of the same questions (and seeds) answered by both systems. It cannot fall below 2 / (R + 1).
The other side of the percentile interval: where that excludes 0 by far, p is small.
"""

from __future__ import annotations

import numpy as np


def paired_floor(draws: int) -> float:
    """Return the least p-value that so many resamples can give: a value there is a bound, not an estimate."""
    return 2 / (draws + 1)


def paired_p(draws: np.ndarray) -> float:
    """Return the two-sided p-value of "no difference" from resampled differences [R]."""
    least = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (1 + least) / (len(draws) + 1)))
