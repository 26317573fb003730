"""Expected calibration error: how far confidence is from accuracy (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599).

    ECE = sum_b (n_b / n) | accuracy_b - confidence_b |

Confidence is the probability of the predicted option; bin b of M holds the confidences in ((b - 1) / M, b / M]. 0 is
perfect. It is not a mean over questions and biased upwards in small samples, so no interval is given with it; the
reliability diagram shows each bin's own. Answers without probabilities (unparsed, or generated) have no confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 10
WHOLE = True


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray | list[float], correct: np.ndarray | list[float], bins: int = BINS) -> list[Bin]:
    """Return the bins that hold an answer, in ascending order.

    Args:
        confidence: probabilities in [0, 1], float [n]
        correct: 1 where the answer is right, else 0, [n]
        bins: how many of equal width (M)

    Raises:
        ValueError: a confidence is outside [0, 1], or the lengths differ.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if confidence.shape != correct.shape:
        raise ValueError(f"reliability: {len(confidence)} confidences, {len(correct)} answers")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        raise ValueError("reliability: a confidence outside [0, 1]")
    place = np.clip(np.ceil(confidence * bins - 1e-12).astype(int) - 1, 0, bins - 1)
    found = []
    for b in np.unique(place):
        own = place == b
        says, does = float(confidence[own].mean()), float(correct[own].mean())
        found.append(Bin(b / bins, (b + 1) / bins, int(own.sum()), says, does))
    return found


def sure(answer: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return (confidence, correct) of an answer that has a gold option, a prediction and probabilities; None for any other."""
    option, predicted = answer["answer"], answer["predicted"]
    if option < 0 or predicted < 0 or not answer.get("probabilities"):
        return None
    return float(answer["probabilities"][predicted]), float(option == predicted)


def ece(confidence: np.ndarray | list[float], correct: np.ndarray | list[float], bins: int = BINS) -> float:
    """Return the expected calibration error; there must be at least one answer."""
    found = reliability(confidence, correct, bins)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in found) / sum(b.n for b in found)
