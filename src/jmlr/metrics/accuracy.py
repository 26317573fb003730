"""Accuracy: the share of questions whose predicted option is the right one.

    accuracy = (1/n) sum_i [predicted_i = answer_i]

An answer that could not be parsed (predicted -1) is a class of its own: it is wrong, never a guess, and `unparsed` says
how many there were. (The code of MIRAGE, Xiong et al. 2024, counts what it cannot parse as option A.)
"""

from __future__ import annotations

import numpy as np

UNPARSED = -1


def accuracy(answers: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return 1.0 where the prediction is right, else 0.0; float64 [n]. Every answer must be an index (>= 0)."""
    if (answers < 0).any():
        raise ValueError("accuracy: an answer below 0; open questions have no accuracy")
    return (answers == predicted).astype(np.float64)


def unparsed(predicted: np.ndarray) -> np.ndarray:
    """Return 1.0 where there is no prediction, else 0.0; float64 [n]."""
    return (predicted == UNPARSED).astype(np.float64)
