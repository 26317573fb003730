"""Stage `index`: vectors, shard by shard -> an index for exact search; or passages -> an index of their words, for BM25."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jmlr.options import Bm25Options, IndexOptions
from jmlr.retrieval import WORDS
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest, stage_output
from jmlr.runtime.validation import one_line


def index(
    out: Path,
    options: IndexOptions,
    vectors: list[Path] | None = None,
    prepared: Path | None = None,
    bm25: dict[str, Any] | None = None,
) -> None:
    """Build an index on disk from the shards of encoded passages, in their order; or one of the passages' words.

    Args:
        out: folder to make: a memory-mapped, checksummed index (docs/topk.md), of the vectors of all tokens for a ColBERT;
            of words, the files of the package bm25s
        vectors: outputs of `encode` for the passages
        prepared: output of `prepare`, whose passages' words are indexed instead of vectors
        bm25: how, as in the configuration: '{"k1": 1.5, "b": 0.75, "language": "english"}'

    Example:
        jmlr index --out my/index --vectors my/vectors --storage int8
    """
    if bool(vectors) == bool(prepared) or (bm25 is not None) != bool(prepared):
        raise UserError("give either --vectors, or --prepared and --bm25")
    if vectors:
        _of_vectors(out, vectors, options)
    elif prepared:
        try:
            words = Bm25Options.model_validate(bm25)
        except ValidationError as error:
            raise UserError(f"--bm25: {one_line(error, Bm25Options)}") from None
        _of_words(out, prepared, words)


def _of_vectors(out: Path, vectors: list[Path], options: IndexOptions) -> None:
    from jmlr.topk.stored import build_stored

    with stage_output(out, "index", inputs={"vectors": vectors}, options=[options]) as (folder, notes):
        passages, count, depth = build_stored(
            vectors, folder / "index", storage=options.storage, originals=options.originals
        )
        retriever = read_manifest(vectors[0])["notes"]["retriever"]
        notes.update(passages=passages, vectors=count, depth=depth, retriever=retriever)


def _of_words(out: Path, prepared: Path, options: Bm25Options) -> None:
    from jmlr.corpus.prompt import passage_text
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.retrieval.bm25 import Bm25

    variants = {"retriever": "bm25"}
    with stage_output(out, "index", inputs={"prepared": prepared}, options=[options], variants=variants) as (
        folder,
        notes,
    ):
        passages = StoredPassages.open(prepared)
        made = Bm25.build((passage_text(*p) for p in passages.run(0, len(passages))), **options.model_dump())
        made.save(folder / WORDS)
        notes.update(passages=len(made), words=made.words, retriever="bm25")
