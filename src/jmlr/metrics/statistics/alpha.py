"""Krippendorff's alpha: agreement of raters beyond chance, with missing ratings (Krippendorff 2011, "Computing alpha-reliability").

    alpha = 1 - D_o / D_e = 1 - (n - 1) sum_ck o_ck d_ck / sum_ck n_c n_k d_ck

o is the matrix of coincidences: a unit rated by m raters adds each of its m (m - 1) ordered pairs with weight 1 / (m - 1);
units with one rating add nothing. n_c are its row sums, n their sum. The squared difference d of two values:

    nominal   [c != k]
    ordinal   (sum of n_g from c to k - (n_c + n_k) / 2)^2
    interval  (c - k)^2

1: perfect agreement; 0: as chance would have it; below 0: systematic disagreement.
"""

from __future__ import annotations

from typing import Literal

import numpy as np


def krippendorff_alpha(ratings: np.ndarray, level: Literal["nominal", "ordinal", "interval"] = "nominal") -> float:
    """Return alpha; NaN where no unit has two ratings or all ratings are the same, so that chance cannot be told from agreement.

    Args:
        ratings: float [raters, units], NaN where a rater gave none
        level: of measurement
    """
    ratings = np.asarray(ratings, np.float64)
    known = ~np.isnan(ratings)
    values = np.unique(ratings[known])
    counts = (
        np.stack([((ratings == v) & known).sum(0) for v in values]) if len(values) else np.zeros((0, 0))
    )  # [V, units]
    counts = counts[:, counts.sum(0) > 1].astype(np.float64)
    if counts.size == 0:
        return float("nan")
    weights = 1 / (counts.sum(0) - 1)
    coincidence = (counts * weights) @ counts.T - np.diag((counts * weights).sum(1))  # [V, V]
    per_value = coincidence.sum(1)
    distance = _distance(values, per_value, level)
    expected = per_value @ distance @ per_value
    return float(1 - (per_value.sum() - 1) * (coincidence * distance).sum() / expected) if expected else float("nan")


def _distance(values: np.ndarray, per_value: np.ndarray, level: str) -> np.ndarray:
    """Return the squared differences [V, V] of a level of measurement."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        return (values[:, None] - values[None]) ** 2
    if level == "ordinal":
        below = np.cumsum(per_value) - per_value / 2  # up to the middle of each value
        return (below[:, None] - below[None]) ** 2
    raise ValueError(f"level '{level}'; allowed: nominal, ordinal, interval")
