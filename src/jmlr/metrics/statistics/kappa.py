"""Cohen's kappa: the agreement of two raters beyond what their own frequencies give by chance (Cohen 1960).

kappa = (p_o - p_e) / (1 - p_e);  p_o: share of equal labels;  p_e = sum over labels of both raters' shares, multiplied

>>> cohen_kappa(["a", "a", "b", "tie"], ["a", "b", "b", "tie"])
0.6363636363636364
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return kappa in [-1, 1]; None where there is nothing to compare or both raters know one label only."""
    if len(first) != len(second):
        raise ValueError(f"kappa: {len(first)} labels beside {len(second)}")
    n = len(first)
    if not n:
        return None
    ours, theirs = Counter(first), Counter(second)
    by_chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    if by_chance == 1:
        return None
    observed = sum(x == y for x, y in zip(first, second, strict=True)) / n
    return (observed - by_chance) / (1 - by_chance)
