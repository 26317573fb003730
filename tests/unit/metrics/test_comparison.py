"""Tests between systems and the calibration of one, beside published and hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from jmlr.metrics.ece import ece, reliability
from jmlr.metrics.statistics.holm import holm
from jmlr.metrics.statistics.interval import wilson
from jmlr.metrics.statistics.mcnemar import mcnemar
from jmlr.metrics.statistics.paired import paired_p


def test_mcnemar_is_the_exact_binomial_test():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for b, c in ((0, 0), (0, 1), (1, 9), (59, 6), (121, 59), (2000, 1900)):
        wanted = stats.binomtest(b, b + c).pvalue if b + c else 1.0
        assert mcnemar(b, c) == pytest.approx(wanted, rel=1e-9), (b, c)
        assert mcnemar(b, c) == mcnemar(c, b)


def test_holm_corrects_the_example_of_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_paired_p_falls_with_the_distance_from_zero_and_never_below_its_floor():
    draws = np.random.default_rng(0).normal(0.0, 1.0, 1999)
    assert paired_p(draws) > 0.8
    assert paired_p(draws + 100) == pytest.approx(2 / 2000)
    assert paired_p(draws - 100) == pytest.approx(2 / 2000)
    assert paired_p(np.zeros(10)) == 1.0


def test_the_paired_p_agrees_with_the_normal_approximation():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    draws = np.random.default_rng(1).normal(2.0, 1.0, 200_000)
    assert paired_p(draws) == pytest.approx(2 * stats.norm.sf(2.0), rel=0.05)


def test_wilson_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for right, n in ((0, 10), (5, 10), (796, 1273)):
        wanted = stats.binomtest(right, n).proportion_ci(0.95, "wilson")
        assert wilson(right / n, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_ece_of_a_hand_worked_example():
    """Four answers at .95, three of them right; six at .55, three right: .4 x |.75 - .95| + .6 x |.5 - .55| = .11."""
    confidence = np.array([0.95] * 4 + [0.55] * 6)
    correct = np.array([1, 1, 1, 0, 1, 1, 1, 0, 0, 0])
    assert ece(confidence, correct) == pytest.approx(0.11)
    found = reliability(confidence, correct)
    assert [(b.n, round(b.low, 1), round(b.accuracy, 2)) for b in found] == [(6, 0.5, 0.5), (4, 0.9, 0.75)]


def test_a_confidence_on_a_border_belongs_to_the_bin_below():
    found = reliability(np.array([0.0, 0.1, 0.3, 1.0]), np.ones(4))
    assert [round(b.high, 1) for b in found] == [0.1, 0.3, 1.0]
    assert found[0].n == 2


def test_confidences_that_are_no_probabilities_are_refused():
    with pytest.raises(ValueError, match="outside"):
        reliability(np.array([1.5]), np.array([1]))
    with pytest.raises(ValueError, match="2 confidences, 1 answers"):
        reliability(np.array([0.5, 0.6]), np.array([1]))
