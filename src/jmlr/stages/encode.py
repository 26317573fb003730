"""Stage `encode`: passages (by shards) or questions -> one vector each, or one for each token (ColBERT)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jmlr.options import EncodeOptions, RetrievalOptions
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.shards import shard_of, shard_rows


def encode(
    out: Path,
    prepared: Path,
    retriever: str,
    part: Literal["passages", "questions"],
    options: EncodeOptions,
    retrieval: RetrievalOptions,
    shard: str = "0/1",
) -> None:
    """Encode passages or questions with a retriever: vectors.npy, float32 [N, D], in the order of the table.

    A ColBERT writes the vectors of all tokens, [M, D], and offsets.npy: text i has the rows offsets[i] to offsets[i + 1] - 1.

    Args:
        out: folder to make
        prepared: output of `prepare`
        retriever: folder or hub name
        part: what is encoded
        shard: 'i/n': the i-th of n equal runs of rows, counted from 0

    Example:
        jmlr encode --out my/vectors --prepared results/demo/prepare --retriever results/demo/retriever/seed0/pretrain --part passages
    """
    _, count = shard_of(shard)
    from jmlr.models.retriever import load_retriever
    from jmlr.runtime.devices import device
    from jmlr.runtime.vectors import StoredVectors
    from jmlr.training.data import passage_text, query_text, read_table

    with stage_output(
        out, "encode", inputs={"prepared": prepared, "retriever": Path(retriever)}, options=[options, retrieval]
    ) as (folder, notes):
        model = load_retriever(retriever, query_tokens=retrieval.query_tokens, passage_tokens=retrieval.passage_tokens)
        model = model.to(device()).eval()
        table = read_table(prepared / f"{part}.parquet")
        first, last = shard_rows(shard, len(table))
        rows = table.slice(first, last - first).to_pylist()
        if part == "passages":
            kind, texts = "passage", [passage_text(r["title"], r["text"]) for r in rows]
        else:
            kind = "query"
            texts = [query_text(r["question"], r["options"], retrieval.query_options) for r in rows]
        ids = model.tokenize(texts, kind=kind)
        name = f"encode {part}" + (f" {shard}" if count > 1 else "")
        vectors, offsets = model.encode_all(
            ids, kind, batch_tokens=options.batch_tokens, bf16=options.encode_bf16, name=name
        )
        StoredVectors(vectors.numpy(), None if offsets is None else offsets.numpy()).save(folder)
        notes.update(
            retriever=retriever,
            texts=len(ids),
            tokens=sum(map(len, ids)),
            full_length=sum(len(i) >= model.limit(kind) for i in ids),
            vectors=len(vectors),
            depth=vectors.shape[1],
        )
