"""Accuracy: the share of questions whose predicted option is the right one.

    accuracy = (1/n) sum_i [predicted_i = option_i]

An answer that could not be parsed (predicted -1) is a class of its own: it is wrong, never a guess, and `unparsed` says
how many there were. (The code of MIRAGE, Xiong et al. 2024, counts what it cannot parse as option A.)
"""

from __future__ import annotations


def accuracy(option: int, predicted: int) -> float:
    """Return 1.0 where the prediction is the right option, else 0.0."""
    if option < 0:
        raise ValueError("accuracy: an option below 0; open questions have no accuracy")
    return float(option == predicted)
