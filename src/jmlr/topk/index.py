"""`Index`, `topk` and `merge`: the public face of the compiled search.

index = Index.build(vectors, storage="int8")
index.save("passages.index")
scores, ids = Index.open("passages.index").search(queries, k=10)

Vectors on a GPU are searched there: see `jmlr.topk.cuda`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import as_count, as_ids, as_matrix, as_storage, on_gpu, thread_count, to_numpy
from jmlr.topk.format import Arrays, Block, opening, read_index, touches, verify_columns, write_index
from jmlr.topk.shards import CHUNK_BYTES, rows_of

if TYPE_CHECKING:
    import torch

    from jmlr.topk.cuda import CudaIndex


class Index:
    """Vectors [N, D] made ready for exact search; make one with `build`, `from_shards` or `open`."""

    def __init__(self, storage: str, columns: Arrays, max_norm: float | None, provenance: Mapping[str, Any]) -> None:
        self._storage, self._columns, self._provenance = storage, columns, dict(provenance)
        self._pending: list[Block] = []
        self._counts = (0, 0)
        get = columns.get
        self._scanner = _topk.Scanner(
            storage,
            columns["vectors"],
            get("codes"),
            get("scale"),
            get("residual"),
            columns["norm"],
            get("ids"),
            max_norm,
        )

    @classmethod
    def build(cls, vectors: Any, storage: str = "float32", *, ids: Any = None) -> Index | CudaIndex:
        """Return an index in memory over a copy of `vectors` [N, D], finite and convertible to float32.

        storage: what the scan reads, "float32", "bfloat16" or "int8"; the answer is the same, speed and memory differ.
        ids: distinct int64 [N] that are not negative; default 0..N-1. Raises TypeError or ValueError, saying where.
        Vectors on a GPU make a `CudaIndex` there; RuntimeError says why if this installation cannot use it.
        """
        as_storage(storage)
        if on_gpu(vectors):
            from jmlr.topk.cuda import CudaIndex

            return CudaIndex.build(vectors, storage, ids=ids)
        matrix = as_matrix(vectors, "vectors", copy=True)
        columns = _encode(matrix, storage)
        if ids is not None:
            columns["ids"] = as_ids(ids, len(matrix))
        for column in columns.values():
            column.setflags(write=False)
        return cls(storage, columns, None, {})

    @classmethod
    def from_shards(
        cls,
        shards: Iterable[Any],
        directory: str | os.PathLike[str],
        storage: str = "float32",
        *,
        ids: Any = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Index:
        """Stream shards, each an array [n, D] or the path of an .npy file, to an index in `directory`, and open it.

        Holds a few MiB of vectors at a time. `ids` as in `build`, for the rows of all shards in order.
        Raises ValueError if there is no shard or their D differ; the folder appears only when complete.
        """
        as_storage(storage)
        chunks = rows_of(shards)
        first = next(chunks, None)
        if first is None:
            raise ValueError("shards: none; allowed: one or more arrays [n, D]")
        names = None if ids is None else as_ids(ids, len(ids))

        def blocks() -> Iterator[Arrays]:
            rows = 0
            for chunk in chain([first], chunks):
                columns = _encode(chunk, storage)
                if names is not None:
                    columns["ids"] = names[rows : rows + len(chunk)]
                rows += len(chunk)
                if names is not None and rows > len(names):
                    break
                yield columns
            if names is not None and rows != len(names):
                raise ValueError(f"ids: {len(names)} for {rows} rows or more; allowed: one for every row")

        write_index(Path(directory), storage, first.shape[1], blocks(), provenance)
        return cls.open(directory)

    def save(self, directory: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the index to a folder, which appears only when complete and replaces an index that was there.

        provenance: anything JSON can hold, e.g. the encoder's digest; `open` gives it back. Raises ValueError, OSError.
        """
        step = max(1, CHUNK_BYTES // (4 * self.dim))
        starts = range(0, max(1, len(self)), step)
        blocks = ({name: array[at : at + step] for name, array in self._columns.items()} for at in starts)
        self._verify()
        write_index(
            Path(directory), self._storage, self.dim, blocks, self._provenance if provenance is None else provenance
        )

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, verify: bool | None = None) -> Index:
        """Return the index in a folder, memory-mapped. Raises IndexFormatError, naming the file and the fault.

        verify: True reads every byte now; False trusts all but shapes and sizes; None checks an index of up to 32 MiB
        whole, and of a larger one the ends of each file now and the rest at the first search.
        """
        manifest, columns, pending = read_index(Path(directory), verify)
        with opening(directory):
            index = cls(manifest["storage"], columns, manifest["max_norm"], manifest["provenance"])
        index._pending = pending
        return index

    def rows(self, first: int, last: int) -> Index:
        """Return the index of rows first..last-1 alone, under the ids they have here; nothing is copied.

        Searching such parts in separate jobs and putting the results together with `merge` gives, bit for bit, what
        one search of the whole gives. Raises ValueError unless 0 <= first <= last <= N.
        """
        if not 0 <= first <= last <= len(self):
            raise ValueError(f"rows {first} to {last}; allowed: 0 <= first <= last <= {len(self)}")
        columns = {name: array[first:last] for name, array in self._columns.items()}
        columns.setdefault("ids", np.arange(first, last, dtype=np.int64))
        columns["ids"].setflags(write=False)
        part = Index(self._storage, columns, None, self._provenance)
        part._pending = [block for block in self._pending if touches(block, first, last)]
        return part

    def search(self, queries: Any, k: int, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (scores float32 [B, k], ids int64 [B, k]) of the k best rows by (score descending, id ascending).

        queries: [B, D], or [D] for one, finite. Where k > N: id -1, score -inf.
        threads: default OMP_NUM_THREADS, else all cores of this process. The environment variable JMLR_ISA names the
        kernels to use. Raises TypeError, ValueError, and IndexFormatError if damage of the files shows only now.
        """
        count = as_count(k, "k", 0)
        matrix = as_matrix(queries, "queries", self.dim, copy=True, one=True)
        self._verify()
        isa = os.environ.get("JMLR_ISA", "")
        scores, found, *counts = self._scanner.search(matrix, count, thread_count(threads), isa)
        self._counts = (counts[0], counts[1])
        return scores, found

    def __len__(self) -> int:
        return len(self._columns["vectors"])

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self._columns["vectors"].shape[1])

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def vectors(self) -> np.ndarray:
        """The vectors, float32 [N, D], read-only; of an opened index a view of the file."""
        self._verify()
        return self._columns["vectors"].view()

    @property
    def ids(self) -> np.ndarray | None:
        """The ids that were given, int64 [N], read-only, or None: row numbers."""
        self._pending = verify_columns(self._pending, "ids")
        return self._columns["ids"].view() if "ids" in self._columns else None

    @property
    def provenance(self) -> dict[str, Any]:
        """What was given to `save` or `from_shards`."""
        return dict(self._provenance)

    @property
    def last_counts(self) -> tuple[int, int]:
        """(query, row) pairs that the last search's scan nominated, and those of them that were scored in float64."""
        return self._counts

    def _verify(self) -> None:
        self._pending = verify_columns(self._pending)


def topk(
    queries: Any, vectors: Any, k: int, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray] | tuple[torch.Tensor, torch.Tensor]:
    """Return what `Index.build(vectors).search(queries, k)` would, without copying or keeping the vectors."""
    if on_gpu(vectors):
        from jmlr.topk.cuda import CudaIndex

        return CudaIndex.build(vectors, copy=False).search(queries, k)
    matrix = as_matrix(vectors, "vectors")
    return Index("float32", _encode(matrix, "float32"), None, {}).search(queries, k, threads)


def merge(
    parts: Sequence[tuple[Any, Any]], k: int, *, interleaved: bool = False
) -> tuple[np.ndarray, np.ndarray] | tuple[torch.Tensor, torch.Tensor]:
    """Return the k best of several results (scores [B, k_i], ids [B, k_i]) for the same queries over disjoint shards.

    Give each shard its own ids (`Index.build(..., ids=...)`): an id that occurs twice for a query raises ValueError. So do
    parts whose ids, from the lowest to the highest, overlap, for such ids may be row numbers of each shard alone;
    interleaved: say that they are not. Raises TypeError for ids that are no integers. Parts on GPUs are merged on the
    first's, and `interleaved` is not asked there.
    """
    count = as_count(k, "k", 0)
    if not parts:
        raise ValueError("parts: none; allowed: one or more (scores, ids)")
    if any(on_gpu(scores) for scores, _ in parts):
        from jmlr.topk import cuda

        return cuda.merge(parts, count)
    for number, (scores, ids) in enumerate(parts):
        shape = np.shape(scores)
        if len(shape) != 2 or shape != np.shape(ids) or shape[0] != np.shape(parts[0][0])[0]:
            raise ValueError(f"parts[{number}]: scores {shape}, ids {np.shape(ids)}; allowed: [B, k] each, the same B")
        if (kind := to_numpy(ids, f"parts[{number}]").dtype).kind not in "iu":
            raise TypeError(f"parts[{number}]: ids of dtype {kind}; allowed: integers")
    all_scores = np.concatenate([np.asarray(scores, np.float32) for scores, _ in parts], axis=1)
    all_ids = np.concatenate([np.asarray(ids, np.int64) for _, ids in parts], axis=1)
    if np.isnan(all_scores).any():
        raise ValueError(f"parts: NaN among the scores of query {int(np.argwhere(np.isnan(all_scores))[0, 0])}")
    ordered = np.sort(all_ids, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        query, place = np.argwhere(twice)[0]
        raise ValueError(
            f"parts: id {ordered[query, place]} twice for query {query}; allowed: ids distinct across shards"
        )
    if not interleaved:
        _refuse_overlap([np.asarray(ids) for _, ids in parts])
    padding = all_ids < 0  # comes last, even after a row that scores -inf
    with _topk.DefaultFloatingPoint():
        order = np.lexsort((all_ids, -all_scores, padding), axis=-1)[:, :count]
    fill = ((0, 0), (0, count - order.shape[1]))
    scores = np.pad(np.take_along_axis(all_scores, order, axis=1), fill, constant_values=-np.inf)
    return scores, np.pad(np.take_along_axis(all_ids, order, axis=1), fill, constant_values=-1)


def _refuse_overlap(ids: Sequence[np.ndarray]) -> None:
    """Raise ValueError if the ids of two parts may be row numbers of each part alone: their ranges overlap."""
    ranges = [(int(i[i >= 0].min()), int(i.max()), n) for n, i in enumerate(ids) if i.max(initial=-1) >= 0]
    for (low, high, one), (second, last, other) in pairwise(sorted(ranges)):
        if second <= high:
            raise ValueError(
                f"ids of parts[{one}], {low} to {high}, and of parts[{other}], {second} to {last}, overlap: are they rows "
                "of each shard alone? allowed: ids of the whole, and interleaved=True where shards take turns in them"
            )


def kernel_names() -> dict[str, str]:
    """Return which instruction set scans each storage here, under JMLR_ISA if set; a bad name raises ValueError."""
    names = _topk.kernel_names(os.environ.get("JMLR_ISA", ""))
    return dict(zip(("float32", "bfloat16", "int8"), names, strict=True))


def _encode(matrix: np.ndarray, storage: str) -> Arrays:
    codes, scale, residual, norm = _topk.encode(storage, matrix, thread_count(None))
    columns = {"vectors": matrix, "norm": norm, "codes": codes, "residual": residual, "scale": scale}
    return {name: array for name, array in columns.items() if array is not None}
