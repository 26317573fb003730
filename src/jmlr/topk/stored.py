"""Vectors and indexes on disk, whether a text has one vector (dense) or one for each of its tokens (ColBERT).

StoredVectors(vectors, offsets).save(folder)          # what `encode` writes
build_stored(shards, folder, storage="float32")       # what `index` writes
index = open_stored(folder)                           # what `search` reads
scores, rows = search_stored(index, StoredVectors.open(queries), k=30)
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing, save_array
from jmlr.runtime.shards import shard_rows
from jmlr.runtime.vectors import OFFSETS, VECTORS, StoredVectors
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex

TOKENS, ABOUT = "tokens.npy", "maxsim.json"
BATCH = 256  # queries whose token vectors are padded to one length at a time


def build_stored(shards: list[Path], folder: Path, *, storage: str) -> tuple[int, int, int]:
    """Build an index of passages from the shards that `encode` wrote, in their order.

    Args:
        shards: folders, all of one kind.
        folder: to make: an `Index` (docs/topk.md), or tokens.npy, offsets.npy and maxsim.json.
        storage: what is scanned: float32, bfloat16 or int8.

    Returns:
        (number of passages, number of vectors, D).

    Raises:
        UserError: a shard is missing, or they are of two kinds or depths.
    """
    parts = [StoredVectors.open(s, "--vectors") for s in shards]
    kinds = {(p.offsets is None, p.vectors.shape[1]) for p in parts}
    if len(kinds) > 1:
        raise UserError(f"--vectors: shards of {len(kinds)} kinds or depths; encode all of them with one retriever")
    if parts[0].offsets is None:
        made = Index.from_shards([s / VECTORS for s in shards], folder, storage=storage)
        return len(made), len(made), made.dim
    total, dim = sum(len(p.vectors) for p in parts), parts[0].vectors.shape[1]
    folder.mkdir()
    tokens = np.lib.format.open_memmap(folder / TOKENS, mode="w+", dtype=np.float32, shape=(total, dim))
    offsets, begin = [np.zeros(1, np.int64)], 0
    for part in parts:
        assert part.offsets is not None
        tokens[begin : begin + len(part.vectors)] = part.vectors
        offsets.append(part.offsets[1:] + begin)
        begin += len(part.vectors)
    tokens.flush()
    save_array(folder / OFFSETS, np.concatenate(offsets))
    (folder / ABOUT).write_text(json.dumps({"storage": storage}) + "\n")
    return sum(map(len, parts)), total, dim


def open_stored(folder: Path) -> Index | MaxSimIndex:
    """Open what `build_stored` wrote. Token vectors are read into memory; a dense index is mapped."""
    return open_shard(folder, "0/1")[0]


def open_shard(folder: Path, shard: str) -> tuple[Index | MaxSimIndex, int]:
    """Open the passages of shard 'i/n' alone, under the numbers they have in the whole; also return how many that has."""
    if not (existing(folder, "--index") / ABOUT).is_file():
        index = Index.open(folder)
        return (index if shard == "0/1" else index.rows(*shard_rows(shard, len(index)))), len(index)
    storage = json.loads((folder / ABOUT).read_text())["storage"]
    tokens = np.load(folder / TOKENS, mmap_mode="r", allow_pickle=False)
    offsets = np.load(folder / OFFSETS, allow_pickle=False)
    first, last = shard_rows(shard, len(offsets) - 1)
    held = tokens[offsets[first] : offsets[last]]
    part = MaxSimIndex.build(held, offsets[first : last + 1] - offsets[first], storage, ids=np.arange(first, last))
    assert isinstance(part, MaxSimIndex)
    return part, len(offsets) - 1


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
