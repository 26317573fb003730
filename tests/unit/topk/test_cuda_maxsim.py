"""MaxSim on the GPU gives the bits of `reference.maxsim` and refuses as the CPU does; run on the host by emulation as well."""

from __future__ import annotations

import numpy as np
import pytest
from maxsim_cases import KINDS, SHAPES, STORAGES, adversarial, corpus, normal, same_bits

torch = pytest.importorskip("torch")

from jmlr.topk import MaxSimIndex, maxsim_topk  # noqa: E402
from jmlr.topk.cuda_maxsim import CudaMaxSimIndex  # noqa: E402
from jmlr.topk.reference import maxsim  # noqa: E402

# (N, longest passage, B, T, D, k), for a real GPU only
LARGE = [(20_000, 60, 5, 32, 128, 100), (3000, 300, 40, 32, 96, 10), (9000, 9, 2, 300, 33, 2000)]


def on_host(found):
    return tuple(side.cpu().numpy() for side in found)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
def test_the_gpu_returns_the_reference_bits_of_maxsim(gpu, shape, storage):
    if gpu.emulated and shape in LARGE:
        pytest.skip("too slow in emulation")
    passages, longest, batch, most, dim, k = shape
    rng = np.random.default_rng(sum(shape))
    offsets = corpus(rng, passages, longest)
    x, q = normal(rng, offsets[-1], dim), normal(rng, batch, most, dim)
    lengths = rng.integers(1, most + 1, batch)
    index = MaxSimIndex.build(gpu.tensor(x), gpu.tensor(offsets), storage)
    assert isinstance(index, CudaMaxSimIndex)
    assert (len(index), index.dim, index.storage) == (passages, dim, storage)
    found = index.search(gpu.tensor(q), k, query_lengths=gpu.tensor(lengths))
    assert found[0].device == index.device
    same_bits(on_host(found), maxsim(q, x, offsets, k, lengths))
    assert index.last_exact == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_the_gpu_returns_the_reference_bits_of_maxsim_on_adversarial_tokens(gpu, storage, kind):
    rng = np.random.default_rng(len(kind))
    offsets = corpus(rng, 150 if gpu.emulated else 4000, 6)
    x, q = adversarial(rng, kind, offsets, 24)
    index = MaxSimIndex.build(gpu.tensor(x), offsets, storage)
    same_bits(on_host(index.search(gpu.tensor(q), 11)), maxsim(q, x, offsets, 11))
    if kind in ("huge and tiny", "overflow"):
        assert index.last_exact == len(q)


@pytest.mark.parametrize("storage", STORAGES)
def test_most_passages_are_ruled_out_by_the_bounds(gpu, storage):
    """Several phases: the lists hold 4,096 of the 9,000 passages."""
    rng = np.random.default_rng(3)
    offsets = corpus(rng, 9000, 2)
    x, q = normal(rng, offsets[-1], 8), normal(rng, 2, 5, 8)
    index = MaxSimIndex.build(gpu.tensor(x), offsets, storage)
    same_bits(on_host(index.search(gpu.tensor(q), 7)), maxsim(q, x, offsets, 7))
    assert index.last_exact == 0


def test_more_ties_than_a_list_holds_are_settled_by_id(gpu):
    rng = np.random.default_rng(1)
    offsets = np.arange(4501)
    x, q = adversarial(rng, "all passages equal", offsets, 4)
    q = q[:1, :2]
    x[4400] *= 2
    ids = rng.permutation(10_000)[:4500]
    index = MaxSimIndex.build(gpu.tensor(x), offsets, "bfloat16", ids=ids)
    same_bits(on_host(index.search(gpu.tensor(q), 5)), maxsim(q, x, offsets, 5, ids=ids))
    assert index.last_exact == 1


@pytest.mark.parametrize("storage", STORAGES)
def test_passages_and_queries_longer_than_what_is_multiplied_at_a_time(gpu, storage):
    rng = np.random.default_rng(8)
    lengths = np.array([1, 1100, 3, 128, 1024, 130, 1, 2, 900, 200])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    x, q = normal(rng, offsets[-1], 6), normal(rng, 5, 200, 6)
    held = [200, 1, 128, 129, 64]
    index = MaxSimIndex.build(gpu.tensor(x), offsets, storage)
    same_bits(on_host(index.search(gpu.tensor(q), 4, query_lengths=held)), maxsim(q, x, offsets, 4, np.array(held)))


def test_batches_of_queries_answer_as_one(gpu, monkeypatch):
    from jmlr.topk import cuda_maxsim

    rng = np.random.default_rng(2)
    offsets = corpus(rng, 50, 5)
    x, q = normal(rng, offsets[-1], 8), normal(rng, 7, 4, 8)
    x[0] *= np.float32(1e37)  # every query goes the slow way, in a batch of its own numbers
    monkeypatch.setattr(cuda_maxsim, "BATCH_BYTES", 2 * 4 * 8 * 4)
    index = MaxSimIndex.build(gpu.tensor(x), offsets, "int8")
    same_bits(on_host(index.search(gpu.tensor(q), 6)), maxsim(q, x, offsets, 6))
    assert index.last_exact == 7


