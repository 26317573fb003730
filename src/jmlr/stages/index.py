"""Stage `index`: vectors, shard by shard -> an index for exact search."""

from __future__ import annotations

from pathlib import Path

from jmlr.options import IndexOptions
from jmlr.runtime.manifest import read_manifest, stage_output


def index(out: Path, vectors: list[Path], options: IndexOptions) -> None:
    """Build an index on disk from the shards of encoded passages, in their order.

    Args:
        out: folder to make: a memory-mapped, checksummed index (docs/topk.md), of the vectors of all tokens for a ColBERT
        vectors: outputs of `encode` for the passages

    Example:
        jmlr index --out my/index --vectors my/vectors --storage int8
    """
    from jmlr.topk.stored import build_stored

    with stage_output(out, "index", inputs={"vectors": vectors}, options=[options]) as (folder, notes):
        passages, count, depth = build_stored(
            vectors, folder / "index", storage=options.storage, originals=options.originals
        )
        retriever = read_manifest(vectors[0])["notes"]["retriever"]
        notes.update(passages=passages, vectors=count, depth=depth, retriever=retriever)
