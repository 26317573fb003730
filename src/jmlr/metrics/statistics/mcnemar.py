"""McNemar's exact test: do two systems answer equally well? (McNemar 1947; Edwards 1948; Dietterich 1998.)

Of the questions that one system answers right and the other wrong, `b` are won by the first, `c` by the second. If both
are equally good, b is binomial with n = b + c and 1/2:

    p = min(1, 2 sum_{i <= min(b, c)} C(n, i) / 2^n)

It is also the sign test of preferences without ties.

    >>> mcnemar(1, 9)
    0.021484375
"""

from __future__ import annotations


def mcnemar(b: int, c: int) -> float:
    """Return the two-sided p-value; 1.0 where the systems never differ."""
    n, ways, total = b + c, 1, 0
    for i in range(min(b, c) + 1):
        total += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * total / 2**n)
