"""Hit rate at k (success@k): whether at least one gold passage is among the first k.

hit@k = (1/n) sum_i [ gold_i and ranked_i[:k] have a passage in common ]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def hit(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1.0 if one of the first k ranked passages is gold, else 0.0."""
    return float(any(passage in gold for passage in ranked[:k]))
