"""`encode` writes vectors as they come: the bytes that held in memory they would have, in memory that does not grow with them."""

from __future__ import annotations

import re
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jmlr.corpus.prompt import passage_text, query_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.models.colbert import ColbertRetriever
from jmlr.models.dense import DenseRetriever
from jmlr.models.encoder import batches, load_encoder
from jmlr.models.projection import Projection
from jmlr.models.retriever import Retriever, load_retriever
from jmlr.options import EncodeOptions
from jmlr.runtime.devices import autocast
from jmlr.runtime.errors import full_disk
from jmlr.runtime.files import sha256
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.encode import TokenIds, encode
from jmlr.topk.vectors import OFFSETS, VECTORS, StoredVectors, VectorsFile
from toys import toy_retrieval

RETRIEVAL = toy_retrieval()
DEAD = {  # what a ColBERT's projection may come to: how many of the tokens then have no vector
    "none": (lambda shape: torch.randn(shape), "Identity"),
    "some": (lambda shape: torch.randn(shape), "ReLU"),
    "all": (lambda shape: torch.zeros(shape), "Identity"),
}


def colbert(tiny: Path, dead: str = "none", depth: int = 2) -> ColbertRetriever:
    """Return a ColBERT of the tiny world's encoder."""
    torch.manual_seed(1)
    made = ColbertRetriever.fresh(*load_encoder(tiny / "retriever"), depth).eval()
    weights, activation = DEAD[dead]
    projection = Projection(made.encoder.config.hidden_size, depth, activation=activation)
    projection.linear.weight = torch.nn.Parameter(weights(projection.linear.weight.shape))
    return ColbertRetriever(made.encoder, made.tokenizer, torch.nn.Sequential(projection), made.reading).eval()


@torch.no_grad()
def held_in_memory(model: Any, rows: Sequence[Sequence[int]], side: str, most: int, precision: Any) -> StoredVectors:
    """Return the vectors as they were made before: all held, and put together at the end."""
    least = model.limit("query") if model.tokens and side == "query" else 1
    held: list[Any] = [None] * len(rows)
    for batch in batches([max(len(r), least) for r in rows], most):
        with autocast(torch.device("cpu"), precision):
            vectors = model.encode([rows[i] for i in batch], side).float()
        for i, row in zip(batch, vectors, strict=True):
            held[i] = row[row.any(-1)] if model.tokens else row
            held[i] = F.normalize(held[i], dim=-1) if model.tokens and precision == "bfloat16" else held[i]
    if model.tokens:
        return StoredVectors(torch.cat(held).numpy(), np.cumsum([0, *map(len, held)]))
    whole = torch.stack(held)
    return StoredVectors((F.normalize(whole, dim=-1) if precision == "bfloat16" else whole).numpy())


def texts_of(prepared: Path, part: str) -> list[str]:
    if part == "passages":
        passages = StoredPassages.open(prepared)
        return [passage_text(*pair) for pair in passages.run(0, len(passages))]
    table = read_table(prepared / "questions.parquet").to_pylist()
    return [query_text(q["question"], q["options"], RETRIEVAL.query_options) for q in table]


def digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in (VECTORS, OFFSETS) if (folder / name).exists()}


