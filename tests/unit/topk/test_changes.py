"""An index that rows were added to and removed from gives the bits of one that was built of what is left."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmlr.topk import Index
from jmlr.topk.reference import range_reference, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
RNG = np.random.default_rng(14)
X = np.round(RNG.standard_normal((2500, 12)) * 3).astype(np.float32)
Q = np.round(RNG.standard_normal((30, 12)) * 3).astype(np.float32)


def same_bits(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.tobytes() == wanted.tobytes()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("storage", STORAGES)
def test_searches_and_files_are_those_of_a_fresh_build(storage, mapped, tmp_path):
    index = Index.build(X[:2000], storage)
    if mapped:
        index.save(tmp_path / "index")
        index = Index.open(tmp_path / "index")
    index.remove(np.arange(0, 2000, 3))
    index.add(X[2000:2400])
    index.remove([1, 2100, 2399])
    index.add(X[2400:], ids=np.arange(5000, 5100))
    index.add(X[0], ids=[0])  # an id that was removed, and a single row
    rows = np.setdiff1d(np.arange(2500), [*range(0, 2000, 3), 1, 2100, 2399])
    left, ids = np.concatenate([X[rows], X[:1]]), np.concatenate([np.where(rows < 2400, rows, rows + 2600), [0]])
    fresh = Index.build(left, storage, ids=ids)
    assert len(index) == len(fresh) == len(left)
    assert index.ids.tolist() == ids.tolist()
    assert index.vectors.tobytes() == left.tobytes()
    for batch in (1, 30):
        for largest in (True, False):
            expected = topk_reference(Q[:batch], left, 25, ids, largest=largest)
            same_bits(index.search(Q[:batch], 25, largest=largest), expected)
    same_bits(index.range_search(Q, 60), range_reference(Q, left, 60, ids))
    mask = RNG.random((30, len(left))) < 0.5
    expected = topk_reference(Q, left, 25, ids, allowed=mask)
    same_bits(index.search(Q, 25, allow=mask), expected)
    same_bits(index.search(Q, 25, exclude=[ids[~row] for row in mask]), expected)
    same_bits(index.rows(100, 1500).search(Q, 9), topk_reference(Q, left[100:1500], 9, ids[100:1500]))
    index.save(tmp_path / "index")
    fresh.save(tmp_path / "fresh")
    assert contents(tmp_path / "index") == contents(tmp_path / "fresh")
    same_bits(Index.open(tmp_path / "index").search(Q, 25), fresh.search(Q, 25))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(STORAGES), st.data())
def test_any_row_of_changes_ends_in_the_rows_that_are_left(storage, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    index, held = Index.build(X[:40], storage), {i: X[i] for i in range(40)}
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            rows = X[rng.integers(0, 2500, rng.integers(0, 30))]
            first = max(held, default=-1) + 1
            index.add(rows)
            held |= {first + n: row for n, row in enumerate(rows)}
        else:
            gone = [name for name in held if rng.random() < 0.3]
            index.remove(gone)
            for name in gone:
                del held[name]
    left = np.array([*held.values()], np.float32).reshape(-1, 12)
    same_bits(index.search(Q, 7), topk_reference(Q, left, 7, np.array([*held], np.int64)))
    assert [name in index for name in range(60)] == [name in held for name in range(60)]


def test_rows_added_one_by_one_are_copied_a_few_times_not_each_time():
    index = Index.build(X[:1])
    places = set()
    for row in X[1:1000]:
        index.add(row)
        places.add(index._segments.parts[1].columns["vectors"].ctypes.data)
    assert len(places) <= 12
    assert len(index._segments.parts) == 2
    same_bits(index.search(Q, 5), topk_reference(Q, X[:1000], 5))


def test_a_copy_and_its_original_change_apart():
    index = Index.build(X[:10])
    index.add(X[10:20])
    for twin in (copy.copy(index), copy.deepcopy(index)):
        twin.add(X[20:30])
        twin.remove(3)
        same_bits(index.search(Q, 5), topk_reference(Q, X[:20], 5))
        same_bits(twin.search(Q, 5), topk_reference(Q, np.delete(X[:30], 3, 0), 5, np.delete(np.arange(30), 3)))
    index.add(X[30:40])
    same_bits(index.search(Q, 5), topk_reference(Q, np.delete(X[:40], range(20, 30), 0), 5))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda i: i.add(X[:2, :5]), ValueError, "vectors: D = 5, but the index has D = 12"),
        (lambda i: i.add(np.full(12, np.nan)), ValueError, "vectors: nan in row 0, column 0"),
        (lambda i: i.add(X[:2], ids=[50, 9]), ValueError, "ids: 9 is in the index; allowed: ids that are not"),
        (lambda i: i.add(X[:2], ids=[50, 50]), ValueError, "ids: 50 occurs more than once"),
        (lambda i: i.add(X[:2], ids=[50]), ValueError, r"ids: shape \(1,\)"),
        (lambda i: i.remove([1, 99, 98]), KeyError, "id 99 is not in the index"),
        (lambda i: i.remove(-1), KeyError, "id -1 is not in the index"),
        (lambda i: i.remove(0.5), TypeError, "ids: dtype float64"),
        (lambda i: i.remove([[1]]), TypeError, r"shape \(1, 1\)"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(change, error, message):
    index = Index.build(X[:20])
    with pytest.raises(error, match=message):
        change(index)
    same_bits(index.search(Q, 5), topk_reference(Q, X[:20], 5))


def test_all_rows_may_go_and_others_come():
    index = Index.build(X[:5])
    index.remove(range(5))
    assert index.search(Q[:1], 2)[1].tolist() == [[-1, -1]]
    assert len(index) == 0
    index.add(X[7:9])
    same_bits(index.search(Q, 3), topk_reference(Q, X[7:9], 3))


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_what_scans_read_begins_on_a_cache_line(storage, tmp_path):
    for rows in range(3, 9):  # wide loads that straddle two lines take twice as long
        x = np.random.default_rng(rows).standard_normal((rows, 70), dtype=np.float32)
        index = Index.build(x, storage)
        index.add(x + 1)
        index.add(x - 1)
        index.save(tmp_path / f"{rows}.index")
        for opened in (index, Index.open(tmp_path / f"{rows}.index")):
            for part in opened._segments.parts:
                assert {
                    part.columns[name].ctypes.data % 64 for name in part.columns if name in ("codes", "vectors")
                } == {0}


def test_rows_without_ids_after_the_last_id_that_there_can_be_are_refused_in_words():
    last = np.iinfo(np.int64).max
    index = Index.build(X[:2], ids=[5, last - 1])
    with pytest.raises(
        ValueError, match=r"^ids: 2 more than the highest, \d+, do not fit int64; give ids of your own$"
    ):
        index.add(X[2:4])
    assert len(index) == 2
    index.add(X[2])
    assert last in index
    with pytest.raises(ValueError, match="do not fit int64"):
        index.add(X[3])
    index.add(X[3], ids=[7])
    assert len(index) == 4
