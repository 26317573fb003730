"""Intervals cover what they should, repeat with their seed, and treat seeds and datasets as they say."""

from __future__ import annotations

import numpy as np
import pytest

from jmlr.metrics.statistics.interval import interval, mean


def test_the_interval_of_a_proportion_is_the_normal_one_for_many_questions() -> None:
    values = (np.arange(2000) % 10 < 7).astype(float)
    low, high = interval([values], samples=4000)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 2000)
    assert low == pytest.approx(0.7 - half, abs=0.002)
    assert high == pytest.approx(0.7 + half, abs=0.002)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        low, high = interval([(rng.random(100) < 0.6).astype(float)], samples=400)
        inside += low <= 0.6 <= high
    assert 0.90 <= inside / 300 <= 0.99


def test_seeds_that_agree_add_no_certainty() -> None:
    values = (np.arange(200) % 3 == 0).astype(float)
    assert interval([np.stack([values] * 5, axis=1)], samples=500) == pytest.approx(interval([values], samples=500))


def test_seeds_that_differ_narrow_the_interval() -> None:
    values = (np.random.default_rng(0).random((200, 5)) < 0.5).astype(float)
    one, five = interval([values[:, 0]], samples=500), interval([values], samples=500)
    assert five[1] - five[0] < 0.6 * (one[1] - one[0])


def test_datasets_weigh_the_same_whatever_their_size() -> None:
    groups = [np.ones(1000), np.zeros(10)]
    assert mean(groups) == 0.5
    assert interval(groups, samples=100) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_interval_whatever_fits_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = interval([values], samples=300, seed=3)
    assert interval([values], samples=300, seed=3) == whole
    assert interval([values], samples=300, seed=4) != whole
    monkeypatch.setattr("jmlr.metrics.statistics.interval.DRAWS_AT_ONCE", 64)
    assert interval([values], samples=300, seed=3) == whole


def test_nothing_has_no_interval() -> None:
    for groups in ([], [np.array([])]):
        with pytest.raises(ValueError, match="at least one value"):
            interval(groups, samples=10)
