"""Every kernel and storage returns the bits of `reference.py`."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmlr.topk import Index, _topk, kernel_names, merge, topk
from jmlr.topk.reference import topk_reference

ISAS = _topk.available_isas()
STORAGES = ("float32", "bfloat16", "int8")
# (N, D, B, k): empty sides, k past N, D that fills no vector, B on both sides of the streaming path and of a panel
SHAPES = [(0, 3, 2, 4), (5, 1, 1, 9), (100, 7, 0, 3), (77, 129, 1, 0), (1000, 37, 3, 10), (3000, 64, 40, 17)]
SHAPES += [(2000, 100, 70, 5), (300, 4100, 5, 7), (4000, 16, 513, 3), (17000, 20, 70, 5)]


def same_bits(found, expected):
    assert found[0].dtype == np.float32
    assert found[1].dtype == np.int64
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()


def adversarial(rng, kind, rows, dim):
    x = rng.standard_normal((rows, dim)).astype(np.float32)
    if kind == "all rows equal":
        x[:] = x[0]
    elif kind == "small integers":
        x = np.round(x)
    elif kind == "one ulp apart":
        x[:] = np.abs(x[0])
        x[np.arange(rows), np.arange(rows) % dim] = np.nextafter(x[0, np.arange(rows) % dim], np.float32(9))
    elif kind == "negative scores":
        x = -np.abs(x)
    elif kind == "huge and tiny":
        x = (x.clip(-3, 3) * 10.0 ** rng.integers(-45, 38, (rows, 1))).astype(np.float32)
    elif kind == "denormal":
        x = (x * 1e-41).astype(np.float32)
    elif kind == "zero rows":
        x[::2] = 0
    elif kind == "one row dominates":
        x[rows // 2] *= 1e6
    elif kind == "one column dominates":
        x[:, 0] *= 1e4
    return x


KINDS = [
    "all rows equal",
    "small integers",
    "one ulp apart",
    "negative scores",
    "huge and tiny",
    "denormal",
    "zero rows",
]
KINDS += ["one row dominates", "one column dominates"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_topk_returns_the_reference_bits(isa, storage, shape, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    rows, dim, batch, k = shape
    rng = np.random.default_rng(sum(shape))
    x, q = rng.standard_normal((rows, dim)).astype(np.float32), rng.standard_normal((batch, dim)).astype(np.float32)
    same_bits(Index.build(x, storage).search(q, k), topk_reference(q, x, k))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("isa", ISAS)
def test_topk_returns_the_reference_bits_on_adversarial_rows(isa, storage, kind, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    rng = np.random.default_rng(len(kind))
    x = adversarial(rng, kind, 2500, 24)
    for batch in (1, 6):
        q = np.abs(rng.standard_normal((batch, 24))).astype(np.float32)
        if kind == "denormal":
            q *= np.float32(1e25)  # at 1e30 all rows would be scored exactly
        same_bits(Index.build(x, storage).search(q, 11), topk_reference(q, x, 11))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_many_queries_past_many_adversarial_rows_return_the_reference_bits(storage, kind):
    """Enough of both that a thread takes panels, whatever the storage, and first floors come from a sample."""
    rng = np.random.default_rng(len(kind) + 1)
    x = adversarial(rng, kind, 17000, 8)
    q = rng.standard_normal((140, 8)).astype(np.float32)
    if kind == "denormal":
        q *= np.float32(1e25)  # at 1e30 all rows would be scored exactly
    same_bits(Index.build(x, storage).search(q, 11, threads=1), topk_reference(q, x, 11))


def test_a_sample_of_fewer_rows_than_k_sets_no_floor():
    """The rows that first floors would be sampled from all score higher than the rest, and k takes more than those."""
    x = np.ones((131_000, 4), np.float32)
    x[np.arange(131_000) % (131_000 // 170) < 96] = 2
    q = np.ones((3, 4), np.float32)
    same_bits(Index.build(x, "int8").search(q, 17_000, threads=1), topk_reference(q, x, 17_000))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 400),
    st.integers(1, 90),
    st.integers(0, 20),
    st.integers(0, 450),
    st.sampled_from(STORAGES),
    st.data(),
)
def test_topk_returns_the_reference_bits_for_any_shape(rows, dim, batch, k, storage, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    levels = data.draw(st.sampled_from([1, 3, 10**6]))  # few levels: many ties
    x, q = (rng.integers(-levels, levels + 1, (n, dim)).astype(np.float32) for n in (rows, batch))
    same_bits(Index.build(x, storage).search(q, k), topk_reference(q, x, k))


def test_topk_breaks_ties_by_lower_id():
    x = np.ones((50, 4), np.float32)
    assert topk(x[:1], x, 5)[1].tolist() == [[0, 1, 2, 3, 4]]
    ids = np.arange(50)[::-1] + 7
    assert Index.build(x, "int8", ids=ids).search(x[:1], 3)[1].tolist() == [[7, 8, 9]]


def test_topk_pads_with_minus_one_when_k_exceeds_the_rows():
    scores, ids = topk(np.ones((2, 3)), np.ones((1, 3)), 3)
    assert ids.tolist() == [[0, -1, -1]] * 2
    assert scores.tolist() == [[3.0, -np.inf, -np.inf]] * 2


@pytest.mark.parametrize("storage", STORAGES)
def test_topk_is_the_same_for_every_thread_count_and_batch_split(storage):
    rng = np.random.default_rng(5)
    x, q = np.round(rng.standard_normal((9000, 20)) * 4), np.round(rng.standard_normal((67, 20)) * 4)
    index = Index.build(x, storage)
    whole = index.search(q, 30, threads=1)
    for threads in (2, 7):
        same_bits(index.search(q, 30, threads=threads), whole)
    for split in (1, 3, 16):
        parts = [index.search(q[at : at + split], 30) for at in range(0, len(q), split)]
        same_bits(tuple(np.concatenate(side) for side in zip(*parts, strict=True)), whole)


def test_merge_of_shards_is_the_search_of_the_whole():
    rng = np.random.default_rng(6)
    x, q = np.round(rng.standard_normal((1000, 8))), np.round(rng.standard_normal((9, 8)))
    x[500:] = x[:500]  # duplicates across shards
    cuts = [0, 10, 400, 1000]
    shards = [Index.build(x[a:b], ids=np.arange(a, b)) for a, b in pairwise(cuts)]
    same_bits(merge([shard.search(q, 25) for shard in shards], 25), topk_reference(q, x, 25))


def test_merge_refuses_an_id_that_two_shards_claim():
    part = topk(np.ones((1, 2)), np.ones((3, 2)), 2)
    with pytest.raises(ValueError, match="id 0 twice for query 0"):
        merge([part, part], 2)


def test_few_rows_are_scored_in_float64():
    """The certificate must be cheap, or a fast scan is no gain: at most 10 k of 20,000 rows for each query."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((20000, 64)).astype(np.float32)
    for storage in STORAGES:
        index = Index.build(x, storage)
        index.search(x[:10], 20)
        assert 20 * 10 <= index.last_counts[1] <= 10 * 20 * 10


