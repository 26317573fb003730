"""Vectors and indexes on disk, whether a text has one vector (dense) or one for each of its tokens (ColBERT).

StoredVectors(vectors, offsets).save(folder)          # what `encode` writes
build_stored(shards, folder, storage="float32")       # what `index` writes: an Index or a MaxSimIndex
index = open_stored(folder)                           # what `search` and live candidates read
scores, rows = search_stored(index, StoredVectors.open(queries), k=30)
scores, rows = search_stored(open_two_steps(folder), queries, k=30, rerank_count=1000)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.shards import shard_rows
from jmlr.topk.format import MAXSIM_FORMAT, format_of
from jmlr.topk.gpu_search import MAX_K, gpu_here, search_on_gpu
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex
from jmlr.topk.two_steps import TwoSteps, build_first, open_first, recalls
from jmlr.topk.vectors import OFFSETS, VECTORS, StoredVectors

BATCH = 256  # queries whose token vectors are padded to one length at a time


def build_stored(shards: list[Path], folder: Path, *, storage: str, originals: bool = True) -> tuple[int, int, int]:
    """Build an index of passages from the shards that `encode` wrote, in their order, in a stream.

    Args:
        shards: folders, all of one kind.
        folder: to make: an `Index`, or a `MaxSimIndex` where the texts have a vector for each token (docs/topk.md).
        storage: what is scanned: float32, bfloat16 or int8.
        originals: of token vectors, whether they are kept beside what is scanned (`MaxSimIndex.build`).

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
        pairs = [(s / VECTORS, s / OFFSETS) for s in shards]
        made = MaxSimIndex.from_shards(pairs, folder, storage=storage, originals=originals)
        build_first(made, first_of(folder), shards=pairs)
        return len(made), int(made.offsets[-1]), made.dim
    except ValueError as error:
        raise UserError(f"--vectors: {error}") from None


def first_of(folder: Path) -> Path:
    """Return where the first stage of an index of tokens lies: beside it."""
    return folder.with_name("first")


def open_stored(folder: Path) -> Index | MaxSimIndex:
    """Map what `build_stored` wrote. Raises UserError if there is none, or it is damaged."""
    kind = MaxSimIndex if format_of(existing(folder, "--index")) == MAXSIM_FORMAT else Index
    return kind.open(folder)


def open_shard(folder: Path, shard: str) -> tuple[Index | MaxSimIndex, int]:
    """Open the passages of shard 'i/n' alone, under the numbers they have in the whole; also return how many that has."""
    index = open_stored(folder)
    return (index if shard == "0/1" else index.rows(*shard_rows(shard, len(index)))), len(index)


def open_two_steps(folder: Path, shard: str = "0/1") -> TwoSteps:
    """Open an index of tokens and its first stage, of shard 'i/n' alone, under the numbers that passages have in the whole.

    Raises:
        UserError: the index is of one vector for each text; it has no first stage, or a damaged one, or that of another index.
    """
    tokens = open_stored(folder)
    if not isinstance(tokens, MaxSimIndex):
        raise UserError(f"--index: '{folder}' holds one vector for each text; it is searched in one step")
    if not first_of(folder).exists():
        raise UserError(
            f"--index: '{first_of(folder)}' is missing: the index was made without a first stage; allowed: index again, or "
            "search.exhaustive: true"
        )
    first = open_first(first_of(folder), tokens)
    if shard == "0/1":
        return TwoSteps(tokens, first)
    rows = shard_rows(shard, len(tokens))
    return TwoSteps(tokens.rows(*rows), first.rows(*rows))


def search_stored(
    index: Index | MaxSimIndex | TwoSteps, queries: StoredVectors, k: int, rerank_count: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [n, k], rows int64 [n, k]) of the k best passages of every query.

    Exactly, on a GPU where the job has one, with the same bits; in two steps, of the `rerank_count` best of the first, on the CPU.

    Raises:
        UserError: queries and index were made by retrievers of two kinds or depths.
    """
    held = index.tokens if isinstance(index, TwoSteps) else index
    late = isinstance(held, MaxSimIndex)
    if late != (queries.offsets is not None) or held.dim != queries.vectors.shape[1]:
        names = {True: "one vector for each token", False: "one vector for each text"}
        raise UserError(
            f"the index holds {names[late]}, of depth {held.dim}; the queries have {names[queries.offsets is not None]}, "
            f"of depth {queries.vectors.shape[1]}: encode both with the same retriever"
        )
    if not isinstance(index, TwoSteps) and k <= MAX_K and (where := gpu_here()):
        return search_on_gpu(index, lambda: padded_queries(queries), k, where)
    if isinstance(index, Index):
        return index.search(queries.vectors, k)
    found = []
    for padded, lengths in padded_queries(queries):
        if isinstance(index, TwoSteps):
            found.append(index.search(padded, k, rerank_count, lengths))
        else:
            found.append(index.search(padded, k, query_lengths=lengths))
    return np.concatenate([s for s, _ in found]), np.concatenate([r for _, r in found])


def padded_queries(queries: StoredVectors) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield (token vectors [b, T, D], lengths [b]) of some queries at a time, padded to the longest; or all [B, D], and None."""
    if queries.offsets is None:
        yield queries.vectors, None
        return
    for begin in range(0, len(queries), BATCH):
        bounds = queries.offsets[begin : begin + BATCH + 1]
        lengths = np.diff(bounds)
        padded = np.zeros((len(lengths), int(lengths.max()), queries.vectors.shape[1]), np.float32)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = queries.vectors[bounds[0] : bounds[-1]]
        yield padded, lengths


def some_queries(queries: StoredVectors, numbers: np.ndarray) -> StoredVectors:
    """Return a copy of some queries' token vectors, in the order of `numbers` int64 [n]."""
    assert queries.offsets is not None
    spans = [slice(*queries.offsets[i : i + 2]) for i in numbers]
    lengths = np.diff(queries.offsets)[numbers]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return StoredVectors(np.concatenate([queries.vectors[s] for s in spans]), offsets)


def widened(
    two: TwoSteps, queries: StoredVectors, exact: np.ndarray, wanted: float, count: int
) -> tuple[int, np.ndarray]:
    """Return (rerank_count, recall of each query float64 [n]) of two steps beside the exhaustive search of the same queries.

    exact: ids int64 [n, k] that the exhaustive search finds; count: doubled until the mean recall is `wanted`, or `two.most`.
    """
    while True:
        found = np.concatenate([two.nominated(padded, count, lengths) for padded, lengths in padded_queries(queries)])
        recall = recalls(found, exact)  # what is nominated and among the k best of all is among the k best of these
        if recall.mean() >= wanted or count >= two.most:
            return count, recall
        count = min(2 * count, two.most)
