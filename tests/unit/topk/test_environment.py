"""Another library's flush-to-zero on the caller's thread changes no bit of an index, a search or a merge."""

from contextlib import contextmanager

import numpy as np
import pytest

from jmlr.topk import Index, MaxSimIndex, merge, topk
from jmlr.topk.reference import maxsim, topk_reference

torch = pytest.importorskip("torch")
STORAGES = ("float32", "bfloat16", "int8")
CUTS = np.arange(0, 601, 4)
RNG = np.random.default_rng(8)
TINY = (RNG.standard_normal((600, 9)) * 1e-40).astype(np.float32)  # subnormal
LARGE = (RNG.standard_normal((600, 9)) * 1e25).astype(np.float32)  # of norms that a float32 scan takes
SIDES = pytest.mark.parametrize(("rows", "queries"), [(TINY, LARGE), (LARGE, TINY)], ids=["rows", "queries"])


@contextmanager
def flush_to_zero():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush to zero")
    try:
        assert np.float32(1e-40) * np.float32(1) == 0  # it is in force
        yield
    finally:
        torch.set_flush_denormal(False)


def same_bits(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()


@SIDES
@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("storage", STORAGES)
def test_flush_to_zero_does_not_change_a_search(storage, batch, rows, queries):
    expected = topk_reference(queries[:batch], rows, 9)
    index = Index.build(rows, storage)
    with flush_to_zero():
        same_bits(index.search(queries[:batch], 9), expected)
        same_bits(Index.build(rows, storage).search(queries[:batch], 9), expected)
        same_bits(topk(queries[:batch], rows, 9), expected)


@SIDES
@pytest.mark.parametrize("storage", STORAGES)
def test_flush_to_zero_does_not_change_a_maxsim_search(storage, rows, queries):
    tokens = queries[:20].reshape(4, 5, 9)
    expected = maxsim(tokens, rows, CUTS, 7)
    index = MaxSimIndex.build(rows, CUTS, storage)
    with flush_to_zero():
        same_bits(index.search(tokens, 7), expected)
        same_bits(MaxSimIndex.build(rows, CUTS, storage).search(tokens, 7), expected)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_index_saved_under_flush_to_zero_has_the_bytes_of_any_other(storage, tmp_path):
    wide = TINY.astype(np.float64)

    def save(name):
        Index.build(wide, storage).save(tmp_path / name / "dense")  # converted to float32 first
        Index.from_shards([wide], tmp_path / name / "streamed", storage)
        MaxSimIndex.build(TINY, CUTS, storage).save(tmp_path / name / "maxsim")

    save("default")
    with flush_to_zero():
        save("flushed")
    files = [p.relative_to(tmp_path / "default") for p in (tmp_path / "default").rglob("*.*") if p.is_file()]
    assert len(files) >= 3 * 3
    for file in files:
        assert (tmp_path / "default" / file).read_bytes() == (tmp_path / "flushed" / file).read_bytes(), file


def test_flush_to_zero_does_not_change_a_merge():
    scores = np.sort(np.abs(TINY[:20]))[:, ::-1]
    parts = [(scores, np.tile(np.arange(100, 109), (20, 1))), (scores / 2, np.tile(np.arange(9), (20, 1)))]
    expected = merge(parts, 12)
    assert np.any(expected[1] >= 100)
    assert np.any(expected[1] < 9)
    with flush_to_zero():
        same_bits(merge(parts, 12), expected)


def test_the_callers_environment_is_given_back():
    index = Index.build(LARGE)
    with flush_to_zero():
        index.search(TINY[:1], 3)
        assert np.float32(1e-40) * np.float32(1) == 0
