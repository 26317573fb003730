"""`Index`: the public face of the compiled search.

index = Index.build(vectors, storage="int8")
index.save("passages.index")
scores, ids = Index.open("passages.index").search(queries, k=10)

Queries that are torch tensors get tensors back. Vectors on a GPU are searched there: see `jmlr.topk.cuda`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jmlr.runtime.distinct import distinct
from jmlr.topk import _topk
from jmlr.topk.arrays import (
    OnGpu,
    as_count,
    as_given,
    as_id,
    as_ids,
    as_matrix,
    as_metric,
    as_storage,
    as_thresholds,
    next_ids,
    on_gpu,
    thread_count,
    to_numpy,
)
from jmlr.topk.format import Arrays, opening, read_index, touches, write_index
from jmlr.topk.merging import merge_disjoint, merge_ranges
from jmlr.topk.saved import Saved, reduced
from jmlr.topk.segments import Segment, Segments, encoded
from jmlr.topk.selection import select
from jmlr.topk.shards import rows_of

if TYPE_CHECKING:
    import torch

    from jmlr.topk.cuda import CudaIndex


class Index:
    """Vectors [N, D] made ready for exact search; make one with `build`, `from_shards` or `open`.

    `len(index)` is N; `id in index` says whether a row has this id. An index that lies on disk as it is, is pickled by its
    path. Searches may run side by side; `add` and `remove` want one writer, and a search meanwhile sees the rows before or
    after.
    """

    def __init__(self, segments: Segments, metric: str, provenance: Mapping[str, Any]) -> None:
        self._segments, self._metric, self._provenance = segments, metric, dict(provenance)
        self._saved: Saved | None = None  # where it lies on disk as it is
        self._counts = (0, 0)

    @overload
    @classmethod
    def build(
        cls, vectors: np.ndarray | Sequence[Any], storage: str = ..., *, ids: Any = ..., metric: str = ...
    ) -> Index: ...
    @overload
    @classmethod
    def build(  # type: ignore[overload-overlap]  # a tensor has the attribute of `OnGpu`, wherever it lies
        cls, vectors: torch.Tensor, storage: str = ..., *, ids: Any = ..., metric: str = ...
    ) -> Index | CudaIndex: ...
    @overload
    @classmethod
    def build(cls, vectors: OnGpu, storage: str = ..., *, ids: Any = ..., metric: str = ...) -> CudaIndex: ...
    @classmethod
    def build(
        cls, vectors: Any, storage: str = "float32", *, ids: Any = None, metric: str = "inner_product"
    ) -> Index | CudaIndex:
        """Return an index in memory over a copy of `vectors` [N, D], finite and convertible to float32.

        storage: what the scan reads, "float32", "bfloat16" or "int8"; the answer is the same, speed and memory differ.
        ids: distinct int64 [N] that are not negative; default 0..N-1. Raises TypeError or ValueError, saying where.
        metric: "cosine" divides each vector by its norm now, and each query when it comes (docs/topk.md); 0 stays 0.
        Vectors on a GPU make a `CudaIndex` there, of inner products; RuntimeError says why if this installation cannot
        use it.
        """
        as_storage(storage)
        as_metric(metric)
        if on_gpu(vectors):
            from jmlr.topk.cuda import CudaIndex

            if metric != "inner_product":
                raise ValueError(f"metric: {metric!r}; allowed on a GPU: inner_product, of vectors that have norm 1")
            return CudaIndex.build(vectors, storage, ids=ids)
        columns = encoded(as_matrix(vectors, "vectors", copy=True), storage, metric)
        if ids is not None:
            columns["ids"] = as_ids(ids, len(columns["vectors"]))
        return cls(Segments(storage, [Segment(storage, columns)]), metric, {})

    @classmethod
    def from_shards(
        cls,
        shards: Iterable[Any],
        directory: str | os.PathLike[str],
        storage: str = "float32",
        *,
        ids: Any = None,
        metric: str = "inner_product",
        provenance: Mapping[str, Any] | None = None,
    ) -> Index:
        """Stream shards, each an array [n, D] or the path of an .npy file, to an index in `directory`, and open it.

        Holds a few MiB of vectors at a time. `ids` and `metric` as in `build`, for the rows of all shards in order.
        Raises ValueError if there is no shard or their D differ; the folder appears only when complete.
        """
        as_storage(storage)
        as_metric(metric)
        chunks = rows_of(shards)
        first = next(chunks, None)
        if first is None:
            raise ValueError("shards: none; allowed: one or more arrays [n, D]")
        names = None if ids is None else as_ids(ids, len(ids))

        def blocks() -> Iterator[Arrays]:
            rows = 0
            for chunk in chain([first], chunks):
                columns = encoded(chunk.copy() if metric == "cosine" else chunk, storage, metric)
                if names is not None:
                    columns["ids"] = names[rows : rows + len(chunk)]
                rows += len(chunk)
                if names is not None and rows > len(names):
                    break
                yield columns
            if names is not None and rows != len(names):
                raise ValueError(f"ids: {len(names)} for {rows} rows or more; allowed: one for every row")

        write_index(Path(directory), storage, first.shape[1], blocks(), provenance, metric=metric)
        return cls.open(directory)

    def save(self, directory: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the index to a folder, which appears only when complete and replaces an index that was there.

        What was removed is not written: the files are those of an index built of the rows that are left, under their ids.
        provenance: anything JSON can hold, e.g. the encoder's digest; `open` gives it back. Raises ValueError, OSError.
        """
        note = self._provenance if provenance is None else provenance
        checksum = write_index(
            Path(directory), self.storage, self.dim, self._segments.blocks(), note, metric=self._metric
        )
        self._saved = Saved(os.path.abspath(directory), checksum, None)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, verify: bool | None = None) -> Index:
        """Return the index in a folder, memory-mapped. Raises IndexFormatError, naming the file and the fault.

        verify: True reads every byte now; False trusts all but shapes and sizes; None checks an index of up to 32 MiB
        whole, and of a larger one the ends of each file now and the rest at the first search.
        """
        manifest, columns, pending = read_index(Path(directory), verify)
        with opening(directory):
            segment = Segment(manifest["storage"], columns, manifest["max_norm"], pending)
        index = cls(Segments(manifest["storage"], [segment]), manifest["metric"], manifest["provenance"])
        index._saved = Saved(os.path.abspath(directory), manifest["checksum"], verify)
        return index

    def rows(self, first: int, last: int) -> Index:
        """Return the index of rows first..last-1 alone, under the ids they have here; nothing is copied, unless rows were added or removed.

        Searching such parts in separate jobs and putting the results together with `merge` gives, bit for bit, what
        one search of the whole gives. Raises ValueError unless 0 <= first <= last <= N.
        """
        if not 0 <= first <= last <= len(self):
            raise ValueError(f"rows {first} to {last}; allowed: 0 <= first <= last <= {len(self)}")
        if self._segments.changed:
            self._verify()
        names = {*self._segments.names, "ids"}
        columns = {name: self._segments.take(name)[first:last] for name in names}
        pending = [block for block in self._segments.parts[0].pending if touches(block, first, last)]
        segment = Segment(self.storage, columns, None, pending)
        part = Index(Segments(self.storage, [segment]), self._metric, self._provenance)
        part._saved = self._saved.part(first, last) if self._saved else None
        return part

    def add(self, vectors: Any, *, ids: Any = None) -> None:
        """Append rows: `vectors` [n, D], or [D] for one, as `build` takes them.

        ids: distinct int64 [n], not negative, none of them in the index; default: numbered on from the highest that is.
        Searches give the bits of an index that was built with them. On disk nothing changes before `save`.
        Raises TypeError or ValueError, saying where; then nothing was added.
        """
        matrix = as_matrix(vectors, "vectors", self.dim, copy=True, one=True)
        if ids is None:
            names = next_ids(int(self._segments.take("ids").max(initial=-1)), len(matrix))
        else:
            names = as_ids(ids, len(matrix))
            held = np.flatnonzero(self._segments.find(names)[1] >= 0)
            if len(held):
                raise ValueError(f"ids: {names[held[0]]} is in the index; allowed: ids that are not")
        columns = encoded(matrix, self.storage, self._metric) | {"ids": names}
        self._segments, self._saved = self._segments.adding(columns), None

    def remove(self, ids: Any) -> None:
        """Remove the rows of some ids: an integer, or integers [n]. They are marked, and left out when the index is saved.

        Searches give the bits of an index built without them. Raises KeyError, naming the first id that is not here, before any goes.
        """
        names = distinct(np.atleast_1d(self._known(ids)))
        if len(names):
            self._segments, self._saved = self._segments.without(*self._segments.find(names)), None

    def reconstruct(self, ids: Any) -> np.ndarray:
        """Return the vector of an id, float32 [D], or those of ids int [n], [n, D]; KeyError names an id that is not here.

        Of metric "cosine" it is the vector divided by its norm.
        """
        names = self._known(ids)
        return self._segments.vectors_of(*self._segments.find(names.reshape(-1))).reshape(*names.shape, self.dim)

    @overload
    def search(
        self,
        queries: torch.Tensor,
        k: int,
        threads: int | None = ...,
        *,
        allow: Any = ...,
        exclude: Any = ...,
        largest: bool = ...,
    ) -> tuple[torch.Tensor, torch.Tensor]: ...
    @overload
    def search(
        self,
        queries: np.ndarray | Sequence[Any],
        k: int,
        threads: int | None = ...,
        *,
        allow: Any = ...,
        exclude: Any = ...,
        largest: bool = ...,
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def search(
        self,
        queries: Any,
        k: int,
        threads: int | None = None,
        *,
        allow: Any = None,
        exclude: Any = None,
        largest: bool = True,
    ) -> tuple[Any, Any]:
        """Return (scores float32 [B, k], ids int64 [B, k]) of the k best rows by (score descending, id ascending).

        queries: [B, D], or [D] for one, finite; a torch tensor (on the CPU) gives tensors. Where k exceeds the rows that
        count: id -1, score -inf.
        allow, exclude: the rows that count are those allowed (default: all) and not excluded. For all queries: a mask
        bool [N] over the rows, or ids int [m]; for each: masks bool [B, N], ids int [B, m] (-1 fills up), or B lists of
        ids. Ids that no row has are passed over. What does not count has no part in the search but its time.
        largest: False for the k lowest scores, by (score ascending, id ascending); padding is then +inf.
        threads: default OMP_NUM_THREADS, else all cores of this process. The environment variable JMLR_ISA names the
        kernels to use. Raises TypeError, ValueError, and IndexFormatError if damage of the files shows only now.
        """
        count = as_count(k, "k", 0)

        def one(scanner: Any, matrix: np.ndarray, *told: Any) -> tuple[Any, ...]:
            return scanner.search(matrix, count, *told, largest)

        parts = self._searched(self._queries(queries), threads, allow, exclude, one)
        return as_given(queries, *(parts[0] if len(parts) == 1 else merge_disjoint(parts, count, largest)))

    def range_search(
        self,
        queries: Any,
        threshold: Any,
        threads: int | None = None,
        *,
        allow: Any = None,
        exclude: Any = None,
        largest: bool = True,
    ) -> tuple[Any, Any, Any]:
        """Return (scores float32 [M], ids int64 [M], offsets int64 [B + 1]) of all rows with score >= threshold.

        Query b has the entries offsets[b] to offsets[b + 1] - 1, ordered as by `search`. The score is that of `search`, a
        float32; the threshold, a number or one for each query, is compared as float64.
        largest: False for all rows with score <= threshold, lowest first. The rest is as in `search`. Memory is that of what is
        found, times three.
        """
        rows = self._queries(queries)
        reach = as_thresholds(threshold, len(rows), largest)

        def one(scanner: Any, matrix: np.ndarray, *told: Any) -> tuple[Any, ...]:
            return scanner.range_search(matrix, reach, *told, largest)

        parts = self._searched(rows, threads, allow, exclude, one)
        return as_given(queries, *(parts[0] if len(parts) == 1 else merge_ranges(parts, largest)))

    def __len__(self) -> int:
        return len(self._segments)

    def __contains__(self, name: object) -> bool:
        number = as_id(name)
        return number is not None and bool(self._segments.find(np.array([number]))[1][0] >= 0)

    def __repr__(self) -> str:
        metric = "" if self._metric == "inner_product" else f", metric={self._metric!r}"
        where = f", path={self._saved.path!r}" if self._saved else ""
        return f"Index(shape={self.shape}, storage={self.storage!r}{metric}{where})"

    def __copy__(self) -> Index:
        """Return an index of its own over the same memory, of which nothing that either shows ever changes."""
        twin = Index(self._segments, self._metric, self._provenance)
        twin._saved = self._saved
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Index:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self, self._saved)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self), self.dim

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self._segments.parts[0].columns["vectors"].shape[1])

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._segments.storage

    @property
    def metric(self) -> str:
        """ "inner_product" or "cosine"."""
        return self._metric

    @property
    def vectors(self) -> np.ndarray:
        """The vectors, float32 [N, D], read-only: those that decide, so of metric "cosine" divided by their norms.

        Of an opened index a view of the file; a copy once rows were added or removed.
        """
        self._verify()
        return self._segments.take("vectors").view()

    @property
    def ids(self) -> np.ndarray | None:
        """The ids, int64 [N], read-only, by row; or None: they are the row numbers."""
        self._segments.verify("ids")
        return self._segments.take("ids").view() if "ids" in self._segments.names else None

    @property
    def provenance(self) -> dict[str, Any]:
        """What was given to `save` or `from_shards`."""
        return dict(self._provenance)

    @property
    def last_counts(self) -> tuple[int, int]:
        """(query, row) pairs that the last search's scan nominated, and those of them that were scored in float64."""
        return self._counts

    def _queries(self, values: Any) -> np.ndarray:
        matrix = as_matrix(values, "queries", self.dim, copy=True, one=True)
        if self._metric == "cosine":
            _topk.normalise(matrix, thread_count(None))
        self._verify()
        return matrix

    def _searched(
        self, matrix: np.ndarray, threads: int | None, allow: Any, exclude: Any, search: Callable[..., tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """Return the results of search(scanner, matrix, threads, isa, selection), less its counts, for each segment."""
        told = thread_count(threads), os.environ.get("JMLR_ISA", "")
        parts, nominated, rescored = [], 0, 0
        for segment, rows in self._segments.selectable():
            found = search(segment.scanner, matrix, *told, select(rows, len(matrix), allow, exclude))
            parts.append(found[:-2])
            nominated, rescored = nominated + found[-2], rescored + found[-1]
        self._counts = nominated, rescored
        return parts

    def _known(self, values: Any) -> np.ndarray:
        """Return `values`, an id or ids [n], as int64; raise KeyError unless all are in the index."""
        array = to_numpy(values, "ids")
        if not array.size and array.dtype == np.float64:
            array = array.astype(np.int64)  # of an empty list
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise TypeError(f"ids: dtype {array.dtype}, shape {array.shape}; allowed: an integer, or integers [n]")
        names = array.astype(np.int64)
        missing = np.flatnonzero(self._segments.find(names.reshape(-1))[1] < 0)
        if len(missing):
            raise KeyError(f"id {array.reshape(-1)[missing[0]]} is not in the index")
        return names

    def _verify(self) -> None:
        self._segments.verify()
