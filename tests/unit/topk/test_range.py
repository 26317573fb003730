"""The lowest scores, and all scores from a threshold on, have the bits of the reference."""

import numpy as np
import pytest

from jmlr.topk import Index, _topk, merge, topk
from jmlr.topk.reference import exact_scores, range_reference, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
RNG = np.random.default_rng(12)
X = RNG.standard_normal((3000, 20)).astype(np.float32)
Q = RNG.standard_normal((40, 20)).astype(np.float32)


def same_bits(found, expected):
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype
        assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", _topk.available_isas())
def test_the_lowest_scores_come_lowest_first_with_the_reference_bits(isa, storage, batch, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    index = Index.build(X, storage)
    same_bits(index.search(Q[:batch], 9, largest=False), topk_reference(Q[:batch], X, 9, largest=False))
    allowed = RNG.random((batch, len(X))) < 0.4
    expected = topk_reference(Q[:batch], X, 9, allowed=allowed, largest=False)
    same_bits(index.search(Q[:batch], 9, allow=allowed, largest=False), expected)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("largest", [True, False])
def test_zeros_keep_the_sign_that_the_contract_gives_them(storage, largest):
    """Sums of exactly 0 are +0 whichever end is asked for; sums too small for float32 have the sign of the sum."""
    x = np.zeros((2500, 3), np.float32)
    x[::5, 0], x[1::5, 0], x[2::5] = 1e-30, -1e-30, [1, -1, 0]
    q = np.array([[1e-30, 1e-30, 0], [0, 0, 0], [-0.0, 0, -0.0]] * 9, np.float32)
    expected = topk_reference(q, x, 2100, largest=largest)
    signs = np.signbit(expected[0][expected[0] == 0])
    assert signs.any()
    assert not signs.all()
    same_bits(Index.build(x, storage).search(q, 2100, largest=largest), expected)


def test_lowest_scores_tie_by_the_lower_id_and_are_padded_with_plus_infinity():
    index = Index.build(np.ones((3, 2)), ids=[9, 4, 7])
    scores, ids = index.search(np.ones((1, 2)), 5, largest=False)
    assert ids.tolist() == [[4, 7, 9, -1, -1]]
    assert scores.tolist() == [[2, 2, 2, np.inf, np.inf]]
    same_bits(topk(Q, X, 4, largest=False), topk_reference(Q, X, 4, largest=False))


def test_lowest_scores_of_shards_merge_into_those_of_the_whole():
    whole = Index.build(np.round(X), "int8")
    parts = [whole.rows(*cut).search(Q, 30, largest=False) for cut in ((0, 20), (20, 1500), (1500, 3000))]
    same_bits(merge(parts, 30, largest=False), topk_reference(Q, np.round(X), 30, largest=False))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", _topk.available_isas())
def test_a_range_search_finds_every_row_that_reaches_the_threshold(isa, storage, batch, largest, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    index, q = Index.build(X, storage), Q[:batch]
    scores = exact_scores(q, X)
    allowed = RNG.random(len(X)) < 0.5
    for threshold in (-np.inf, -3, 0, float(scores[0, 7]), 9.5, 1e300, np.inf, scores[:, 5].astype(np.float64)):
        same_bits(index.range_search(q, threshold, largest=largest), range_reference(q, X, threshold, largest=largest))
        expected = range_reference(q, X, threshold, allowed=allowed, largest=largest)
        same_bits(index.range_search(q, threshold, allow=allowed, largest=largest), expected)


@pytest.mark.parametrize("largest", [True, False])
def test_a_threshold_between_two_float32_is_not_rounded_to_either(largest):
    index, q = Index.build(X), Q[:1]
    score = np.float64(exact_scores(q, X)[0, 3])
    for threshold in (score, np.nextafter(score, np.inf), np.nextafter(score, -np.inf)):
        _, ids, _ = index.range_search(q, threshold, largest=largest)
        assert (3 in ids) == (score >= threshold if largest else score <= threshold)


@pytest.mark.parametrize("storage", STORAGES)
def test_more_rows_than_are_held_loosely_reach_the_threshold_of_queries_of_all_kinds(storage):
    rng = np.random.default_rng(13)
    x, ids = np.round(rng.standard_normal((20_000, 6))).astype(np.float32), rng.permutation(20_000)
    x[500:900] = x[0]
    q = rng.standard_normal((20, 6)).astype(np.float32)
    q[3], q[4] = 0, q[4] * np.float32(2.0**125)
    index = Index.build(x, storage, ids=ids)
    for threshold in (-1.0, 0.0, 2.0):
        expected = range_reference(q, x, threshold, ids)
        assert expected[2][-1] > 5000
        same_bits(index.range_search(q, threshold, threads=3), expected)


def test_a_threshold_that_is_no_number_is_refused():
    index = Index.build(X)
    with pytest.raises(ValueError, match="threshold: nan"):
        index.range_search(Q, np.nan)
    with pytest.raises(ValueError, match=r"threshold: shape \(3,\); allowed: a number, or \(40,\)"):
        index.range_search(Q, [1, 2, 3])
    with pytest.raises(TypeError, match="threshold: dtype"):
        index.range_search(Q, "high")


def test_no_rows_and_no_queries_have_empty_ranges():
    assert [part.tolist() for part in Index.build(np.zeros((0, 3))).range_search(np.ones((2, 3)), 0)] == [
        [],
        [],
        [0] * 3,
    ]
    assert [part.tolist() for part in Index.build(X).range_search(np.ones((0, 20)), 0)] == [[], [], [0]]
