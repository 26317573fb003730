"""Rows and queries that are hostile to a search give the reference's bits, and are not all scored exactly."""

import numpy as np
import pytest

from jmlr.topk import Index
from jmlr.topk.reference import topk_reference

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
