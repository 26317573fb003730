"""A MaxSim index that is built in a stream and searched by shards has the bits of one built and searched whole."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from maxsim_cases import STORAGES, corpus, normal, same_bits

from jmlr.topk import Index, IndexFormatError, MaxSimIndex, merge, shards
from jmlr.topk import format as index_format

RNG = np.random.default_rng(11)
OFFSETS = corpus(RNG, 90, 40)
X, Q = normal(RNG, OFFSETS[-1], 24), normal(RNG, 5, 6, 24)
IDS = np.sort(RNG.choice(10_000, 90, replace=False))
CUTS = [0, 1, 37, 37, 90]  # of the passages: the third shard is empty


def pairs(folder=None):
    """Return the shards as arrays, or as paths of files in a folder."""
    made = [(X[OFFSETS[a] : OFFSETS[b]], OFFSETS[a : b + 1] - OFFSETS[a]) for a, b in pairwise(CUTS)]
    if folder is None:
        return made
    names = [(folder / f"t{i}.npy", folder / f"o{i}.npy") for i in range(len(made))]
    for pair, paths in zip(made, names, strict=True):
        for array, path in zip(pair, paths, strict=True):
            np.save(path, array)
    return names


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("chunk", [1, 1000, 32 << 20])  # bytes: a passage, some, all
@pytest.mark.parametrize("ids", [None, IDS])
@pytest.mark.parametrize("storage", STORAGES)
def test_streaming_shards_writes_the_bytes_that_building_and_saving_would(storage, ids, chunk, tmp_path, monkeypatch):
    MaxSimIndex.build(X, OFFSETS, storage, ids=ids).save(tmp_path / "saved", provenance={"encoder": "abc"})
    monkeypatch.setattr(shards, "CHUNK_BYTES", chunk)
    for number, given in enumerate((pairs(), pairs(tmp_path))):
        folder = tmp_path / f"streamed{number}"
        index = MaxSimIndex.from_shards(given, folder, storage, ids=ids, provenance={"encoder": "abc"})
        assert (len(index), index.dim, index.storage) == (90, 24, storage)
        assert contents(folder) == contents(tmp_path / "saved")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("ids", [None, IDS])
def test_parts_searched_apart_and_merged_give_the_bits_of_the_whole(storage, ids, tmp_path):
    tokens = np.round(X)  # small integers: many ties
    whole = MaxSimIndex.from_shards([(tokens, OFFSETS)], tmp_path / "index", storage, ids=ids)
    expected = whole.search(Q.round(), 12)
    for cuts in ([0, 90], [0, 7, 8, 60, 90], [0, 0, 89, 90]):
        parts = [whole.rows(a, b) for a, b in pairwise(cuts)]
        same_bits(merge([part.search(Q.round(), 12) for part in parts], 12), expected)
        inner = [part.rows(len(part) // 2, len(part)).search(Q.round(), 12)[1] for part in parts]  # a part of a part
        assert {int(i) for i in np.concatenate(inner, 1).flat} - {-1} <= set(range(90) if ids is None else ids.tolist())


def test_an_index_shows_what_it_holds_and_lets_nobody_write_to_it(tmp_path):
    built = MaxSimIndex.build(X, OFFSETS, "int8", ids=IDS)
    built.save(tmp_path / "index")
    for index in (built, MaxSimIndex.open(tmp_path / "index"), built.rows(0, 90)):
        assert index.vectors.tobytes() == X.tobytes()
        assert index.offsets.tolist() == OFFSETS.tolist()
        assert index.ids.tolist() == IDS.tolist()
    part = built.rows(5, 9)
    assert part.vectors.tobytes() == X[OFFSETS[5] : OFFSETS[9]].tobytes()
    assert part.offsets.tolist() == (OFFSETS[5:10] - OFFSETS[5]).tolist()
    unnamed = MaxSimIndex.build(X, OFFSETS)
    assert unnamed.ids is None
    for index in (built, part, MaxSimIndex.open(tmp_path / "index"), unnamed.rows(5, 9), Index.build(X).rows(5, 9)):
        shown = [index.vectors, index.ids] + ([index.offsets] if isinstance(index, MaxSimIndex) else [])
        for array in shown:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (4, 3), (0, 91)])
def test_passages_that_are_not_there_are_refused(first, last):
    with pytest.raises(ValueError, match=f"rows {first} to {last}; allowed: 0 <= first <= last <= 90"):
        MaxSimIndex.build(X, OFFSETS).rows(first, last)


def test_damage_is_refused_by_the_parts_that_would_read_it_and_by_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    MaxSimIndex.from_shards(pairs(), tmp_path / "index", "int8")
    flip(tmp_path / "index/vectors.npy", 128 + int(OFFSETS[45]) * 96)  # in passage 45
    index = MaxSimIndex.open(tmp_path / "index")
    index.rows(0, 20).search(Q, 3)
    index.rows(70, 90).search(Q, 3)
    for use in (lambda: index.rows(40, 50).search(Q, 3), lambda: index.search(Q, 3), lambda: index.vectors):
        with pytest.raises(IndexFormatError, match=r"vectors.npy: damaged between bytes \d+ and \d+"):
            use()


def test_offsets_are_verified_before_a_part_is_cut_by_them(tmp_path, monkeypatch):
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 256)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    MaxSimIndex.from_shards(pairs(), tmp_path / "index")
    flip(tmp_path / "index/offsets.npy", 128 + 8 * 45)  # a small step: they still rise
    with pytest.raises(IndexFormatError, match=r"offsets\.npy: damaged"):
        MaxSimIndex.open(tmp_path / "index")


def test_damaged_ids_are_refused_before_they_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(index_format, "BLOCK_BYTES", 256)
    monkeypatch.setattr(index_format, "VERIFY_AT_OPEN_BYTES", 1000)
    MaxSimIndex.build(X, OFFSETS, ids=IDS).save(tmp_path / "late")
    Index.build(X[:90], ids=IDS).save(tmp_path / "dense")
    for kind, name in ((MaxSimIndex, "late"), (Index, "dense")):
        flip(tmp_path / name / "ids.npy", 128 + 8 * 45)
        index = kind.open(tmp_path / name)
        with pytest.raises(IndexFormatError, match=r"ids\.npy: damaged"):
            _ = index.ids


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_truncated_file_of_an_index_is_refused_by_name(tmp_path):
    MaxSimIndex.from_shards(pairs(), tmp_path / "index", "int8", ids=IDS)
    files = sorted((tmp_path / "index").glob("*.npy"))
    assert len(files) == 7
    for file in files:
        good = file.read_bytes()
        file.write_bytes(good[:-1])
        with pytest.raises(IndexFormatError, match=f"{file.name}: truncated"):
            MaxSimIndex.open(tmp_path / "index", verify=False)
        file.write_bytes(good)


@pytest.mark.parametrize("kept", [0, 50, 1000])
@pytest.mark.parametrize("which", [0, 1])
def test_a_shard_whose_file_was_cut_short_is_refused_by_name_and_nothing_is_left(which, kept, tmp_path):
    (tmp_path / "given").mkdir()
    given = pairs(tmp_path / "given")
    path = given[3][which]
    path.write_bytes(path.read_bytes()[: min(kept, path.stat().st_size - 1)])
    with pytest.raises(ValueError, match=rf"{path.name}: no whole .npy file"):
        MaxSimIndex.from_shards(given, tmp_path / "index")
    assert [p.name for p in tmp_path.iterdir()] == ["given"]
    with pytest.raises(ValueError, match=rf"{path.name}: no whole .npy file"):
        Index.from_shards([path], tmp_path / "index")


T, O = pairs()[1]  # noqa: E741
NAN = np.where(np.arange(len(T))[:, None] == 17, np.float32(np.nan), T)


@pytest.mark.parametrize(
    ("given", "ids", "error", "message"),
    [
        ([], None, ValueError, "shards: none; allowed"),
        ([T], None, TypeError, r"shards\[0\]: ndarray; allowed: \(tokens \[M, D\], offsets \[N \+ 1\]\)"),
        ([(T, O), (T, O, O)], None, TypeError, r"shards\[1\]: tuple; allowed"),
        ([(T, O), (T[:, :5], O)], None, ValueError, r"shards\[1\]: tokens from token 0: D = 5, but the index has D = 24"),
        ([(T, O), (T[0], O)], None, ValueError, r"shards\[1\]: tokens: shape \(24,\); allowed: 2 dimensions"),
        ([(T, O), (T[1:], O)], None, ValueError, rf"shards\[1\]: offsets: from 0 to {len(T)}; allowed: from 0 to {len(T) - 1}"),
        ([(T, O), (T, O * 1.0)], None, TypeError, r"shards\[1\]: offsets: dtype float64; allowed: integers"),
        ([(T, O), (T, [0, 0, len(T)])], None, ValueError, r"shards\[1\]: offsets: passage 0, from 0, has no tokens"),
        ([(T, O), (NAN, O)], None, ValueError, r"shards\[1\]: tokens from token 0: nan in row 17, column 0"),
        ([(T, O), (T, O)], [*range(36), *range(36)], ValueError, "ids: 0 occurs more than once; allowed: distinct ids"),
        ([(T, O), (T, O)], range(71), ValueError, "ids: 71 for 72 passages or more; allowed: one for every passage"),
        ([(T, O), (T, O)], range(73), ValueError, "ids: 73 for 72 passages or more; allowed: one for every passage"),
        ([(T, O)], -np.arange(36), ValueError, "ids: -35 in passage 35; allowed: 0 and above"),
    ],
)  # fmt: skip
def test_shards_that_make_no_index_are_refused_in_words_and_nothing_is_left(given, ids, error, message, tmp_path):
    with pytest.raises(error, match=message):
        MaxSimIndex.from_shards(given, tmp_path / "index", ids=None if ids is None else np.array(ids))
    assert list(tmp_path.iterdir()) == []


def test_results_of_shards_that_claim_one_id_are_not_merged():
    found = [MaxSimIndex.build(t, o).search(Q, 3) for t, o in (pairs()[1], pairs()[3])]  # both count from 0
    with pytest.raises(ValueError, match=r"twice for query \d|overlap: are they rows of each shard alone"):
        merge(found, 3)


def test_an_unknown_storage_is_refused_before_a_shard_is_read(tmp_path):
    def never():
        raise AssertionError("read")
        yield

    with pytest.raises(ValueError, match="storage: 'int4'; allowed"):
        MaxSimIndex.from_shards(never(), tmp_path / "index", "int4")


STREAMING = """
import re
import signal
import sys
from pathlib import Path
import numpy as np
from jmlr.topk import MaxSimIndex
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def peak_mib(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

folder, turns = Path(sys.argv[1]), int(sys.argv[2])
np.save(folder / "t.npy", np.random.default_rng(1).standard_normal((65_536, 128), dtype=np.float32))  # 32 MiB
np.save(folder / "o.npy", np.arange(0, 65_537, 64))
before = peak_mib("VmRSS")
print("ready", flush=True)
try:
    index = MaxSimIndex.from_shards([(folder / "t.npy", folder / "o.npy")] * turns, folder / "index", "int8")
    print(peak_mib("VmHWM") - before, len(index), flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_index_is_built_in_a_fraction_of_its_own_size(tmp_path):
    """384 MiB of tokens and 96 MiB of codes; whatever they are, a few pieces of 32 MiB are held, mapped files included."""
    done = subprocess.run([sys.executable, "-c", STREAMING, tmp_path, "12"], capture_output=True, text=True, check=True)
    peak, passages = done.stdout.split("\n")[1].split()
    assert int(passages) == 12 * 1024
    assert float(peak) < 240


def test_ctrl_c_ends_a_build_within_a_second_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", STREAMING, tmp_path, "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert any(".index." in p.name for p in tmp_path.iterdir())  # it writes
        sent = time.monotonic()
        os.kill(running.pid, signal.SIGINT)
        assert running.stdout.readline() == "interrupted\n"
        assert time.monotonic() - sent < 2  # one piece, and the removal of what was written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.npy", "t.npy"]