def test_layouts_single_queries_and_padding_that_is_never_read(gpu):
    rng = np.random.default_rng(4)
    x, q, offsets = normal(rng, 30, 6), normal(rng, 2, 5, 6), np.array([0, 10, 30])
    expected = maxsim(q[:, :3], x, offsets, 2)
    mine = gpu.tensor(x.copy())
    index = MaxSimIndex.build(mine.t().contiguous().t(), offsets)
    mine.zero_()
    q[:, 3:] = np.nan
    same_bits(on_host(index.search(gpu.tensor(q), 2, query_lengths=[3, 3])), expected)
    same_bits(on_host(index.search(gpu.tensor(q[0, :3]), 2)), tuple(side[:1] for side in expected))
    same_bits(on_host(index.search(gpu.tensor(np.repeat(q, 2, 0)[:, :3])[::2], 2)), expected)
    same_bits(on_host(index.search(gpu.tensor(q[:, :3].astype(np.float64)), 2)), expected)
    same_bits(on_host(maxsim_topk(gpu.tensor(q), gpu.tensor(x), offsets, 2, query_lengths=[3, 3])), expected)


X = normal(np.random.default_rng(0), 40, 12)
Q = normal(np.random.default_rng(1), 3, 5, 12)
CUTS = np.array([0, 7, 30, 40])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_tokens_are_refused_with_their_place(gpu, value):
    x, q = normal(np.random.default_rng(5), 3000, 12), Q.copy()
    offsets = np.array([0, 7, 1000, 2999, 3000])
    x[2998, 5] = q[2, 3, 4] = value
    with pytest.raises(ValueError, match=r"^tokens: .* row 2998, column 5; allowed: finite"):
        MaxSimIndex.build(gpu.tensor(x), offsets, "int8")
    index = MaxSimIndex.build(gpu.tensor(X), CUTS, "bfloat16")
    with pytest.raises(ValueError, match=r"^query_tokens: .* query 2, token 3, column 4; allowed: finite"):
        index.search(gpu.tensor(q), 3)
    with pytest.raises(ValueError, match=r"^query_tokens: .* query 2, token 3, column 4; allowed: finite"):
        index.search(gpu.tensor(q), 0, query_lengths=[1, 2, 4])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, q: MaxSimIndex.build(x, CUTS, "int4"), ValueError, "storage: 'int4'; allowed: float32"),
        (lambda x, q: MaxSimIndex.build(x[0], CUTS), ValueError, "tokens: .*2 dimensions"),
        (lambda x, q: MaxSimIndex.build(x, [0, 7, 7, 40]), ValueError, "passage 1, from 7, has no tokens"),
        (lambda x, q: MaxSimIndex.build(x, [0, 7, 39]), ValueError, "from 0 to 39; allowed: from 0 to 40"),
        (lambda x, q: MaxSimIndex.build(x, CUTS, ids=[1, 1, 2]), ValueError, "1 occurs more than once"),
        (lambda x, q: MaxSimIndex.build(x, CUTS, ids=[1, 2]), ValueError, r"allowed: \(3,\), one for every passage"),
        (lambda x, q: maxsim_topk(q[..., :5], x, CUTS, 3), ValueError, "D = 5, but the index has D = 12"),
        (lambda x, q: maxsim_topk(q[:, :0], x, CUTS, 3), ValueError, "query_tokens: T = 0; allowed: 1"),
        (lambda x, q: maxsim_topk(q[0, 0], x, CUTS, 3), ValueError, r"query_tokens: shape \(12,\)"),
        (lambda x, q: maxsim_topk(q > 0, x, CUTS, 3), TypeError, "query_tokens: dtype torch.bool"),
        (lambda x, q: maxsim_topk(Q, x, CUTS, 3), TypeError, "query_tokens: in the memory of the CPU, but the index"),
        (lambda x, q: maxsim_topk(q, x, CUTS, 3, query_lengths=[5, 0, 5]), ValueError, "0 for query 1; allowed: 1 to"),
        (lambda x, q: maxsim_topk(q, x, CUTS, 3, query_lengths=[5, 5]), ValueError, "query_lengths: 2; allowed: 3"),
        (lambda x, q: maxsim_topk(q, x, CUTS, 2049), ValueError, "k: 2049; allowed on a GPU: 0 to 2048"),
        (lambda x, q: maxsim_topk(q, x, CUTS, -1), ValueError, "k: -1; allowed: 0"),
    ],
)
def test_bad_input_is_refused_in_words(gpu, call, error, message):
    with pytest.raises(error, match=message):
        call(gpu.tensor(X), gpu.tensor(Q))
