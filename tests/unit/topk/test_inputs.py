"""What goes in is converted or refused with what, where and what is allowed; never misread."""

import numpy as np
import pytest

from jmlr.topk import Index, MaxSimIndex, merge, topk

X = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_vectors_are_refused_with_row_and_column(value):
    bad = X.copy()
    bad[17, 5] = value
    with pytest.raises(ValueError, match=r"vectors: .* row 17, column 5"):
        Index.build(bad)
    with pytest.raises(ValueError, match=r"queries: .* row 17, column 5"):
        topk(bad, X, 3)


def test_a_float64_beyond_float32_is_refused_not_turned_into_infinity():
    with pytest.raises(ValueError, match="row 0, column 1"):
        Index.build(np.array([[0.0, 1e300]]))


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.float64),
        lambda x: x.tolist(),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    ],
    ids=["fortran", "strided", "big-endian", "float64", "list", "misaligned"],
)
def test_every_layout_gives_the_same_answer(layout):
    expected = topk(X[:3], X, 4)
    found = topk(layout(X[:3]), layout(X), 4)
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tolist() == expected[1].tolist()


def test_torch_tensors_are_read_whatever_their_stride_and_width():
    torch = pytest.importorskip("torch")
    expected = topk(X[:3], X, 4)[1].tolist()
    assert topk(torch.from_numpy(X[:3]), torch.from_numpy(X.T.copy()).T, 4)[1].tolist() == expected
    half = torch.from_numpy(X).bfloat16().requires_grad_()
    assert torch.equal(topk(half[:3], half, 4)[0], topk(half.detach().float()[:3], half.detach().float(), 4)[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Index.build(X, "int4"), ValueError, "storage: 'int4'; allowed: float32, bfloat16, int8"),
        (lambda: Index.build(X[0]), ValueError, "2 dimensions"),
        (lambda: Index.build(np.zeros((3, 0))), ValueError, "D = 0"),
        (lambda: Index.build(np.array([["a"]])), TypeError, "dtype <U1"),
        (lambda: Index.build(X + 1j), TypeError, "complex"),
        (lambda: Index.build([[1.0], [1.0, 2.0]]), ValueError, "not a matrix"),
        (lambda: topk(X[:, :5], X, 3), ValueError, "D = 5, but the index has D = 12"),
        (lambda: topk(X, X, -1), ValueError, "k: -1; allowed: 0"),
        (lambda: topk(X, X, 2.0), TypeError, "k: 2.0; allowed: an integer"),
        (lambda: topk(X, X, 2, threads=0), ValueError, "threads: 0"),
        (lambda: Index.build(X, ids=np.zeros(40, int)), ValueError, "0 occurs more than once"),
        (lambda: Index.build(X, ids=np.arange(40) - 1), ValueError, "-1 in row 0"),
        (lambda: Index.build(X, ids=np.arange(39)), ValueError, r"shape \(39,\)"),
        (lambda: Index.build(X, ids=np.arange(40.0)), TypeError, "float64"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


MASKED = np.ma.masked_array(X[0], mask=np.arange(12) == 3)


@pytest.mark.parametrize(
    ("queries", "error", "message"),
    [
        (MASKED, TypeError, "queries: a masked array"),
        ([MASKED, MASKED], TypeError, "queries: a masked array"),
        ([[1.0] * 12, [1.0] * 11], ValueError, "queries: not a matrix"),
        (np.float32(1), ValueError, r"queries: shape \(\); allowed: 2 dimensions, \[rows, D\], or \[D\] for one"),
        (X[0] + 1j, TypeError, "queries: dtype complex"),
        (X[0, :5], ValueError, "queries: D = 5, but the index has D = 12"),
        (np.full(12, np.nan), ValueError, "queries: nan in row 0, column 0"),
    ],
)
def test_a_single_query_meets_the_checks_of_many(queries, error, message):
    with pytest.raises(error, match=message):
        Index.build(X).search(queries, 3)


def test_a_single_query_may_be_a_tensor_of_any_float():
    torch = pytest.importorskip("torch")
    index, expected = Index.build(X), topk(X[:1], X, 4)
    query = torch.from_numpy(X[0])
    for given in (query, query.clone().requires_grad_(), [query], (query.clone().requires_grad_(),)):
        assert np.array_equal(index.search(given, 4)[0], expected[0])
    half = query.bfloat16()
    for given in (half, [half]):
        assert np.array_equal(index.search(given, 4)[0], topk(half.float()[None], X, 4)[0])


def test_ragged_lists_of_tokens_name_the_argument():
    with pytest.raises(ValueError, match="query_tokens: not a matrix"):
        MaxSimIndex.build(X, [0, 40]).search([[[1.0] * 12], [[1.0] * 11]], 1)


def test_merge_refuses_ids_that_are_no_integers_or_may_be_counted_from_0_in_each_shard():
    scores = np.ones((1, 2), np.float32)
    parts = [(scores, np.array([[0, 5]])), (scores, np.array([[3, 7]]))]
    with pytest.raises(
        ValueError, match=r"ids of parts\[0\], 0 to 5, and of parts\[1\], 3 to 7, overlap.*interleaved=True"
    ):
        merge(parts, 3)
    with pytest.raises(TypeError, match=r"parts\[1\]: ids of dtype float64; allowed: integers"):
        merge([parts[0], (parts[1][0], parts[1][1] + 0.5)], 3)


def test_merge_takes_interleaved_ids_where_told_so():
    even, odd = (Index.build(X[start::2], ids=np.arange(start, 40, 2)) for start in (0, 1))
    expected = topk(X[:5], X, 6)
    found = merge([even.search(X[:5], 6), odd.search(X[:5], 6)], 6, interleaved=True)
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tolist() == expected[1].tolist()


def test_build_copies_so_that_later_writes_do_not_change_the_answer():
    mine = X.copy()
    index = Index.build(mine)
    mine[:] = 0
    assert index.search(X[:2], 3)[1].tolist() == topk(X[:2], X, 3)[1].tolist()


def test_topk_leaves_what_it_is_given_as_it_is():
    x, q = X.copy(), X[:2].copy()
    topk(q, x, 3)
    x[0], q[0] = 1, 1  # both can still be written to


def test_threads_follow_omp_num_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    with pytest.raises(ValueError, match="OMP_NUM_THREADS: 'none'"):
        topk(X, X, 1)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_first_bad_entry_is_named_whatever_the_number_of_threads(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    x = np.zeros((50_000, 64), np.float32)
    x[39_000:, 5] = np.nan
    x[700, 9] = np.inf
    with pytest.raises(ValueError, match="inf in row 700, column 9"):
        Index.build(x)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_an_index_has_the_same_bits_whatever_the_number_of_threads(storage, monkeypatch):
    x = np.random.default_rng(0).standard_normal((50_001, 64), dtype=np.float32)
    columns = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        columns.append(Index.build(x, storage)._segments.parts[0].columns)
    assert columns[0].keys() == columns[1].keys()
    for name, column in columns[0].items():
        assert np.array_equal(column, columns[1][name]), name
