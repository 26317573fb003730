"""Cohen's kappa by its formula, and where it is not defined."""

from __future__ import annotations

import pytest

from jmlr.metrics.statistics.kappa import cohen_kappa


def test_kappa_is_that_of_the_textbook():
    # Two raters, 50 cases: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no; observed .7, by chance .5
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_kappa_equals_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = list("abtabtaabbt"), list("abtbbtaatbt")
    assert cohen_kappa(first, second) == pytest.approx(metrics.cohen_kappa_score(first, second))


def test_kappa_of_chance_is_zero_of_equals_one_and_of_opposites_below():
    assert cohen_kappa(list("aabb"), list("abab")) == 0
    assert cohen_kappa(list("abt"), list("abt")) == 1
    assert cohen_kappa(list("ab"), list("ba")) == -1


def test_kappa_is_not_defined_without_cases_or_with_one_label():
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    with pytest.raises(ValueError, match="1 labels beside 2"):
        cohen_kappa(["a"], ["a", "b"])
