"""Krippendorff's alpha on the worked examples of Krippendorff (2011), "Computing Krippendorff's alpha-reliability"."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jmlr.metrics.statistics.alpha import krippendorff_alpha

N = np.nan
BINARY = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]  # example A: two observers, ten units
FOUR = [  # example C: four observers, twelve units, five values, missing data
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


def test_alpha_of_binary_data_without_gaps():
    assert krippendorff_alpha(np.array(BINARY)) == pytest.approx(0.095, abs=5e-4)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_four_observers_with_missing_data(level, alpha):
    assert krippendorff_alpha(np.array(FOUR), level) == pytest.approx(alpha, abs=5e-4)


def test_a_unit_with_one_rating_says_nothing():
    more = [[*row, 5 if i == 0 else N] for i, row in enumerate(FOUR)]
    assert krippendorff_alpha(np.array(more)) == krippendorff_alpha(np.array(FOUR))


def test_alpha_is_one_in_agreement_and_not_defined_without_variation():
    assert krippendorff_alpha(np.array([[1, 2, 3], [1, 2, 3]]), "ordinal") == 1.0
    assert math.isnan(krippendorff_alpha(np.array([[1, 1], [1, 1]])))
    assert math.isnan(krippendorff_alpha(np.array([[1, N], [N, 2]])))
    assert math.isnan(krippendorff_alpha(np.full((2, 3), N)))


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="level 'ratio'; allowed: nominal, ordinal, interval"):
        krippendorff_alpha(np.array(BINARY), "ratio")  # type: ignore[arg-type]
