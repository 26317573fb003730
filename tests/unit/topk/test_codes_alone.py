"""An index of tokens without originals is an exact index of what its 8-bit codes say, in a fifth of the bytes."""

import numpy as np
import pytest
from maxsim_cases import KINDS, SHAPES, adversarial, corpus, normal, same_bits

from jmlr.topk import IndexFormatError, MaxSimIndex, _topk
from jmlr.topk.reference import maxsim

ISAS = _topk.available_isas()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("isa", ISAS)
def test_its_scores_are_the_reference_bits_of_the_rounded_tokens(isa, shape, monkeypatch):
    monkeypatch.setenv("JMLR_ISA", isa)
    passages, longest, batch, most, dim, k = shape
    rng = np.random.default_rng(sum(shape))
    offsets = corpus(rng, passages, longest)
    x, q = normal(rng, offsets[-1], dim), normal(rng, batch, most, dim)
    index = MaxSimIndex.build(x, offsets, "int8", originals=False)
    assert np.abs(index.vectors - x).max(initial=0) <= np.abs(x).max(initial=0) / 127
    same_bits(index.search(q, k), maxsim(q, index.vectors, offsets, k))


@pytest.mark.parametrize("kind", KINDS)
def test_its_scores_are_the_reference_bits_on_adversarial_tokens_too(kind):
    rng = np.random.default_rng(len(kind))
    offsets = corpus(rng, 400, 6)
    x, q = adversarial(rng, kind, offsets, 24)
    index = MaxSimIndex.build(x, offsets, "int8", originals=False)
    same_bits(index.search(q, 11), maxsim(q, index.vectors, offsets, 11))
    named = np.stack([rng.permutation(400)[:20] for _ in q])
    allowed = np.zeros((len(q), 400), bool)
    np.put_along_axis(allowed, named, True, axis=1)
    same_bits(index.search(q, 6, allow=named), maxsim(q, index.vectors, offsets, 6, allowed=allowed))


def test_on_disk_it_is_the_codes_and_a_tenth(tmp_path):
    rng = np.random.default_rng(0)
    offsets = np.arange(51) * 80
    x, q = normal(rng, 4000, 128), normal(rng, 3, 32, 128)
    index = MaxSimIndex.build(x, offsets, "int8", originals=False)
    index.save(tmp_path / "saved")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "cuts.npy", offsets)
    streamed = MaxSimIndex.from_shards(
        [(tmp_path / "x.npy", tmp_path / "cuts.npy")], tmp_path / "streamed", "int8", originals=False
    )
    for file in (tmp_path / "saved").iterdir():
        assert file.read_bytes() == (tmp_path / "streamed" / file.name).read_bytes()
    assert not (tmp_path / "saved/vectors.npy").exists()
    assert sum(f.stat().st_size for f in (tmp_path / "saved").glob("*.npy")) < 1.1 * x.size
    expected = maxsim(q, index.vectors, offsets, 9)
    same_bits(streamed.search(q, 9), expected)
    parts = [MaxSimIndex.open(tmp_path / "saved").rows(a, b) for a, b in ((0, 20), (20, 50))]
    assert np.concatenate([p.vectors for p in parts]).tobytes() == index.vectors.tobytes()
    assert parts[1].reconstruct(30).tobytes() == index.vectors[2400:2480].tobytes()
    assert index.shape == streamed.shape == (4000, 128)


def test_only_int8_can_do_without_originals_and_what_is_too_large_cannot():
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="originals=False with storage='float32'; allowed: int8"):
        MaxSimIndex.build(x, [0, 2], originals=False)
    with pytest.raises(ValueError, match="too large to be rounded to 8 bits"):
        MaxSimIndex.build(x * np.finfo(np.float32).max, [0, 2], "int8", originals=False)


def test_without_its_codes_or_by_a_wrong_version_it_is_refused(tmp_path):
    MaxSimIndex.build(np.ones((2, 4), np.float32), [0, 2], "int8", originals=False).save(tmp_path / "index")
    assert '"version": 3' in (tmp_path / "index/index.json").read_text()
    (tmp_path / "index/codes.npy").unlink()
    with pytest.raises(IndexFormatError, match=r"codes.npy: missing"):
        MaxSimIndex.open(tmp_path / "index")
