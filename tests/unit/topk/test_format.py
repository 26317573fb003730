"""An index on disk comes back whole or not at all."""

import json
import os
import subprocess
import sys

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
    with pytest.raises(IndexFormatError, match="version 99; this program reads versions 1 to 3"):
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
    with pytest.raises(ValueError, match=r"holds 'thesis\.txt', which was not written by this command"):
        Index.build(X).save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_saving_refuses_a_folder_whose_index_json_is_another_programs(tmp_path):
    (tmp_path / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    with pytest.raises(ValueError, match=r"holds 'index\.json', which was not written by this command"):
        Index.build(X).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["index.json"]


def test_saving_refuses_to_remove_a_file_beside_an_index(saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'notes\.txt'"):
        Index.build(X).save(saved)
    assert (saved / "notes.txt").read_text() == "mine"
    Index.open(saved)


def test_saving_does_not_touch_what_a_running_build_of_another_or_the_same_target_has_written(tmp_path):
    ended = []

    def shards():
        yield X
        Index.build(X).save(tmp_path / "emb")  # has a name that the running build's begins with
        Index.build(X).save(tmp_path / "emb.int8")  # the same target: the last to end wins
        ended.append(True)
        yield X

    assert len(Index.from_shards(shards(), tmp_path / "emb.int8", "int8")) == 1000
    assert ended
    assert sorted(p.name for p in tmp_path.iterdir()) == ["emb", "emb.int8"]


def test_saving_follows_a_link(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "index").symlink_to("large disk/v1")
    for rows in (3, 5):
        Index.build(X[:rows]).save(tmp_path / "index")
        assert (tmp_path / "index").is_symlink()
        assert len(Index.open(tmp_path / "large disk/v1")) == rows


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


REPLACING = """
import sys
import numpy as np
from jmlr.topk import Index
for turn in range(10**6):
    Index.build(np.full((50 + turn % 3, 33), turn % 3, np.float32)).save(sys.argv[1])
    print(turn, flush=True)
"""


def test_an_index_that_is_replaced_again_and_again_opens_whole_every_time(tmp_path):
    target = tmp_path / "index"
    with subprocess.Popen([sys.executable, "-c", REPLACING, target], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            for _ in range(300):
                index = Index.open(target, verify=True)
                assert np.unique(index.vectors).tolist() == [len(index) - 50]
        finally:
            writer.kill()


@pytest.mark.parametrize("kind", [Index, MaxSimIndex])
def test_what_is_verified_later_is_what_was_opened(kind, tmp_path, monkeypatch):
    """By a relative path, moved and replaced since: the maps are those of the index that was opened."""
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    monkeypatch.chdir(tmp_path)
    build = (lambda x: Index.build(x)) if kind is Index else (lambda x: MaxSimIndex.build(x, CUTS))
    build(X).save("index")
    expected = build(X).search(Q, 3)
    index = kind.open("index")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    os.rename(tmp_path / "index", tmp_path / "moved")
    build(X[::-1]).save(tmp_path / "index")
    found = index.search(Q, 3)
    assert found[0].tobytes() == expected[0].tobytes()


FORGERIES = [
    ("rows", None),
    ("rows", -1),
    ("dim", "33"),
    ("dim", 34),
    ("dim", 0),
    ("storage", 8),
    ("storage", "int4"),
    ("max_norm", None),
    ("provenance", []),
    ("files", None),
    ("files", {}),
    ("files.vectors", 7),
    ("files.vectors.shape", [500]),
    ("files.vectors.shape", []),
    ("files.vectors.bytes", None),
    ("files.vectors.checksums", []),
    ("files.vectors.dtype", "<f8"),
    ("files.codes.shape", [500, 1]),
    ("files.other", {"bytes": 0, "dtype": "<f4", "shape": [0], "checksums": []}),
]


@pytest.mark.parametrize(("place", "value"), FORGERIES)
def test_a_manifest_that_no_build_wrote_is_refused_though_its_checksum_fits(place, value, tmp_path):
    Index.build(X, "int8").save(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    manifest = json.loads(path.read_text())
    *above, last = place.split(".")
    part = manifest
    for key in above:
        part = part[key]
    part[last] = value
    manifest["checksum"] = index_format._digest(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(IndexFormatError):
        Index.open(tmp_path / "index")


def test_offsets_that_no_build_wrote_are_refused(tmp_path):
    columns = dict(MaxSimIndex.build(X, CUTS)._columns)
    columns["offsets"] = np.array([0, 300, 200, 350, 500])
    index_format.write_index(tmp_path / "index", "float32", 33, [columns], kind=index_format.MAXSIM_FORMAT)
    with pytest.raises(IndexFormatError, match="offsets must rise"):
        MaxSimIndex.open(tmp_path / "index")
