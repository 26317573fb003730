"""Stage `encode`: passages (by shards) or questions -> one vector each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jmlr.options import EncodeOptions, RetrievalOptions
from jmlr.runtime.files import save_array
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

    Args:
        out: folder to make
        prepared: output of `prepare`
        retriever: folder or hub name
        part: what is encoded
        shard: 'i/n': the i-th of n equal runs of rows, counted from 0
    """
    _, count = shard_of(shard)
    from jmlr.models.dense import DenseRetriever
    from jmlr.runtime.devices import device
    from jmlr.training.data import passage_text, query_text, read_table

    with stage_output(
        out, "encode", inputs={"prepared": prepared, "retriever": Path(retriever)}, options=[options, retrieval]
    ) as (folder, notes):
        model = DenseRetriever.load(retriever).to(device()).eval()
        table = read_table(prepared / f"{part}.parquet")
        first, last = shard_rows(shard, len(table))
        rows = table.slice(first, last - first).to_pylist()
        if part == "passages":
            ids = model.tokenize([passage_text(r["title"], r["text"]) for r in rows], retrieval.passage_tokens)
            most = retrieval.passage_tokens
        else:
            ids = model.tokenize(
                [query_text(r["question"], r["options"], retrieval.query_options) for r in rows],
                retrieval.query_tokens,
                "query",
            )
            most = retrieval.query_tokens
        name = f"encode {part}" + (f" {shard}" if count > 1 else "")
        vectors = model.encode_all(ids, batch_tokens=options.batch_tokens, bf16=options.encode_bf16, name=name)
        save_array(folder / "vectors.npy", vectors.numpy())
        notes.update(
            retriever=retriever,
            texts=len(ids),
            tokens=sum(map(len, ids)),
            full_length=sum(len(i) >= min(most, model.max_tokens) for i in ids),
            depth=vectors.shape[1],
        )
