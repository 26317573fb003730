"""A search that may not return every row gives the bits of the reference over the rows that count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maxsim_cases import KINDS, adversarial, corpus

from jmlr.topk import Index, MaxSimIndex, _topk
from jmlr.topk.reference import maxsim, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
ISAS = _topk.available_isas()


def same_bits(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


# by name: which rows count, bool [N] or [B, N]
MASKS = {
    "half": lambda rng, b, n: rng.random(n) < 0.5,
    "most": lambda rng, b, n: rng.random(n) < 0.99,
    "few": lambda rng, b, n: rng.random(n) < 0.01,
    "none": lambda rng, b, n: np.zeros(n, bool),
    "all": lambda rng, b, n: np.ones(n, bool),
    "one in two": lambda rng, b, n: np.arange(n) % 2 == 0,  # the sample's rows among them
    "none of the sample": lambda rng, b, n: np.arange(n) % 8 != 0,
    "the end": lambda rng, b, n: np.arange(n) >= n - 300,
    "half, by query": lambda rng, b, n: rng.random((b, n)) < 0.5,
    "from none to all, by query": lambda rng, b, n: rng.random((b, n)) < np.linspace(0, 1, b)[:, None],
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_a_mask_gives_the_reference_bits_over_the_rows_it_allows(isa, storage, mask, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    rng = np.random.default_rng(3)
    x, q = normal(rng, 4000, 20), normal(rng, 40, 20)
    index = Index.build(x, storage)
    for batch in (1, 40):
        allowed = MASKS[mask](rng, batch, len(x))
        expected = topk_reference(q[:batch], x, 9, allowed=allowed)
        same_bits(index.search(q[:batch], 9, allow=allowed), expected)
        same_bits(index.search(q[:batch], 9, exclude=~allowed), expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("storage", STORAGES)
def test_first_floors_come_of_the_rows_that_count(storage, mask):
    """So many rows that floors are guessed; the best rows are those that the mask leaves out, or all in the sample."""
    rng = np.random.default_rng(4)
    x, q = normal(rng, 40_000, 6), np.abs(normal(rng, 70, 6))
    allowed = MASKS[mask](rng, 70, len(x))
    for best in (~np.atleast_2d(allowed)[-1], np.arange(len(x)) % 64 == 0):
        rows = x + 3 * best[:, None].astype(np.float32)
        expected = topk_reference(q, rows, 30, allowed=allowed)
        same_bits(Index.build(rows, storage).search(q, 30, threads=2, allow=allowed), expected)


def test_a_mask_of_every_other_row_repeats_no_search():
    """All of the sample counts and half of the rest: without the true share of it every first floor would be too high."""
    rng = np.random.default_rng(5)
    x, q = normal(rng, 200_000, 4), normal(rng, 64, 4)
    index = Index.build(x, "int8")
    index.search(q, 100)
    without = index.last_counts[0]
    index.search(q, 100, allow=np.arange(len(x)) % 2 == 0)
    assert index.last_counts[0] < 1.5 * without


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("named", [False, True])
def test_ids_allow_and_exclude_for_all_queries_and_for_each(storage, named):
    rng = np.random.default_rng(6)
    x, q = normal(rng, 3000, 12), normal(rng, 25, 12)
    ids = rng.permutation(9000)[:3000] if named else np.arange(3000)
    index = Index.build(x, storage, ids=ids if named else None)
    gold = index.search(q, 1)[1]  # [25, 1]: what mining negatives leaves out
    rest = ids != gold
    expected = topk_reference(q, x, 10, ids, allowed=rest)
    assert (expected[1] != gold).all()
    for given_ids in (
        gold,
        list(gold),
        [{int(g)} for (g,) in gold],
        np.pad(gold, ((0, 0), (0, 2)), constant_values=-1),
    ):
        same_bits(index.search(q, 10, exclude=given_ids), expected)
    some = rng.permutation(ids)[:1500]
    same_bits(index.search(q, 10, allow=some), topk_reference(q, x, 10, ids, allowed=np.isin(ids, some)))
    same_bits(
        index.search(q, 10, exclude=set(some.tolist())), topk_reference(q, x, 10, ids, allowed=~np.isin(ids, some))
    )
    lists = [rng.permutation(ids)[: size + 1].tolist() for size in rng.integers(0, 2000, 25)]
    lists[3], lists[4] = [], lists[4] * 2
    among = np.stack([np.isin(ids, part) for part in lists])
    same_bits(index.search(q, 10, allow=lists), topk_reference(q, x, 10, ids, allowed=among))
    same_bits(index.search(q, 10, exclude=lists), topk_reference(q, x, 10, ids, allowed=~among))


def forms(rng, b, ids):
    """Return (what a caller may give, the mask it means), of every kind."""
    mask, masks = rng.random(len(ids)) < 0.6, rng.random((b, len(ids))) < 0.6
    return [
        (None, None),
        (mask, mask),
        (masks, masks),
        (ids[mask], mask),
        ([ids[row] for row in masks], masks),
    ]


@pytest.mark.parametrize("allow", range(5))
@pytest.mark.parametrize("exclude", range(5))
def test_what_is_excluded_is_taken_from_what_is_allowed_in_every_form(allow, exclude):
    rng = np.random.default_rng(7)
    x, q, ids = normal(rng, 1501, 7), normal(rng, 9, 7), rng.permutation(1501)
    (allow, may), (exclude, may_not) = forms(rng, 9, ids)[allow], forms(rng, 9, ids)[exclude]
    allowed = (True if may is None else may) & ~np.asarray(False if may_not is None else may_not)
    allowed = np.broadcast_to(allowed, np.broadcast_shapes(np.shape(allowed), (1501,)))
    expected = topk_reference(q, x, 20, ids, allowed=allowed)
    index = Index.build(x, "int8", ids=ids)
    same_bits(index.search(q, 20, allow=allow, exclude=exclude), expected)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 700),
    st.integers(1, 12),
    st.integers(0, 150),
    st.sampled_from(STORAGES),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
    st.booleans(),
    st.data(),
)
def test_any_shape_and_mask_gives_the_reference_bits(rows, batch, k, storage, share, by_query, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x, q = (rng.integers(-2, 3, (n, 5)).astype(np.float32) for n in (rows, batch))  # many ties
    allowed = rng.random((batch, rows) if by_query else rows) < share
    expected = topk_reference(q, x, k, allowed=allowed)
    index = Index.build(x, storage)
    same_bits(index.search(q, k, allow=allowed), expected)
    lists = [np.flatnonzero(row) for row in np.broadcast_to(allowed, (batch, rows))]
    same_bits(index.search(q, k, allow=lists), expected)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_query_of_huge_norm_and_a_k_past_the_rows_that_count_keep_to_the_mask(storage):
    rng = np.random.default_rng(8)
    x, q = normal(rng, 2000, 8), normal(rng, 5, 8)
    q[2] *= np.float32(2.0**120)
    allowed = rng.random(2000) < 0.3
    index = Index.build(x, storage)
    for k in (7, int(allowed.sum()) - 1, int(allowed.sum()), int(allowed.sum()) + 5):
        same_bits(index.search(q, k, allow=allowed), topk_reference(q, x, k, allowed=allowed))


def test_more_queries_than_are_searched_at_once_keep_each_their_mask():
    rng = np.random.default_rng(9)
    x, q = normal(rng, 300, 6), normal(rng, 1100, 6)
    masks = rng.random((1100, 300)) < 0.4
    expected = topk_reference(q, x, 4, allowed=masks)
    index = Index.build(x, "int8")
    same_bits(index.search(q, 4, allow=masks), expected)
    same_bits(index.search(q, 4, allow=[np.flatnonzero(mask) for mask in masks]), expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("storage", STORAGES)
def test_maxsim_keeps_to_the_passages_that_count(storage, mask):
    rng = np.random.default_rng(10)
    cuts = np.concatenate([[0], np.cumsum(rng.integers(1, 6, 900))])
    tokens, q, ids = normal(rng, cuts[-1], 9), normal(rng, 4, 3, 9), rng.permutation(2000)[:900]
    allowed = MASKS[mask](rng, 4, 900)
    expected = maxsim(q, tokens, cuts, 8, ids=ids, allowed=allowed)
    index = MaxSimIndex.build(tokens, cuts, storage, ids=ids)
    same_bits(index.search(q, 8, allow=allowed), expected)
    same_bits(index.search(q, 8, exclude=[ids[~row] for row in np.broadcast_to(allowed, (4, 900))]), expected)
    same_bits(index.search(q, 8, allow=[ids[row] for row in np.broadcast_to(allowed, (4, 900))]), expected)


@pytest.mark.parametrize("kind", ["normal", *KINDS])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_maxsim_of_few_candidates_has_the_reference_bits(isa, storage, kind, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    rng = np.random.default_rng(len(kind))
    cuts = corpus(rng, 500, 6)
    tokens, q = adversarial(rng, kind, cuts, 24)
    named = np.stack([rng.permutation(500)[:30] for _ in q])
    allowed = np.zeros((len(q), 500), bool)
    np.put_along_axis(allowed, named, True, axis=1)
    index = MaxSimIndex.build(tokens, cuts, storage)
    for k in (4, 30, 40):
        for threads in (1, 3):
            same_bits(index.search(q, k, threads, allow=named), maxsim(q, tokens, cuts, k, allowed=allowed))


@pytest.mark.parametrize("storage", STORAGES)
def test_maxsim_scores_a_part_of_few_candidates_in_float64(storage):
    rng = np.random.default_rng(12)
    cuts = np.arange(3001) * 4
    index = MaxSimIndex.build(normal(rng, cuts[-1], 32), cuts, storage)
    index.search(normal(rng, 5, 8, 32), 5, allow=[rng.permutation(3000)[:180] for _ in range(5)])
    nominated, scored = index.last_counts
    assert scored < 5 * 180 / 4
    assert nominated <= 5 * 180


def test_re_ranking_few_candidates_scores_nothing_else():
    rng = np.random.default_rng(11)
    x, q = normal(rng, 50_000, 16), normal(rng, 20, 16)
    candidates = rng.integers(0, 50_000, (20, 100))
    index = Index.build(x, "int8")
    index.search(q, 10, allow=candidates)
    assert index.last_counts[1] <= 20 * 100


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(9, bool), ValueError, r"a mask of shape \(9,\); allowed: \(10,\) for all queries, or \(3, 10\)"),
        (np.ones((2, 10), bool), ValueError, r"a mask of shape \(2, 10\)"),
        (np.array([1.0]), TypeError, "dtype float64; allowed: booleans .* or integers"),
        (np.zeros((2, 4), int), ValueError, r"ids of shape \(2, 4\); allowed: \(3, m\)"),
        ([[1], [2]], ValueError, "2 lists of ids; allowed: 3, one for every query"),
        ([[True], [2], [3]], TypeError, "masks of several lengths, or masks and ids"),
        (np.ma.masked_array([1, 2], mask=[0, 1]), TypeError, "a masked array"),
        (np.zeros((1, 1, 1), int), ValueError, r"shape \(1, 1, 1\)"),
        (5, ValueError, r"shape \(\)"),
        (["a"], TypeError, "dtype <U1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["allow", "exclude"])
def test_what_is_no_mask_and_no_ids_is_refused_by_name(name, given, error, message):
    index = Index.build(np.ones((10, 2)))
    with pytest.raises(error, match=f"{name}: {message}"):
        index.search(np.ones((3, 2)), 2, **{name: given})


def test_ids_that_no_row_has_are_passed_over():
    index = Index.build(np.ones((4, 2)), ids=[3, 5, 7, 9])
    q = np.ones((1, 2))
    assert index.search(q, 4, allow=[9, 4, 3, 2**40])[1].tolist() == [[3, 9, -1, -1]]
    assert index.search(q, 4, exclude=np.array([2**63 + 3, 3], np.uint64))[1].tolist() == [[5, 7, 9, -1]]
    assert index.search(q, 4, allow=[])[1].tolist() == [[-1] * 4]
    assert index.search(q, 4, exclude=[])[1].tolist() == [[3, 5, 7, 9]]
    assert Index.build(np.zeros((0, 2))).search(q, 1, allow=[1])[1].tolist() == [[-1]]
