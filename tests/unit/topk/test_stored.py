"""What `encode` wrote becomes one format of index, whether texts have one vector or one for each token; damage is one line."""

import itertools
import json
import shutil

import numpy as np
import pytest

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import sha256
from jmlr.topk import IndexFormatError, MaxSimIndex
from jmlr.topk.stored import build_stored, open_shard, open_stored, open_two_steps, search_stored, some_queries, widened
from jmlr.topk.vectors import StoredVectors

RNG = np.random.default_rng(4)
OFFSETS = [np.array([0, 3, 4, 9]), np.array([0, 5, 6])]
TOKENS = [RNG.standard_normal((9, 7)).astype(np.float32), RNG.standard_normal((6, 7)).astype(np.float32)]


def encoded(folder, *, late=True):
    """Write two shards as `encode` does, with a manifest; return their folders."""
    folders = [folder / f"passages-{i}-of-2" for i in range(2)]
    for path, tokens, offsets in zip(folders, TOKENS, OFFSETS, strict=True):
        path.mkdir(parents=True)
        StoredVectors(tokens, offsets if late else None).save(path)
        (path / "manifest.json").write_text(json.dumps({"outputs": {p.name: sha256(p) for p in path.iterdir()}}))
    return folders


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_token_vectors_become_the_index_that_others_open_by_the_library(storage, tmp_path):
    assert build_stored(encoded(tmp_path), tmp_path / "index", storage=storage) == (5, 15, 7)
    whole, cuts = np.concatenate(TOKENS), np.concatenate([OFFSETS[0], OFFSETS[1][1:] + 9])
    MaxSimIndex.build(whole, cuts, storage).save(tmp_path / "library")
    files = sorted(path.name for path in (tmp_path / "library").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "index").iterdir())
    for name in files:
        assert (tmp_path / "library" / name).read_bytes() == (tmp_path / "index" / name).read_bytes()


def test_a_part_of_an_index_of_tokens_is_mapped_and_numbered_as_in_the_whole(tmp_path):
    build_stored(encoded(tmp_path), tmp_path / "index", storage="int8")
    queries = StoredVectors(TOKENS[0], OFFSETS[0])
    part, total = open_shard(tmp_path / "index", "1/2")
    assert (len(part), total) == (3, 5)
    held = part.vectors
    while not isinstance(held, np.memmap):
        held = held.base  # None, where nothing is mapped, has no base
    assert {int(i) for i in search_stored(part, queries, 3)[1].flat} == {2, 3, 4}


@pytest.mark.parametrize("late", [False, True])
def test_shards_that_were_damaged_since_are_refused_by_name_and_nothing_is_left(late, tmp_path):
    shards = encoded(tmp_path, late=late)
    for file in [*shards[1].glob("*.npy")]:
        good = file.read_bytes()
        for bad in (good[:-3] + bytes([good[-3] ^ 1]) + good[-2:], good[:-1], good[:60]):
            file.write_bytes(bad)
            with pytest.raises(
                UserError, match=rf"^--vectors: '.*passages-1-of-2/{file.name}' is damaged: its SHA-256"
            ):
                build_stored(shards, tmp_path / "index", storage="float32")
        file.write_bytes(good)
    assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in shards]


