"""95 % intervals by the percentile bootstrap over questions (Efron and Tibshirani 1993, chapter 13).

Where a system was trained with several seeds, a drawn question brings its values of all seeds with it: the seeds answer
the same questions, so their values are not independent. Where there are several datasets, questions are drawn within
each, and datasets weigh the same whatever their size. If all values are equal the interval has no width: the bootstrap
knows no more.

    interval([values], samples=2000)                          # one dataset, [n]
    interval([medqa, mmlu], samples=2000)                     # the mean of two datasets, [n1, seeds] and [n2, seeds]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jmlr.runtime.seeds import stream

LEVEL = 0.95
Z = 1.959963984540054  # of the normal distribution at LEVEL, two-sided
DRAWS_AT_ONCE = 1 << 22


def mean(groups: Sequence[np.ndarray]) -> float:
    """Return the mean over groups of the mean of each."""
    return float(np.mean([np.mean(g) for g in groups]))


def interval(groups: Sequence[np.ndarray], *, samples: int, seed: int = 0) -> tuple[float, float]:
    """Return the interval of `mean(groups)`.

    Args:
        groups: one array per dataset: a value for each question [n], or for each question and seed [n, seeds]
        samples: how many bootstrap samples
        seed: of the draws

    Raises:
        ValueError: there is no group, or an empty one.
    """
    if not groups or any(len(g) == 0 for g in groups):
        raise ValueError("interval: needs at least one value in every group")
    means = np.zeros(samples)
    for number, group in enumerate(groups):
        values = np.asarray(group, np.float64).reshape(len(group), -1).mean(1)
        rng = np.random.default_rng(stream(seed, "bootstrap", number))
        step = max(1, DRAWS_AT_ONCE // len(values))
        for begin in range(0, samples, step):
            draws = rng.integers(len(values), size=(min(step, samples - begin), len(values)))
            means[begin : begin + step] += values[draws].mean(1) / len(groups)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n independent questions (Wilson 1927): for figures of which only n is known.

    >>> [round(v, 3) for v in wilson(0.625, 1273)]
    [0.598, 0.651]
    """
    centre, half = share + Z * Z / (2 * n), Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    return (centre - half) / (1 + Z * Z / n), (centre + half) / (1 + Z * Z / n)
