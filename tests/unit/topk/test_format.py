"""An index on disk comes back whole or not at all."""

import json

import numpy as np
import pytest

from jmlr.topk import Index, IndexFormatError, MaxSimIndex
from jmlr.topk import format as index_format

RNG = np.random.default_rng(3)
X = RNG.standard_normal((500, 33)).astype(np.float32)
Q = RNG.standard_normal((4, 33)).astype(np.float32)
CUTS = np.array([0, 100, 101, 350, 500])  # four passages of tokens
STORAGES = ("float32", "bfloat16", "int8")


@pytest.fixture(params=STORAGES)
def saved(request, tmp_path):
    Index.build(X, request.param, ids=np.arange(500) * 3).save(tmp_path / "index", provenance={"encoder": "abc"})
    return tmp_path / "index"


def test_an_opened_index_answers_as_the_built_one(saved):
    index = Index.open(saved)
    expected = Index.build(X, ids=np.arange(500) * 3).search(Q, 9)
    found = index.search(Q, 9)
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tolist() == expected[1].tolist()
    assert (len(index), index.dim, index.provenance) == (500, 33, {"encoder": "abc"})


def test_a_flipped_bit_in_any_file_is_refused_by_name(saved):
    files = sorted(saved.iterdir())
    assert len(files) >= 4
    for file in files:
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 3):
            bad = bytearray(good)
            bad[place] ^= 0x10
            file.write_bytes(bad)
            with pytest.raises(IndexFormatError, match=file.name):
                Index.open(saved)
        file.write_bytes(good)
    Index.open(saved, verify=True)


def test_a_truncated_or_missing_file_is_refused_by_name(saved):
    for file in sorted(saved.iterdir()):
        good = file.read_bytes()
        file.write_bytes(good[:-1])
        if file.suffix == ".npy":
            with pytest.raises(IndexFormatError, match=f"{file.name}: truncated"):
                Index.open(saved, verify=False)
        file.unlink()
        with pytest.raises(IndexFormatError, match=f"{file.name}: missing"):
            Index.open(saved)
        file.write_bytes(good)


def test_a_foreign_version_is_refused(saved):
    manifest = json.loads((saved / "index.json").read_text())
    (saved / "index.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(IndexFormatError, match="version 99; this program reads version 1"):
        Index.open(saved)


def test_damage_in_the_middle_of_a_large_index_shows_before_it_can_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    Index.build(X).save(tmp_path / "index")
    file = tmp_path / "index" / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    index = Index.open(tmp_path / "index")
    for _ in range(2):
        with pytest.raises(IndexFormatError, match=r"vectors.npy: damaged between bytes \d+ and \d+"):
            index.search(Q, 3)


@pytest.mark.parametrize("storage", STORAGES)
def test_streaming_shards_writes_the_bytes_that_saving_would(storage, tmp_path):
    np.save(tmp_path / "a.npy", X[:200])
    Index.from_shards([tmp_path / "a.npy", X[200:200], X[200:]], tmp_path / "streamed", storage)
    Index.build(X, storage).save(tmp_path / "saved")
    names = sorted(file.name for file in (tmp_path / "saved").iterdir())
    assert names == sorted(file.name for file in (tmp_path / "streamed").iterdir())
    for name in names:
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "streamed" / name).read_bytes()


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match=r"shards\[1\] from row 0: D = 5"):
        Index.from_shards([X, X[:, :5]], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_saving_refuses_to_replace_what_is_not_an_index(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="exists and is not an index"):
        Index.build(X).save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_an_empty_index_survives_the_disk(tmp_path):
    Index.build(np.zeros((0, 7))).save(tmp_path / "index")
    assert Index.open(tmp_path / "index").search(np.ones((1, 7)), 2)[1].tolist() == [[-1, -1]]


@pytest.fixture(params=STORAGES)
def saved_maxsim(request, tmp_path):
    index = MaxSimIndex.build(X, CUTS, request.param, ids=np.arange(4) * 3)
    index.save(tmp_path / "index", provenance={"encoder": "abc"})
    return tmp_path / "index"


def test_an_opened_maxsim_index_answers_as_the_built_one(saved_maxsim):
    index = MaxSimIndex.open(saved_maxsim)
    expected = MaxSimIndex.build(X, CUTS, ids=np.arange(4) * 3).search(Q, 3)
    found = index.search(Q, 3)
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tolist() == expected[1].tolist()
    assert (len(index), index.dim, index.provenance) == (4, 33, {"encoder": "abc"})
    index.save(saved_maxsim)  # over itself: the maps stay valid while it is replaced
    assert MaxSimIndex.open(saved_maxsim, verify=True).provenance == {"encoder": "abc"}


def test_damage_to_any_file_of_a_maxsim_index_is_refused_by_name(saved_maxsim):
    files = sorted(saved_maxsim.iterdir())
    assert {"offsets.npy", "vectors.npy", "ids.npy", "index.json"} <= {file.name for file in files}
    for file in files:
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 3):
            bad = bytearray(good)
            bad[place] ^= 0x10
            file.write_bytes(bad)
            with pytest.raises(IndexFormatError, match=file.name):
                MaxSimIndex.open(saved_maxsim)
        file.unlink()
        with pytest.raises(IndexFormatError, match=f"{file.name}: missing"):
            MaxSimIndex.open(saved_maxsim)
        file.write_bytes(good)


def test_damage_in_the_middle_of_a_large_maxsim_index_shows_before_it_can_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    MaxSimIndex.build(X, CUTS).save(tmp_path / "index")
    file = tmp_path / "index" / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    index = MaxSimIndex.open(tmp_path / "index")
    for _ in range(2):
        with pytest.raises(IndexFormatError, match=r"vectors.npy: damaged between bytes \d+ and \d+"):
            index.search(Q, 3)


def test_the_two_kinds_of_index_are_not_taken_for_each_other(saved, tmp_path):
    MaxSimIndex.build(X, CUTS).save(tmp_path / "other")
    with pytest.raises(IndexFormatError, match="not the manifest of a jmlr-maxsim index"):
        MaxSimIndex.open(saved)
    with pytest.raises(IndexFormatError, match="not the manifest of a jmlr-topk index"):
        Index.open(tmp_path / "other")


def test_an_empty_maxsim_index_survives_the_disk(tmp_path):
    MaxSimIndex.build(np.zeros((0, 7)), [0]).save(tmp_path / "index")
    assert MaxSimIndex.open(tmp_path / "index").search(np.ones((1, 7)), 2)[1].tolist() == [[-1, -1]]