@pytest.mark.parametrize("late", [False, True])
def test_shards_of_no_stage_are_checked_for_what_they_say_themselves(late, tmp_path):
    shards = encoded(tmp_path, late=late)
    for shard in shards:
        (shard / "manifest.json").unlink()
    path = shards[1] / "vectors.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-4])
    with pytest.raises(UserError, match=r"^--vectors: '.*1-of-2/vectors.npy' is no whole .npy file"):
        build_stored(shards, tmp_path / "index", storage="float32")
    path.write_bytes(good[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(UserError, match=r"^--vectors: .*1-of-2/vectors.npy from .* 0: nan in row 5, column 6"):
        build_stored(shards, tmp_path / "index", storage="float32")
    path.write_bytes(good)
    if late:
        np.save(shards[1] / "offsets.npy", OFFSETS[0])
        with pytest.raises(UserError, match=r"offsets.npy' does not fit '.*vectors.npy', of shape \(6, 7\)"):
            build_stored(shards, tmp_path / "index", storage="float32")


@pytest.mark.parametrize("late", [False, True])
def test_a_flipped_bit_of_an_index_is_one_line_for_the_person_at_the_terminal(late, tmp_path):
    build_stored(encoded(tmp_path, late=late), tmp_path / "index", storage="int8")
    file = tmp_path / "index/vectors.npy"
    data = bytearray(file.read_bytes())
    data[-2] ^= 0x40  # the exponent of one number: a score of 1e38
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"vectors.npy: damaged between bytes 0 and") as told:
        open_stored(tmp_path / "index")
    assert isinstance(told.value, IndexFormatError)


def test_an_index_of_the_former_format_is_refused_in_words(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index/maxsim.json").write_text('{"storage": "int8"}')
    with pytest.raises(UserError, match=r"index.json: missing; '.*index' is no index"):
        open_stored(tmp_path / "index")


QUERIES = StoredVectors(RNG.standard_normal((11, 7)).astype(np.float32), np.array([0, 2, 3, 7, 11]))


def test_an_index_of_tokens_gets_a_first_stage_of_the_means_of_its_passages(tmp_path):
    build_stored(encoded(tmp_path), tmp_path / "index", storage="int8")
    two = open_two_steps(tmp_path / "index")
    shards = zip(TOKENS, OFFSETS, strict=True)
    parts = [t[a:b].astype(float) for t, cuts in shards for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(two.first.vectors[:, :-1], [np.float32(p.sum(0) / len(p)) for p in parts])
    build_stored(encoded(tmp_path / "dense", late=False), tmp_path / "dense/index", storage="int8")
    assert not (tmp_path / "dense/first").exists()


@pytest.mark.parametrize("shard", ["0/1", "1/2"])
def test_two_steps_find_the_best_of_what_the_first_nominates(shard, tmp_path):
    build_stored(encoded(tmp_path), tmp_path / "index", storage="int8")
    two = open_two_steps(tmp_path / "index", shard)
    whole = search_stored(two.tokens, QUERIES, len(two.tokens))
    assert all(
        a.tobytes() == b.tobytes()
        for a, b in zip(search_stored(two, QUERIES, 3, 5), (w[:, :3] for w in whole), strict=True)
    )
    found = search_stored(two, QUERIES, 1, 1)[1]
    means = np.add.reduceat(QUERIES.vectors, QUERIES.offsets[:-1]) / np.diff(QUERIES.offsets)[:, None]
    np.testing.assert_array_equal(found, two.first.search(np.column_stack([means, np.ones(4)]), 1)[1])


def test_the_first_stage_hands_on_more_until_the_recall_is_reached_or_a_scan_is_as_cheap(tmp_path):
    random = np.random.default_rng(0)
    cuts = np.arange(401) * 3
    folder = tmp_path / "passages"
    folder.mkdir()
    StoredVectors(random.standard_normal((cuts[-1], 7)).astype(np.float32), cuts).save(folder)
    build_stored([folder], tmp_path / "index", storage="float32")
    two = open_two_steps(tmp_path / "index")
    exact = search_stored(two.tokens, QUERIES, 6)[1]
    expected = {}
    for count in (6, 12, 24, 25):
        found = search_stored(two, QUERIES, 6, count)[1]
        expected[count] = [np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]
    assert two.most == 25
    assert np.mean(expected[6]) < np.mean(expected[24])
    for wanted in (np.mean(expected[6]), np.mean(expected[24]), 1.0):
        count, shares = widened(two, QUERIES, exact, wanted, 6)
        assert count == next(n for n, e in expected.items() if n == 25 or np.mean(e) >= wanted)
        np.testing.assert_array_equal(shares, expected[count])


def test_some_queries_are_those_asked_for():
    some = some_queries(QUERIES, np.array([3, 1]))
    np.testing.assert_array_equal(some.offsets, [0, 4, 5])
    np.testing.assert_array_equal(some.vectors, np.concatenate([QUERIES.vectors[7:11], QUERIES.vectors[2:3]]))


def test_a_first_stage_of_other_tokens_or_none_or_a_damaged_one_is_refused_in_one_line(tmp_path):
    build_stored(encoded(tmp_path), tmp_path / "index", storage="int8")
    other = tmp_path / "other"
    for path in encoded(other):
        np.save(path / "vectors.npy", -np.load(path / "vectors.npy"))  # another retriever, the same passages
        (path / "manifest.json").unlink()
    build_stored(sorted(other.glob("passages-*")), other / "index", storage="int8")
    shutil.copytree(tmp_path / "first", tmp_path / "kept")
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(UserError, match=r"first' is missing: the index was made without a first stage") as none:
        open_two_steps(tmp_path / "index")
    shutil.copytree(other / "first", tmp_path / "first")
    with pytest.raises(UserError, match=r"first: the first stage of other tokens than those of MaxSimIndex") as wrong:
        open_two_steps(tmp_path / "index")
    shutil.rmtree(tmp_path / "first")
    shutil.copytree(tmp_path / "kept", tmp_path / "first")
    file = tmp_path / "first/vectors.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"first/vectors.npy: truncated") as cut:
        open_two_steps(tmp_path / "index")
    assert all("\n" not in str(told.value) for told in (none, wrong, cut))
