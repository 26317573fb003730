"""Holm's correction of p-values where several comparisons are made (Holm 1979, Scand. J. Statist. 6).

    sorted ascending, p~_(i) = max over j <= i of min(1, (m - j + 1) p_(j))

A family of m comparisons, each called different where p~ < 0.05, then claims a difference that is none with
probability below 0.05, whatever the tests' dependence.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Return the corrected p-values in the order given."""
    adjusted, highest = [0.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - place) * p[i]))
        adjusted[i] = highest
    return adjusted