@pytest.mark.parametrize(
    ("part", "precision", "most"),  # most: of tokens in a batch; with 1 each text has one of its own
    [("passages", "float32", 700), ("passages", "bfloat16", 700), ("questions", "float32", 700), ("questions", "bfloat16", 1)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["dense", *DEAD])
def test_what_encode_writes_is_to_the_byte_what_all_vectors_held_in_memory_would_be(
    tiny: Path, tmp_path: Path, kind: str, part: Any, precision: Any, most: int
):
    retriever = tiny / "retriever"
    if kind != "dense":
        retriever = tmp_path / "retriever"
        retriever.mkdir()
        colbert(tiny, kind).save(retriever)
    options = EncodeOptions(encode_precision=precision, batch_tokens=most)
    encode(tmp_path / "out", tiny / "prepare", str(retriever), part, options, RETRIEVAL)
    model = load_retriever(str(retriever), **RETRIEVAL.search_lengths).eval()
    side = "query" if part == "questions" else "passage"
    rows = model.tokenize(texts_of(tiny / "prepare", part), side=side)
    before = held_in_memory(model, rows, side, most, precision)
    (tmp_path / "before").mkdir()
    before.save(tmp_path / "before")
    assert digests(tmp_path / "out") == digests(tmp_path / "before")
    assert len(digests(tmp_path / "out")) == (1 if kind == "dense" else 2)
    notes = read_manifest(tmp_path / "out")["notes"]
    assert notes["vectors"] == len(before.vectors)
    assert notes["tokens"] == sum(map(len, rows))
    alive, most_of_them = len(before.vectors), sum(model.vector_counts(rows, side))
    assert {"some": 0 < alive < most_of_them, "all": alive == 0}.get(kind, alive == most_of_them)
    vectors, offsets = model.encode_all(rows, side, batch_tokens=most, precision=precision)
    assert np.array_equal(vectors.numpy(), before.vectors)
    assert offsets is None if before.offsets is None else np.array_equal(offsets.numpy(), before.offsets)


def resident() -> int:
    """Return the bytes that this process has in memory, mapped files included."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(), re.M)
    return 1024 * int(found[1]) if found else pytest.skip("no /proc")


@pytest.mark.parametrize("kind", ["dense", "colbert"])
def test_memory_does_not_grow_with_the_vectors_that_are_written(tiny: Path, tmp_path: Path, kind: str):
    """Fix: Keep no vectors that were written, and map no file that is written: its pages count."""
    depth, count, length = 32_768, 1200 if kind == "dense" else 120, 10
    model: Retriever = colbert(tiny, depth=depth)
    if kind == "dense":
        layers = [Projection(model.encoder.config.hidden_size, depth)]
        model = DenseRetriever(model.encoder, model.tokenizer, layers=layers).eval()
    rows = [[30] * length] * count
    with VectorsFile(tmp_path, model.vector_counts(rows), depth, tokens=model.tokens) as file:
        begun, most = 0, 0
        for number, (text, vectors) in enumerate(model.encode_each(rows, batch_tokens=8 * length)):
            file.put(text, vectors.numpy())
            begun = begun or (resident() if number > count // 10 else 0)
            most = max(most, resident() if number % 8 == 0 else 0)
    size = (tmp_path / VECTORS).stat().st_size
    assert size > 30e6
    assert most - begun < size / 4


@pytest.fixture
def small_disk():
    """Let no file have more than 5,000 bytes."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_disk_without_room_is_known_before_anything_is_encoded_and_what_was_there_stays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    given = (tiny / "prepare", str(tiny / "retriever"), "passages", EncodeOptions(), RETRIEVAL)
    encode(tmp_path / "out", *given)
    before = digests(tmp_path / "out")
    monkeypatch.setattr(DenseRetriever, "encode", lambda *_: pytest.fail("a text was encoded"))
    request.getfixturevalue("small_disk")
    with pytest.raises(OSError, match="File too large") as caught:
        encode(tmp_path / "out", *given)
    assert full_disk(caught.value).startswith("cannot write")
    assert digests(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_error_half_way_leaves_nothing(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put, done = VectorsFile.put, []

    def stopping(self: VectorsFile, text: int, vectors: np.ndarray) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(put(self, text, vectors))

    monkeypatch.setattr(VectorsFile, "put", stopping)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path / "out", tiny / "prepare", str(tiny / "retriever"), "passages", EncodeOptions(), RETRIEVAL)
    assert len(done) == 5
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (8,)])
def test_vectors_that_have_no_place_are_refused(tmp_path: Path, shape: tuple[int, ...]):
    with VectorsFile(tmp_path, [1, 2], 4, tokens=True) as file:
        file.put(0, np.zeros((1, 4), np.float32))
        file.put(1, np.ones((2, 4), np.float32))
        with pytest.raises(ValueError, match=re.escape(f"text 1: vectors {shape}, but place for (2, 4)")):
            file.put(1, np.zeros(shape, np.float32))
    assert StoredVectors.open(tmp_path).vectors.tolist() == [[0.0] * 4, [1.0] * 4, [1.0] * 4]


def test_no_texts_at_all_give_no_vectors(tiny: Path, tmp_path: Path):
    for model in (load_retriever(str(tiny / "retriever")), colbert(tiny)):
        with VectorsFile(tmp_path, model.vector_counts([], "query"), model.depth, tokens=model.tokens) as file:
            assert not list(model.encode_each([], "query", batch_tokens=9))
        assert file.rows == 0
        assert np.load(tmp_path / VECTORS).shape == (0, model.depth)
        assert model.encode_all([], "query", batch_tokens=9)[0].shape == (0, model.depth)


def test_token_ids_come_back_as_they_were_given():
    ids = TokenIds()
    for row in ([5, 6, 7], [], [8]):
        ids.append(row)
    assert [list(row) for row in ids] == [[5, 6, 7], [], [8]]
    assert (len(ids), list(ids[2])) == (3, [8])
