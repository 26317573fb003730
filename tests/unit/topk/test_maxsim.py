"""Exact MaxSim returns the bits of `reference.maxsim` on every kernel and storage; bad input is refused in words."""

import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maxsim_cases import KINDS, SHAPES, STORAGES, adversarial, corpus, normal, same_bits

from jmlr.topk import MaxSimIndex, _topk, maxsim_topk
from jmlr.topk.reference import maxsim

ISAS = _topk.available_isas()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_maxsim_returns_the_reference_bits(isa, storage, shape, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    passages, longest, batch, most, dim, k = shape
    rng = np.random.default_rng(sum(shape))
    offsets = corpus(rng, passages, longest)
    x, q = normal(rng, offsets[-1], dim), normal(rng, batch, most, dim)
    lengths = rng.integers(1, most + 1, batch)
    index = MaxSimIndex.build(x, offsets, storage)
    same_bits(index.search(q, k), maxsim(q, x, offsets, k))
    same_bits(index.search(q, k, query_lengths=lengths), maxsim(q, x, offsets, k, lengths))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_maxsim_returns_the_reference_bits_on_adversarial_tokens(isa, storage, kind, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    rng = np.random.default_rng(len(kind))
    offsets = corpus(rng, 400, 6)
    x, q = adversarial(rng, kind, offsets, 24)
    same_bits(MaxSimIndex.build(x, offsets, storage).search(q, 11), maxsim(q, x, offsets, 11))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["all passages equal", "small integers", "one ulp apart"])
def test_more_ties_than_a_list_holds_are_settled_by_id(storage, kind):
    rng = np.random.default_rng(1)
    offsets = corpus(rng, 2500, 2)
    x, q = adversarial(rng, kind, offsets, 4)
    ids = rng.permutation(10_000)[:2500]
    found = MaxSimIndex.build(x, offsets, storage, ids=ids).search(q, 5, threads=2)
    same_bits(found, maxsim(q, x, offsets, 5, ids=ids))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.integers(1, 20),
    st.integers(0, 4),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 70),
    st.sampled_from(STORAGES),
    st.data(),
)
def test_maxsim_returns_the_reference_bits_for_any_shape(passages, longest, batch, most, dim, k, storage, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    levels = data.draw(st.sampled_from([1, 3, 10**6]))  # few levels: many ties
    offsets = corpus(rng, passages, longest)
    x = rng.integers(-levels, levels + 1, (offsets[-1], dim)).astype(np.float32)
    q = rng.integers(-levels, levels + 1, (batch, most, dim)).astype(np.float32)
    lengths = rng.integers(1, most + 1, batch)
    found = MaxSimIndex.build(x, offsets, storage).search(q, k, query_lengths=lengths)
    same_bits(found, maxsim(q, x, offsets, k, lengths))


@pytest.mark.parametrize("storage", STORAGES)
def test_maxsim_is_the_same_for_every_thread_count_and_batch_split(storage):
    rng = np.random.default_rng(5)
    offsets = corpus(rng, 2000, 9)
    x, q = np.round(normal(rng, offsets[-1], 20) * 2), np.round(normal(rng, 300, 7, 20) * 2)
    lengths = rng.integers(1, 8, 300)
    index = MaxSimIndex.build(x, offsets, storage)
    whole = index.search(q, 30, threads=1, query_lengths=lengths)
    for threads in (2, 7):
        same_bits(index.search(q, 30, threads=threads, query_lengths=lengths), whole)
    for split in (1, 7, 64):
        cuts = range(0, len(q), split)
        parts = [index.search(q[at : at + split], 30, query_lengths=lengths[at : at + split]) for at in cuts]
        same_bits(tuple(np.concatenate(side) for side in zip(*parts, strict=True)), whole)


def test_maxsim_of_single_tokens_is_topk():
    from jmlr.topk import topk

    rng = np.random.default_rng(2)
    x, q = normal(rng, 500, 12), normal(rng, 4, 12)
    same_bits(maxsim_topk(q[:, None], x, np.arange(501), 9), topk(q, x, 9))


def test_the_order_of_a_passage_and_a_repeated_token_do_not_matter():
    rng = np.random.default_rng(3)
    x, q = normal(rng, 40, 8), normal(rng, 2, 5, 8)
    expected = maxsim_topk(q, x, [0, 15, 40], 2)
    same_bits(maxsim_topk(q, np.concatenate([x[14::-1], x[15:], x[15:]]), [0, 15, 65], 2), expected)


def test_sums_are_rounded_once_and_zeros_are_positive():
    q = np.array([[[1], [2**-30], [-1]]], np.float32)  # float32 sums would lose the middle term
    scores, ids = maxsim_topk(q, np.ones((2, 1)), [0, 1, 2], 3)
    assert scores.tolist() == [[2**-30, 2**-30, -np.inf]]
    assert ids.tolist() == [[0, 1, -1]]
    assert not np.signbit(maxsim_topk(-q, np.zeros((1, 1)), [0, 1], 1)[0]).any()


def test_one_query_needs_no_batch_axis_and_padding_is_never_read():
    rng = np.random.default_rng(4)
    x, q = normal(rng, 30, 6), normal(rng, 2, 5, 6)
    expected = maxsim_topk(q[:, :3], x, [0, 10, 30], 2)
    q[:, 3:] = np.nan
    same_bits(maxsim_topk(q, x, [0, 10, 30], 2, query_lengths=[3, 3]), expected)
    same_bits(maxsim_topk(q[0, :3], x, [0, 10, 30], 2), tuple(side[:1] for side in expected))


def test_torch_tensors_and_later_writes_do_not_change_the_answer():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, q, offsets = normal(rng, 30, 6), normal(rng, 2, 5, 6), np.array([0, 10, 30])
    expected = maxsim_topk(q, x, offsets, 2)
    index = MaxSimIndex.build(torch.from_numpy(x), torch.from_numpy(offsets))
    x[:], offsets[:] = 0, 0
    found = index.search(torch.from_numpy(q).requires_grad_(), 2)
    same_bits([tensor.numpy() for tensor in found], expected)
    assert (len(index), index.dim, index.storage) == (2, 6, "float32")


def test_few_passages_are_scored_in_float64():
    rng = np.random.default_rng(7)
    offsets = np.arange(0, 30_001, 10)
    x, q = normal(rng, 30_000, 32), normal(rng, 4, 8, 32)
    for storage in STORAGES:
        index = MaxSimIndex.build(x, offsets, storage)
        index.search(q, 10)
        assert 4 * 10 <= index.last_counts[1] <= 4 * 30, storage


def test_ctrl_c_stops_a_search():
    x, q = np.ones((400_000, 64), np.float32), np.ones((64, 32, 64), np.float32)
    index = MaxSimIndex.build(x, np.arange(0, 400_001, 100))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        start = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            index.search(q, 4000)  # all of them: in float64, many seconds
        assert time.monotonic() - start < 5
    finally:
        signal.signal(signal.SIGINT, before)


X = normal(np.random.default_rng(0), 40, 12)
Q = normal(np.random.default_rng(1), 3, 5, 12)
CUTS = np.array([0, 7, 30, 40])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_tokens_are_refused_with_their_place(value):
    x, q = X.copy(), Q.copy()
    x[17, 5] = q[2, 3, 4] = value
    with pytest.raises(ValueError, match=r"^tokens: .* row 17, column 5"):
        MaxSimIndex.build(x, CUTS)
    with pytest.raises(ValueError, match=r"query_tokens: .* query 2, token 3, column 4"):
        maxsim_topk(q, X, CUTS, 3)
    with pytest.raises(ValueError, match=r"query_tokens: .* query 2, token 3, column 4"):
        maxsim_topk(q, X, CUTS, 3, query_lengths=[1, 2, 4])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MaxSimIndex.build(X, CUTS, "int4"), ValueError, "storage: 'int4'; allowed: float32"),
        (lambda: MaxSimIndex.build(X[0], CUTS), ValueError, "tokens: .*2 dimensions"),
        (lambda: MaxSimIndex.build(X, [0, 7, 7, 40]), ValueError, "passage 1, from 7, has no tokens"),
        (lambda: MaxSimIndex.build(X, [0, 9, 7, 40]), ValueError, "passage 1, from 9, ends at 7, before its start"),
        (lambda: MaxSimIndex.build(X, [0, 7, 39]), ValueError, "from 0 to 39; allowed: from 0 to 40"),
        (lambda: MaxSimIndex.build(X, [1, 40]), ValueError, "from 1 to 40"),
        (lambda: MaxSimIndex.build(X, np.zeros(0, int)), ValueError, "offsets: empty"),
        (lambda: MaxSimIndex.build(X, CUTS[None]), ValueError, r"offsets: shape \(1, 4\)"),
        (lambda: MaxSimIndex.build(X, CUTS * 1.0), TypeError, "offsets: dtype float64"),
        (lambda: MaxSimIndex.build(X, CUTS, ids=[1, 1, 2]), ValueError, "1 occurs more than once"),
        (lambda: MaxSimIndex.build(X, CUTS, ids=[1, 2]), ValueError, r"allowed: \(3,\), one for every passage"),
        (lambda: MaxSimIndex.build(X, CUTS, ids=[0, -1, 2]), ValueError, "-1 in passage 1"),
        (lambda: maxsim_topk(Q[..., :5], X, CUTS, 3), ValueError, "D = 5, but the index has D = 12"),
        (lambda: maxsim_topk(Q[:, :0], X, CUTS, 3), ValueError, "query_tokens: T = 0; allowed: 1"),
        (lambda: maxsim_topk(Q[0, 0], X, CUTS, 3), ValueError, r"query_tokens: shape \(12,\)"),
        (lambda: maxsim_topk(Q[None], X, CUTS, 3), ValueError, r"query_tokens: shape \(1, 3, 5, 12\)"),
        (lambda: maxsim_topk(Q + 1j, X, CUTS, 3), TypeError, "query_tokens: dtype complex"),
        (lambda: maxsim_topk(Q, X, CUTS, 3, query_lengths=[5, 0, 5]), ValueError, "0 for query 1; allowed: 1 to T = 5"),
        (lambda: maxsim_topk(Q, X, CUTS, 3, query_lengths=[5, 5, 6]), ValueError, "6 for query 2"),
        (lambda: maxsim_topk(Q, X, CUTS, 3, query_lengths=[5, 5]), ValueError, "query_lengths: 2; allowed: 3"),
        (lambda: maxsim_topk(Q, X, CUTS, 3, query_lengths=[1.0] * 3), TypeError, "query_lengths: dtype float64"),
        (lambda: maxsim_topk(Q, X, CUTS, -1), ValueError, "k: -1; allowed: 0"),
        (lambda: maxsim_topk(Q, X, CUTS, 2.0), TypeError, "k: 2.0"),
        (lambda: maxsim_topk(Q, X, CUTS, 2, threads=0), ValueError, "threads: 0"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()
