"""Unparsed answers: the share of questions whose answer names no option, counted apart and never a guess."""

from __future__ import annotations


def unparsed(predicted: int) -> float:
    """Return 1.0 where there is no prediction (-1), else 0.0."""
    return float(predicted < 0)
