"""Where a job has a GPU, stages search there and write the bytes that the CPU writes, also where an index does not fit at once."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402

from jmlr.options import SearchOptions  # noqa: E402
from jmlr.stages.search import search  # noqa: E402
from jmlr.topk import Index, MaxSimIndex, gpu_search, stored  # noqa: E402
from jmlr.topk.vectors import StoredVectors  # noqa: E402

N, D, B = 60, 12, 7


@pytest.fixture
def made(tmp_path):
    """Make tables, queries of both kinds, and an index of each over vectors with many ties."""
    draw = np.random.default_rng(3)
    (tmp_path / "prepare").mkdir()
    pq.write_table(pa.table({"id": [f"p{i}" for i in range(N)]}), tmp_path / "prepare/passages.parquet")
    pq.write_table(pa.table({"id": [f"q{i}" for i in range(B)]}), tmp_path / "prepare/questions.parquet")
    cuts = np.concatenate([[0], np.cumsum(draw.integers(1, 6, N))])
    asked = np.concatenate([[0], np.cumsum(draw.integers(1, 5, B))])
    for late, rows, queries in ((False, N, B), (True, cuts[-1], asked[-1])):
        vectors, sought = (draw.integers(-2, 3, (n, D)).astype(np.float32) for n in (rows, queries))
        kind = "late" if late else "dense"
        (tmp_path / kind).mkdir()
        StoredVectors(sought, asked if late else None).save(tmp_path / kind)
        made = MaxSimIndex.build(vectors, cuts, "bfloat16") if late else Index.build(vectors, "bfloat16")
        made.save(tmp_path / f"{kind}-index/index")
    return tmp_path


@pytest.fixture
def used(gpu, monkeypatch):
    """Let the stages find the GPU; yield the parts that were brought there."""
    where, parts, built = torch.device(gpu.device), [], gpu_search._built
    monkeypatch.setattr(stored, "gpu_here", lambda: where)
    monkeypatch.setattr(gpu_search, "_built", lambda part, place: parts.append(len(part)) or built(part, place))
    monkeypatch.setattr(gpu_search, "_room", lambda place: 40 * D * 4)
    return parts


@pytest.mark.parametrize("kind", ["dense", "late"])
@pytest.mark.parametrize("candidates", [1, 9, 60])
def test_the_stage_writes_the_bytes_of_the_cpu(made, used, kind, candidates, monkeypatch):
    given = {"prepared": made / "prepare", "index": made / f"{kind}-index", "queries": made / kind}
    for count in (1, 3):
        for i in range(count):
            where = f"-{i}-of-{count}"
            search(made / f"gpu{where}", **given, options=SearchOptions(candidates=candidates), shard=f"{i}/{count}")
    assert max(used) < N, "an index that does not fit goes there in parts"
    assert sum(used) == 2 * N
    monkeypatch.setattr(stored, "gpu_here", lambda: None)
    for count in (1, 3):
        for i in range(count):
            where = f"-{i}-of-{count}"
            search(made / f"cpu{where}", **given, options=SearchOptions(candidates=candidates), shard=f"{i}/{count}")
            gpu, cpu = (made / f"{by}{where}" / "candidates.parquet" for by in ("gpu", "cpu"))
            assert gpu.read_bytes() == cpu.read_bytes()
            gpu, cpu = (p.with_suffix(".trec").read_text().replace(f"{p.parent.name}\n", "\n") for p in (gpu, cpu))
            assert gpu == cpu


@pytest.mark.parametrize("kind", ["dense", "late"])
def test_an_index_that_fits_stays_there_and_one_that_does_not_is_left_to_the_cpu(made, gpu, kind):
    index = stored.open_stored(made / f"{kind}-index/index")
    queries, lengths = next(stored.padded_queries(StoredVectors.open(made / kind, "")))
    more = {} if lengths is None else {"query_lengths": lengths}
    there = gpu_search.resident(index, torch.device(gpu.device), room=1 << 20)
    for mine, other in zip(
        there.search(gpu.tensor(np.array(queries)), 5, **more), index.search(queries, 5, **more), strict=True
    ):
        assert mine.cpu().numpy().tobytes() == np.asarray(other).tobytes()
    assert gpu_search.resident(index, torch.device(gpu.device), room=4 * D) is None


def test_an_empty_index_and_one_long_passage(gpu):
    where = torch.device(gpu.device)
    empty = Index.build(np.zeros((0, D), np.float32))
    queries = np.ones((2, D), np.float32)
    scores, ids = gpu_search.search_on_gpu(empty, lambda: iter([(queries, None)]), 3, where, room=1)
    assert (ids == -1).all()
    assert np.isneginf(scores).all()
    tokens = MaxSimIndex.build(np.eye(D, dtype=np.float32), [0, D - 1, D])
    asked = queries[:, None], np.ones(2, np.int64)
    found = gpu_search.search_on_gpu(tokens, lambda: iter([asked]), 2, where, room=8)
    for mine, other in zip(found, tokens.search(asked[0], 2, query_lengths=asked[1]), strict=True):
        assert mine.tobytes() == np.asarray(other).tobytes()


def test_without_the_module_nothing_is_asked_of_torch(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("jmlr.runtime.devices.device", lambda: pytest.fail("asked for a device"))
    assert gpu_search.gpu_here() is None


@pytest.mark.parametrize(
    ("chosen", "why", "expected"), [("cpu", None, None), ("cuda", "none", None), ("cuda", None, "cuda")]
)
def test_the_gpu_is_used_where_the_job_has_one_that_the_module_can_use(monkeypatch, chosen, why, expected):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("jmlr.runtime.devices.device", lambda: torch.device(chosen))
    monkeypatch.setattr("jmlr.topk.cuda.why_not", lambda: why)
    assert gpu_search.gpu_here() == (torch.device(expected) if expected else None)