@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_a_large_k_has_a_first_floor_too(storage):
    """Without one, some 10 k rows a query are let in where 2 to 5 k suffice."""
    rng = np.random.default_rng(5)
    index = Index.build(rng.standard_normal((60_000, 16), dtype=np.float32), storage)
    index.search(rng.standard_normal((64, 16), dtype=np.float32), 1000)
    nominated, _ = index.last_counts
    assert nominated / 64 < 4 * 1000


def test_amx_is_used_where_the_processor_has_it():
    flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
    if not {"amx_tile", "amx_bf16", "amx_int8", "avx512_vnni"} <= flags:
        pytest.skip("no AMX on this processor")
    assert "avx512amx" in ISAS  # also refused where the system grants no tiles, or the compiler knows none
    assert _topk.kernel_names("avx512amx") == ["avx512", "avx512amx", "avx512amx"]


def test_the_kernels_chosen_by_measurement_are_of_this_machine_and_stay_the_same():
    chosen = _topk.kernel_names("")
    assert set(chosen) <= set(ISAS)
    assert _topk.kernel_names("auto") == chosen


def test_an_unknown_isa_is_refused_with_those_allowed(monkeypatch):
    monkeypatch.setenv("JMLR_ISA", "avx1024")
    with pytest.raises(ValueError, match=r"JMLR_ISA='avx1024'.*allowed: auto, scalar"):
        kernel_names()


def test_a_forked_child_and_threads_side_by_side_get_the_same_answer():
    rng = np.random.default_rng(3)
    index = Index.build(rng.standard_normal((3000, 40), dtype=np.float32), "int8")
    queries = rng.standard_normal((40, 40), dtype=np.float32)
    expected = index.search(queries, 5, threads=3)
    if hasattr(os, "fork"):  # the threads that sleep between searches are not in the child
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(index.search(queries, 5, threads=3)[1], expected[1]) else 1)
        assert os.waitpid(child, 0)[1] == 0
    with ThreadPoolExecutor(4) as pool:
        for _, ids in pool.map(lambda _: index.search(queries, 5, threads=3), range(40)):
            np.testing.assert_array_equal(ids, expected[1])
