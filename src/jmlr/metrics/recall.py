"""Recall at k: the share of a question's gold passages that are among the first k (Manning et al. 2008, section 8.4).

    recall@k = (1/n) sum_i |gold_i and ranked_i[:k]| / |gold_i|

With more than k gold passages it cannot reach 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def recall(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of the gold passages that the first k ranked passages hold; there must be at least one."""
    wanted = set(gold)
    return len(wanted.intersection(ranked[:k])) / len(wanted)
