"""Stage `index`: vectors, shard by shard -> an index for exact search."""

from __future__ import annotations

from pathlib import Path

from jmlr.options import IndexOptions
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import read_manifest, stage_output


def index(out: Path, vectors: list[Path], options: IndexOptions) -> None:
    """Build an index on disk from the shards of encoded passages, in their order.

    Args:
        out: folder to make: a memory-mappable, checksummed index (docs/topk.md)
        vectors: outputs of `encode` for the passages
    """
    from jmlr.topk import Index

    with stage_output(out, "index", inputs={"vectors": vectors}, options=[options]) as (folder, notes):
        shards = [existing(v / "vectors.npy", "--vectors") for v in vectors]
        made = Index.from_shards(shards, folder / "index", storage=options.storage)
        notes.update(vectors=len(made), depth=made.dim, retriever=read_manifest(vectors[0])["notes"]["retriever"])
