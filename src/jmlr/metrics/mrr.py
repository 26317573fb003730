"""MRR: the mean reciprocal rank of the first gold passage (Voorhees 1999), 0 where none is among the candidates.

MRR = (1/n) sum_i 1 / rank_i
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def mrr(ranked: Sequence[str], gold: Collection[str]) -> float:
    """Return 1 / (rank of the first gold passage, counted from 1), or 0.0."""
    return next((1 / rank for rank, passage in enumerate(ranked, 1) if passage in gold), 0.0)
