"""Change of the hit rate at k: a round's hit less that of round 0, question by question, so that its interval is a paired one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from jmlr.metrics.hit import hit


def hit_change(start: Sequence[str], ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the difference, -1.0, 0.0 or 1.0; start: what round 0 ranked."""
    return hit(ranked, gold, k) - hit(start, gold, k)
