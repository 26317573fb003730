"""The GPU gives the bits of `reference.py`, and says in words what it refuses; run on the host by emulation as well."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from jmlr.topk import Index, cuda, merge, topk  # noqa: E402
from jmlr.topk.reference import topk_reference  # noqa: E402
from jmlr.topk.streamed import StreamedIndex  # noqa: E402

STORAGES = ("float32", "bfloat16", "int8")
# (N, D, B, k): empty sides, k past N, odd D, B on both sides of the streaming path; the last only on a real GPU
SHAPES = [(0, 3, 2, 4), (5, 1, 1, 9), (100, 7, 0, 3), (77, 129, 1, 0), (600, 37, 3, 10), (300, 70, 20, 5)]
LARGE = [(100_000, 100, 1, 10), (50_000, 768, 300, 100), (20_000, 33, 4100, 3), (9000, 64, 12, 2048), (700, 5000, 7, 9)]


def same_bits(found, expected):
    scores, ids = (side.cpu().numpy() for side in found)
    assert (scores.dtype, ids.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(ids, expected[1])
    assert scores.tobytes() == expected[0].tobytes()


def matrices(rows, dim, batch, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, dim)).astype(np.float32) for n in (rows, batch))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
def test_the_gpu_returns_the_reference_bits(gpu, shape, storage):
    if gpu.emulated and shape in LARGE:
        pytest.skip("too slow in emulation")
    rows, dim, batch, k = shape
    x, q = matrices(rows, dim, batch)
    index = Index.build(gpu.tensor(x), storage)
    assert (len(index), index.dim, index.storage) == (rows, dim, storage)
    found = index.search(gpu.tensor(q), k)
    assert found[0].device == index.device
    same_bits(found, topk_reference(q, x, k))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["all rows equal", "one ulp apart", "negative", "huge", "ascending", "zero rows"])
def test_the_gpu_returns_the_reference_bits_on_hostile_rows(gpu, kind, storage):
    x, q = matrices(4300 if gpu.emulated else 60_000, 8, 5, seed=len(kind))
    q = np.abs(q)
    if kind == "all rows equal":
        x[:] = x[0]
    elif kind == "one ulp apart":
        x[:] = np.abs(x[0])
        x[np.arange(len(x)), np.arange(len(x)) % 8] = np.nextafter(x[0, np.arange(len(x)) % 8], np.float32(9))
    elif kind == "negative":
        x = -np.abs(x)
    elif kind == "huge":
        x[7] *= 1e38
    elif kind == "ascending":
        x += np.arange(len(x), dtype=np.float32)[:, None]
    else:
        x[::2] = 0
    index = Index.build(gpu.tensor(x), storage)
    same_bits(index.search(gpu.tensor(q), 11), topk_reference(q, x, 11))
    assert (index.last_exact == 5) if kind in ("all rows equal", "huge") else True
    assert (index.last_exact == 0) if kind in ("negative", "ascending") else True


def test_layouts_ids_and_single_queries(gpu):
    x, q = matrices(300, 12, 20)
    ids = np.random.default_rng(1).permutation(5000)[:300]
    expected = topk_reference(q, x, 6, ids)
    index = Index.build(gpu.tensor(x).t().contiguous().t(), "bfloat16", ids=ids)
    same_bits(index.search(gpu.tensor(np.repeat(q, 2, 0))[::2], 6), expected)
    same_bits(index.search(gpu.tensor(q.astype(np.float64)), 6), expected)
    same_bits(index.search(gpu.tensor(q[0]), 6), tuple(side[:1] for side in expected))
    same_bits(topk(gpu.tensor(q), gpu.tensor(x), 6), topk_reference(q, x, 6))


def test_build_copies_so_that_later_writes_do_not_change_the_answer(gpu):
    x, q = matrices(200, 8, 2)
    mine = gpu.tensor(x.copy())
    index = Index.build(mine)
    mine.zero_()
    same_bits(index.search(gpu.tensor(q), 3), topk_reference(q, x, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_numbers_are_refused_with_row_and_column(gpu, value):
    x, q = matrices(150, 9, 20)
    index = Index.build(gpu.tensor(x), "bfloat16")
    x[140, 5] = value
    q[17, 3] = value
    q[18, 0] = value
    with pytest.raises(ValueError, match=r"vectors: .* in row 140, column 5"):
        Index.build(gpu.tensor(x), "int8")
    with pytest.raises(ValueError, match=r"queries: .* in row 17, column 3"):
        index.search(gpu.tensor(q), 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, i: i.search(x, 2049), ValueError, "k: 2049; allowed on a GPU: 0 to 2048"),
        (lambda x, i: i.search(x, -1), ValueError, "k: -1"),
        (lambda x, i: i.search(x[:, :3], 2), ValueError, "D = 3, but the index has D = 6"),
        (
            lambda x, i: i.search(np.zeros((1, 6)), 2),
            TypeError,
            "queries: in the memory of the CPU, but the index is on",
        ),
        (lambda x, i: Index.build(x, "int4"), ValueError, "storage: 'int4'"),
        (lambda x, i: Index.build(x > 0), TypeError, "dtype torch.bool"),
        (lambda x, i: Index.build(x[0]), ValueError, "2 dimensions"),
        (lambda x, i: Index.build(x, ids=[1] * len(x)), ValueError, "1 occurs more than once"),
    ],
)
def test_bad_input_is_refused_in_words(gpu, call, error, message):
    x = gpu.tensor(matrices(20, 6, 1)[0])
    with pytest.raises(error, match=message):
        call(x, Index.build(x))


def test_merge_of_shards_is_the_search_of_the_whole(gpu):
    x, q = (np.round(m * 2) for m in matrices(400, 5, 6))
    cuts = [(0, 10), (10, 250), (250, 400)]
    parts = [Index.build(gpu.tensor(x[a:b]), ids=np.arange(a, b)).search(gpu.tensor(q), 20) for a, b in cuts]
    same_bits(merge(parts, 20), topk_reference(q, x, 20))
    with pytest.raises(ValueError, match="an id occurs twice"):
        merge([parts[0], parts[0]], 2)


@pytest.mark.parametrize("ids", [None, "given"])
def test_a_streamed_index_answers_as_the_whole(gpu, ids, tmp_path):
    x, q = (np.round(m * 2) for m in matrices(1000, 30, 18))
    x[7] *= np.float32(1e37)  # its shard is answered by the slow path
    names = None if ids is None else np.random.default_rng(2).permutation(9000)[:1000]
    Index.build(x, "int8", ids=names).save(tmp_path / "index")
    streamed = StreamedIndex(Index.open(tmp_path / "index"), gpu.device, shard_rows=170)
    same_bits(streamed.search(gpu.tensor(q), 50), topk_reference(q, x, 50, names))


@pytest.mark.gpu
def test_searches_on_several_streams_do_not_disturb_each_other(gpu):
    if gpu.emulated:
        pytest.skip("needs streams")
    x, q = matrices(30_000, 64, 40)
    index = Index.build(gpu.tensor(x), "bfloat16")
    queries = gpu.tensor(q)
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(4)]
    started = []
    for stream in streams:
        with torch.cuda.stream(stream):
            started.append(index.start(queries, 30))
    for stream, search in zip(streams, started, strict=True):
        with torch.cuda.stream(stream):
            same_bits(index.finish(search), topk_reference(q, x, 30))


def test_an_index_on_the_gpu_saves_what_the_cpu_would(gpu, tmp_path):
    x, q = matrices(300, 10, 3)
    index = Index.build(gpu.tensor(x), "int8", ids=np.arange(300) * 2)
    if gpu.emulated:
        pytest.skip("the CPU's tensors count as the GPU's here")
    index.save(tmp_path / "index")
    same_bits(
        tuple(torch.from_numpy(side) for side in Index.open(tmp_path / "index").search(q, 4)),
        topk_reference(q, x, 4, np.arange(300) * 2),
    )


def test_asking_for_a_gpu_without_one_fails_with_the_reason_in_one_line():
    reason = cuda.why_not()
    if reason is None and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="no GPU to use: ") as raised:
        StreamedIndex(Index.build(np.ones((2, 3))), "cuda")
    assert "\n" not in str(raised.value)


def test_the_stub_of_the_gpu_module_names_what_it_has(emulated_module):
    import ast
    from pathlib import Path

    tree = ast.parse((Path(cuda.__file__).parent / "_topk_cuda.pyi").read_text())
    named = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))} | {"MAX_K"}
    assert named == {name for name in dir(emulated_module) if not name.startswith("__")}
    for native in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for method in native.body:
            text = getattr(getattr(emulated_module, native.name), method.name).__doc__
            assert all(f"{argument.arg}:" in text for argument in method.args.args)
