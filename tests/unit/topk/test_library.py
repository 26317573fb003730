"""What a library's user expects of an index: its size, its rows by id, copies, pickles, tensors for tensors, types."""

import copy
import importlib.resources
import multiprocessing
import pickle

import numpy as np
import pytest

import jmlr
from jmlr.topk import Index, IndexFormatError, MaxSimIndex, maxsim_topk, merge, topk

X = np.random.default_rng(15).standard_normal((60, 8)).astype(np.float32)
Q = np.random.default_rng(16).standard_normal((4, 8)).astype(np.float32)
CUTS = np.arange(0, 61, 3)


def same_bits(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_an_index_says_its_size_and_has_its_rows_by_id(tmp_path):
    ids = np.arange(60)[::-1] * 2
    index = Index.build(X, "int8", ids=ids)
    assert (len(index), index.shape) == (60, (60, 8))
    assert 118 in index
    assert np.int64(0) in index
    for other in (1, -1, 120, 2**70, True, 2.0, "2", None):
        assert other not in index
    assert index.reconstruct(118).tolist() == X[0].tolist()
    assert index.reconstruct([0, 118]).tolist() == X[[59, 0]].tolist()
    assert index.reconstruct([]).shape == (0, 8)
    with pytest.raises(KeyError, match="id 7 is not in the index"):
        index.reconstruct([0, 7])
    assert repr(index) == "Index(shape=(60, 8), storage='int8')"
    index.save(tmp_path / "a")
    assert repr(Index.open(tmp_path / "a")) == f"Index(shape=(60, 8), storage='int8', path={str(tmp_path / 'a')!r})"


def test_a_maxsim_index_says_its_size_and_has_its_passages_by_id():
    index = MaxSimIndex.build(X, CUTS, ids=np.arange(20) + 100)
    assert (len(index), index.shape) == (20, (60, 8))
    assert 119 in index
    assert 19 not in index
    assert index.reconstruct(101).tolist() == X[3:6].tolist()
    with pytest.raises(KeyError, match="id 3 is not in the index"):
        index.reconstruct(3)
    assert repr(index) == "MaxSimIndex(passages=20, shape=(60, 8), storage='float32')"


def opened(kind, folder):
    if kind == "dense":
        Index.build(X, "int8").save(folder)
        return Index.open(folder), Q
    MaxSimIndex.build(X, CUTS, "int8").save(folder)
    return MaxSimIndex.open(folder), Q[:, None]


@pytest.mark.parametrize("kind", ["dense", "maxsim"])
def test_an_opened_index_is_pickled_by_its_path_and_searched_by_a_process_that_was_spawned(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index, queries = opened(kind, "index")  # a relative path
    assert len(pickle.dumps(index)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        same_bits(pool.apply(index.search, (queries, 5)), index.search(queries, 5))
        part = index.rows(5, 17)
        same_bits(pool.apply(part.rows(2, 9).search, (queries, 5)), index.rows(7, 14).search(queries, 5))


@pytest.mark.slow
def test_spawned_workers_of_a_data_loader_search_the_index(tmp_path):
    data = pytest.importorskip("torch.utils.data")
    index, _ = opened("dense", tmp_path / "index")
    loader = data.DataLoader(Q, num_workers=1, multiprocessing_context="spawn", collate_fn=Nearest(index), batch_size=2)
    assert [ids.tolist() for ids in loader] == [index.search(Q[at : at + 2], 3)[1].tolist() for at in (0, 2)]


class Nearest:
    def __init__(self, index):
        self.index = index

    def __call__(self, queries):
        return self.index.search(np.stack(queries), 3)[1]


@pytest.mark.parametrize("kind", ["dense", "maxsim"])
def test_an_index_that_was_never_saved_or_is_replaced_is_not_pickled_in_words(kind, tmp_path):
    made = Index.build(X) if kind == "dense" else MaxSimIndex.build(X, CUTS)
    with pytest.raises(TypeError, match="Index: not saved, or changed since; allowed: an index as"):
        pickle.dumps(made)
    made.save(tmp_path / "index")
    pickled = pickle.dumps(made)
    same_bits([pickle.loads(pickled).vectors], [made.vectors])
    other = Index.build(2 * X) if kind == "dense" else MaxSimIndex.build(2 * X, CUTS)
    other.save(tmp_path / "index")
    with pytest.raises(IndexFormatError, match="index: another index than was there when this one was pickled"):
        pickle.loads(pickled)


def test_a_changed_index_is_pickled_again_once_it_is_saved(tmp_path):
    index, _ = opened("dense", tmp_path / "index")
    index.remove(3)
    with pytest.raises(TypeError, match="changed since"):
        pickle.dumps(index)
    index.save(tmp_path / "index")
    same_bits(pickle.loads(pickle.dumps(index)).search(Q, 60), index.search(Q, 60))


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("kind", ["dense", "maxsim"])
def test_copies_search_as_the_original_and_share_its_memory(kind, saved, tmp_path):
    index, queries = opened(kind, tmp_path / "index")
    if not saved:
        index = Index.build(X) if kind == "dense" else MaxSimIndex.build(X, CUTS)
    for twin in (copy.copy(index), copy.deepcopy(index)):
        same_bits(twin.search(queries, 5), index.search(queries, 5))
        assert np.shares_memory(twin.vectors, index.vectors)


def test_tensors_get_tensors_with_the_bits_that_arrays_get():
    torch = pytest.importorskip("torch")
    q, x = torch.from_numpy(Q), torch.from_numpy(X)
    index, late = Index.build(x), MaxSimIndex.build(x, torch.from_numpy(CUTS))
    assert isinstance(index, Index)  # on the CPU
    pairs = [
        (index.search(q, 3), index.search(Q, 3)),
        (index.search(torch.nn.Parameter(q[0].double()), 3), index.search(Q[0], 3)),
        (index.range_search(q, 1.0), index.range_search(Q, 1.0)),
        (topk(q, X, 3), topk(Q, x, 3)),
        (late.search(q[:, None], 3), late.search(Q[:, None], 3)),
        (maxsim_topk(q[:, None], X, CUTS, 3), maxsim_topk(Q[:, None], X, CUTS, 3)),
        (merge([index.search(q, 3)], 2), merge([index.search(Q, 3)], 2)),
    ]
    for found, expected in pairs:
        assert all(isinstance(part, torch.Tensor) for part in found)
        assert all(isinstance(part, np.ndarray) for part in expected)
        same_bits([part.numpy() for part in found], expected)
    mask = torch.arange(60) % 2 == 0
    same_bits(index.search(Q, 3, allow=mask), index.search(Q, 3, allow=mask.numpy()))


TYPED = """
import numpy as np
import torch
from jmlr.topk import Index, MaxSimIndex, merge, topk
array, tensor = np.ones((2, 2)), torch.ones(2, 2)
reveal_type(Index.build(array))
reveal_type(Index.build([[1.0]]))
reveal_type(Index.build(tensor))
reveal_type(Index.open("x").search(array, 1))
reveal_type(Index.open("x").search(tensor, 1))
reveal_type(Index.build(tensor).search(tensor, 1))
reveal_type(topk(array, array, 1))
reveal_type(topk(tensor, tensor, 1))
reveal_type(MaxSimIndex.build(array, array))
reveal_type(MaxSimIndex.build(tensor, array))
reveal_type(MaxSimIndex.open("x").search(array, 1))
reveal_type(merge([topk(tensor, tensor, 1)], 1))
class OnDevice:
    @property
    def __cuda_array_interface__(self) -> dict[str, int]:
        return {}
reveal_type(Index.build(OnDevice()))
"""
REVEALED = ["Index", "Index", "Index | CudaIndex", "arrays", "tensors", "tensors", "arrays", "tensors", "MaxSimIndex"]
REVEALED += ["MaxSimIndex | CudaMaxSimIndex", "arrays", "tensors", "CudaIndex"]


@pytest.mark.slow
def test_types_tell_where_an_index_is_and_what_a_search_gives(tmp_path):
    api = pytest.importorskip("mypy.api")
    pytest.importorskip("torch")
    (tmp_path / "typed.py").write_text(TYPED)
    said, faults, code = api.run(["--config-file", "", "--cache-dir", str(tmp_path), str(tmp_path / "typed.py")])
    assert not faults
    notes = [line.partition('Revealed type is "')[2].rstrip('"') for line in said.splitlines() if "Revealed" in line]
    for place in ("jmlr.topk.index.", "jmlr.topk.cuda.", "jmlr.topk.maxsim.", "jmlr.topk.cuda_maxsim."):
        notes = [note.replace(place, "") for note in notes]
    kinds = {"numpy.ndarray": "arrays", "torch._tensor.Tensor": "tensors"}
    found = [next((kind for name, kind in kinds.items() if name in note), note) for note in notes]
    assert found == REVEALED, said
    assert code == 0 or "error" not in said, said


def test_the_package_says_that_it_is_typed():
    assert importlib.resources.files(jmlr).joinpath("py.typed").is_file()
