"""Rows and queries that are hostile to a search give the reference's bits, and are not all scored exactly."""

import numpy as np
import pytest

from jmlr.topk import Index, MaxSimIndex, _topk
from jmlr.topk.reference import maxsim, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
ROWS, DIM, K = 12_000, 16, 20


def gaussian(seed, rows):
    return np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)


def scored_exactly(index, queries, k=K, ids=None):
    """Search, compare bits with the reference, and return how many rows each query had scored exactly."""
    found = index.search(queries, k)
    rescored = index.last_counts[1] / len(queries)
    expected = topk_reference(queries, index.vectors, k, ids)
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()
    return rescored


def copied(share, originals):
    x = gaussian(1, ROWS)
    places = np.random.default_rng(2).choice(ROWS, int(share * ROWS), replace=False)
    x[places] = 3 * np.abs(x[np.arange(len(places)) % originals])
    return x


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize(("share", "originals"), [(1.0, 1), (0.6, 1), (0.6, 50)])
@pytest.mark.parametrize("storage", STORAGES)
def test_copies_of_the_best_rows_are_scored_once(storage, share, originals, batch):
    x, q = copied(share, originals), np.abs(gaussian(3, batch))
    index = Index.build(x, storage)
    scored_exactly(index, q)  # learns of the copies
    assert scored_exactly(index, q) < ROWS / 10


@pytest.mark.parametrize("k", [1, 3000, 11_999, 12_500])
@pytest.mark.parametrize("storage", STORAGES)
def test_copies_come_in_the_order_of_their_ids(storage, k):
    x, q = copied(0.5, 7), np.abs(gaussian(4, 5))
    ids = np.random.default_rng(5).permutation(ROWS).astype(np.int64)
    for threads in (1, 3):
        index = Index.build(x, storage, ids=ids)
        for _ in range(2):
            found = index.search(q, k, threads)
            expected = topk_reference(q, x, k, ids)
            np.testing.assert_array_equal(found[1], expected[1])
            assert found[0].tobytes() == expected[0].tobytes()


@pytest.mark.parametrize("ids", [None, np.arange(ROWS)[::-1]], ids=["no ids", "ids"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_query_of_zeros_costs_no_exact_scores(storage, ids):
    """All rows tie at +0, whatever the sign of its zeros."""
    q = gaussian(6, 9)
    q[3], q[4] = 0, -0.0
    assert scored_exactly(Index.build(gaussian(7, ROWS), storage, ids=ids), q, ids=ids) < ROWS / 10


@pytest.mark.parametrize("storage", STORAGES)
def test_zero_rows_are_scored_once(storage):
    x = -np.abs(gaussian(8, ROWS))
    x[: ROWS - 10] = 0
    index = Index.build(x, storage)
    q = np.abs(gaussian(9, 30))
    scored_exactly(index, q)
    assert scored_exactly(index, q) < ROWS / 10


def times(x, rows, factor):
    """Multiply some rows in place, as often as float32 needs to reach the factor, rounding to subnormals."""
    with np.errstate(under="ignore", over="ignore"):
        x[rows] = (x[rows].astype(np.float64) * factor).clip(-3.4e38, 3.4e38).astype(np.float32)
    return x


SOME, ALL = slice(77, 78), slice(None)
EXTREMES = {
    "one row of norm 2^100": ((SOME, 2.0**100), (ALL, 1)),
    "one row of the largest numbers": ((SOME, 2.0**140), (ALL, 1)),
    "all rows of norm 2^110": ((ALL, 2.0**110), (ALL, 1)),
    "one query of norm 2^110": ((ALL, 1), (slice(2, 3), 2.0**110)),
    "huge rows, huge queries: scores are infinite": ((ALL, 2.0**100), (ALL, 2.0**100)),
    "huge rows, subnormal queries": ((ALL, 2.0**120), (ALL, 2.0**-135)),
    "one huge row among small ones": ((slice(1, None), 2.0**-60), (ALL, 2.0**60)),
    "half of the rows subnormal": ((slice(None, None, 2), 2.0**-135), (ALL, 1)),
    "all rows subnormal": ((ALL, 2.0**-135), (ALL, 2.0**20)),
    "all rows subnormal, huge queries": ((ALL, 2.0**-135), (ALL, 2.0**120)),
    "all rows subnormal, and subnormal queries: scores are zero": ((ALL, 2.0**-135), (ALL, 2.0**-135)),
    "rows of the least numbers": ((ALL, 2.0**-147), (ALL, 2.0**120)),
    "rows just not lifted": ((ALL, 2.0**-102), (ALL, 1)),
    "subnormal queries": ((ALL, 1), (ALL, 2.0**-133)),
}
TIES = {name for name in EXTREMES if "scores are" in name or "least" in name}  # exact scores must tell them apart


@pytest.mark.parametrize("batch", [2, 5, 40])
@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("storage", STORAGES)
def test_no_number_is_too_large_or_too_small_for_a_scan(storage, name, batch):
    (rows, row_factor), (queries, query_factor) = EXTREMES[name]
    x, q = times(gaussian(10, ROWS), rows, row_factor), times(gaussian(11, batch), queries, query_factor)
    rescored = scored_exactly(Index.build(x, storage), q)
    assert rescored < ROWS / 10 or name in TIES


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("isa", _topk.available_isas())
def test_every_kernel_gives_the_bits_of_extreme_numbers(isa, name, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    (rows, row_factor), (queries, query_factor) = EXTREMES[name]
    x, q = times(gaussian(12, 900), rows, row_factor), times(gaussian(13, 9), queries, query_factor)
    for storage in STORAGES:
        scored_exactly(Index.build(x, storage), q)


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("storage", STORAGES)
def test_maxsim_takes_numbers_of_any_size(storage, name):
    (rows, row_factor), (queries, query_factor) = EXTREMES[name]
    x, q = times(gaussian(14, 3000), rows, row_factor), times(gaussian(15, 12), queries, query_factor)
    cuts, tokens = np.arange(0, 3001, 3), q.reshape(3, 4, DIM)
    index = MaxSimIndex.build(x, cuts, storage)
    found, expected = index.search(tokens, 9), maxsim(tokens, x, cuts, 9)
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()
    assert index.last_counts[1] < 3 * 1000 / 2 or name in TIES


@pytest.mark.parametrize(("share", "originals"), [(1.0, 1), (0.6, 7)])
@pytest.mark.parametrize("storage", STORAGES)
def test_copies_of_the_best_passages_are_scored_once(storage, share, originals):
    x = copied(share, originals).reshape(-1, 3 * DIM)
    x[: int(share * len(x))] = np.abs(x[np.arange(int(share * len(x))) % originals])
    cuts, tokens = np.arange(0, ROWS + 1, 3), np.abs(gaussian(16, 12)).reshape(3, 4, DIM)
    ids = np.arange(ROWS // 3)[::-1] + 5
    index = MaxSimIndex.build(x.reshape(ROWS, DIM), cuts, storage, ids=ids)
    expected = maxsim(tokens, x.reshape(ROWS, DIM), cuts, K, ids=ids)
    for _ in range(2):
        found = index.search(tokens, K)
        np.testing.assert_array_equal(found[1], expected[1])
        assert found[0].tobytes() == expected[0].tobytes()
    assert index.last_counts[1] < 3 * len(cuts) / 5
