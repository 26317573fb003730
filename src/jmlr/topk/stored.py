"""Vectors and indexes on disk, whether a text has one vector (dense) or one for each of its tokens (ColBERT).

StoredVectors(vectors, offsets).save(folder)          # what `encode` writes
build_stored(shards, folder, storage="float32")       # what `index` writes: an Index or a MaxSimIndex
index = open_stored(folder)                           # what `search` and live candidates read
scores, rows = search_stored(index, StoredVectors.open(queries), k=30)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.shards import shard_rows
from jmlr.topk.format import MAXSIM_FORMAT, format_of
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex
from jmlr.topk.vectors import OFFSETS, VECTORS, StoredVectors

BATCH = 256  # queries whose token vectors are padded to one length at a time


def build_stored(shards: list[Path], folder: Path, *, storage: str) -> tuple[int, int, int]:
    """Build an index of passages from the shards that `encode` wrote, in their order, in a stream.

    Args:
        shards: folders, all of one kind.
        folder: to make: an `Index`, or a `MaxSimIndex` where the texts have a vector for each token (docs/topk.md).
        storage: what is scanned: float32, bfloat16 or int8.

    Returns:
        (number of passages, number of vectors, D).

    Raises:
        UserError: a shard is missing or damaged, not finite, or they are of two kinds or depths.
    """
    parts = [StoredVectors.open(s, "--vectors") for s in shards]
    kinds = {(p.offsets is None, p.vectors.shape[1]) for p in parts}
    if len(kinds) > 1:
        raise UserError(f"--vectors: shards of {len(kinds)} kinds or depths; encode all of them with one retriever")
    try:
        if parts[0].offsets is None:
            dense = Index.from_shards([s / VECTORS for s in shards], folder, storage=storage)
            return len(dense), len(dense), dense.dim
        made = MaxSimIndex.from_shards([(s / VECTORS, s / OFFSETS) for s in shards], folder, storage=storage)
        return len(made), int(made.offsets[-1]), made.dim
    except ValueError as error:
        raise UserError(f"--vectors: {error}") from None


def open_stored(folder: Path) -> Index | MaxSimIndex:
    """Map what `build_stored` wrote. Raises UserError if there is none, or it is damaged."""
    kind = MaxSimIndex if format_of(existing(folder, "--index")) == MAXSIM_FORMAT else Index
    return kind.open(folder)


def open_shard(folder: Path, shard: str) -> tuple[Index | MaxSimIndex, int]:
    """Open the passages of shard 'i/n' alone, under the numbers they have in the whole; also return how many that has."""
    index = open_stored(folder)
    return (index if shard == "0/1" else index.rows(*shard_rows(shard, len(index)))), len(index)


def search_stored(index: Index | MaxSimIndex, queries: StoredVectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [n, k], rows int64 [n, k]) of the k best passages of every query, exactly.

    Raises:
        UserError: queries and index were made by retrievers of two kinds or depths.
    """
    late = isinstance(index, MaxSimIndex)
    if late != (queries.offsets is not None) or index.dim != queries.vectors.shape[1]:
        names = {True: "one vector for each token", False: "one vector for each text"}
        raise UserError(
            f"the index holds {names[late]}, of depth {index.dim}; the queries have {names[queries.offsets is not None]}, "
            f"of depth {queries.vectors.shape[1]}: encode both with the same retriever"
        )
    if isinstance(index, Index):
        return index.search(queries.vectors, k)
    assert queries.offsets is not None
    found = []
    for begin in range(0, len(queries), BATCH):
        bounds = queries.offsets[begin : begin + BATCH + 1]
        lengths = np.diff(bounds)
        padded = np.zeros((len(lengths), int(lengths.max()), index.dim), np.float32)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = queries.vectors[bounds[0] : bounds[-1]]
        found.append(index.search(padded, k, query_lengths=lengths))
    return np.concatenate([s for s, _ in found]), np.concatenate([r for _, r in found])
