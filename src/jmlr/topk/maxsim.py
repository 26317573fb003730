"""`MaxSimIndex` and `maxsim_topk`: exact MaxSim over a whole corpus, for late-interaction retrievers (ColBERT).

index = MaxSimIndex.build(tokens, offsets, storage="bfloat16")    # tokens [M, D], passage p: offsets[p]:offsets[p + 1]
index.save("passages.index")                                      # and MaxSimIndex.open("passages.index")
index = MaxSimIndex.from_shards([("t.npy", "o.npy")], "passages.index")    # larger than memory
scores, ids = index.search(query_tokens, k=10)                    # [B, T, D] -> float32 [B, 10], int64 [B, 10]

The score (Khattab and Zaharia 2020, equation 3) and its order of additions are fixed in docs/topk.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import (
    OnGpu,
    as_count,
    as_given,
    as_id,
    as_ids,
    as_matrix,
    on_gpu,
    thread_count,
)
from jmlr.topk.format import (
    BY_PASSAGE,
    MAXSIM_FORMAT,
    Arrays,
    Block,
    opening,
    read_index,
    touches,
    verify_columns,
    write_index,
)
from jmlr.topk.saved import Saved, reduced
from jmlr.topk.selection import RowLookup, Rows, select
from jmlr.topk.shards import CHUNK_BYTES, passages_of
from jmlr.topk.tokens import as_queries, check_storage, checked, decoded, encoded_tokens

if TYPE_CHECKING:
    import torch

    from jmlr.topk.cuda_maxsim import CudaMaxSimIndex


class MaxSimIndex:
    """Token vectors [M, D] of N passages made ready for exact MaxSim; make one with `build`, `from_shards` or `open`."""

    def __init__(self, storage: str, dim: int, columns: Arrays, provenance: Mapping[str, Any]) -> None:
        self._storage, self._dim, self._columns, self._provenance = storage, dim, columns, dict(provenance)
        self._pending: list[Block] = []
        self._counts = (0, 0)
        self._lookup = RowLookup(len(columns["offsets"]) - 1, columns.get("ids"))
        self._saved: Saved | None = None  # where it lies on disk as it is
        self._scanner = _topk.MaxSimScanner(
            storage,
            dim,
            columns.get("vectors"),
            columns.get("codes"),
            columns.get("scale"),
            columns.get("residual"),
            columns["norm"],
            columns["offsets"],
            columns.get("ids"),
        )

    @overload
    @classmethod
    def build(
        cls,
        tokens: np.ndarray | Sequence[Any],
        offsets: Any,
        storage: str = ...,
        *,
        ids: Any = ...,
        originals: bool = ...,
    ) -> MaxSimIndex: ...
    @overload
    @classmethod
    def build(
        cls, tokens: torch.Tensor, offsets: Any, storage: str = ..., *, ids: Any = ..., originals: bool = ...
    ) -> MaxSimIndex | CudaMaxSimIndex: ...
    @overload
    @classmethod
    def build(cls, tokens: OnGpu, offsets: Any, storage: str = ..., *, ids: Any = ...) -> CudaMaxSimIndex: ...
    @classmethod
    def build(
        cls, tokens: Any, offsets: Any, storage: str = "float32", *, ids: Any = None, originals: bool = True
    ) -> MaxSimIndex | CudaMaxSimIndex:
        """Return an index in memory over a copy of `tokens` [M, D], finite and convertible to float32.

        offsets: integers [N + 1] from 0 to M; passage p has the tokens offsets[p] to offsets[p + 1] - 1, at least one.
        storage: what the scan reads, "float32", "bfloat16" or "int8"; the answer is the same, speed and memory differ.
        ids: distinct int64 [N] that are not negative; default 0..N-1. Raises TypeError or ValueError, saying where.
        originals: False (of int8): the tokens are rounded to what their 8-bit codes say, and only the codes are kept. Scores are
        then those of the rounded tokens, with the same bits everywhere.
        Tokens on a GPU give an index there, which takes and returns tensors on that device: see `jmlr.topk.cuda_maxsim`.
        """
        if on_gpu(tokens):
            from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

            if not originals:
                raise ValueError("originals=False: allowed on the CPU alone")
            return CudaMaxSimIndex.build(tokens, offsets, storage, ids=ids)
        check_storage(storage, originals)
        matrix = as_matrix(tokens, "tokens", copy=True)
        columns = checked(storage, matrix, offsets, ids, originals)
        for column in columns.values():
            column.setflags(write=False)
        return cls(storage, matrix.shape[1], columns, {})

    @classmethod
    def from_shards(
        cls,
        shards: Iterable[tuple[Any, Any]],
        directory: str | os.PathLike[str],
        storage: str = "float32",
        *,
        ids: Any = None,
        originals: bool = True,
        provenance: Mapping[str, Any] | None = None,
    ) -> MaxSimIndex:
        """Stream shards to an index in `directory`, and open it. The files are those that `build` and `save` would write.

        shards: pairs (tokens [M, D], offsets [N + 1]) as in `build`, each an array or the path of an .npy file.
        ids: distinct int64, not negative, for the passages of all shards in order; default their numbers in that order.
        originals: as in `build`.
        Holds a few tens of MiB of tokens at a time, or one passage. Raises TypeError, ValueError, OSError, naming the shard or its
        file; the folder appears only when complete.
        """
        check_storage(storage, originals)
        names = None if ids is None else as_ids(ids, len(ids), "passage")
        pieces = passages_of(shards)
        first = next(pieces, None)
        if first is None:
            raise ValueError("shards: none; allowed: one or more (tokens [M, D], offsets [N + 1])")

        def blocks() -> Iterator[Arrays]:
            tokens, passages = 0, 0
            start = np.zeros(1, np.int64)  # where passage 0 begins; each later one begins where one before it ends
            for rows, bounds in chain([first], pieces):
                held = None if names is None else names[passages : passages + len(bounds) - 1]
                columns = encoded_tokens(storage, rows, bounds, held, originals)
                columns["offsets"] = np.concatenate([start, bounds[1:] + tokens])
                start = start[:0]
                tokens, passages = tokens + len(rows), passages + len(bounds) - 1
                if names is not None and passages > len(names):
                    break
                yield columns
            if names is not None and passages != len(names):
                raise ValueError(f"ids: {len(names)} for {passages} passages or more; allowed: one for every passage")

        write_index(Path(directory), storage, first[0].shape[1], blocks(), provenance, MAXSIM_FORMAT)
        return cls.open(directory)

    def save(self, directory: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the index to a folder, as `Index.save` does. Raises ValueError, OSError."""
        self._verify()
        tokens = self.shape[0]
        step = max(1, CHUNK_BYTES // (4 * self.dim))
        by_token = {name: array for name, array in self._columns.items() if name not in BY_PASSAGE}
        slices = ({n: array[at : at + step] for n, array in by_token.items()} for at in range(0, max(1, tokens), step))
        last = {name: array for name, array in self._columns.items() if name in BY_PASSAGE}
        note = self._provenance if provenance is None else provenance
        checksum = write_index(Path(directory), self._storage, self.dim, chain(slices, [last]), note, MAXSIM_FORMAT)
        self._saved = Saved(os.path.abspath(directory), checksum, None)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, verify: bool | None = None) -> MaxSimIndex:
        """Return the index in a folder, memory-mapped; `verify` and errors as `Index.open`."""
        manifest, columns, pending = read_index(Path(directory), verify, MAXSIM_FORMAT)
        with opening(directory):
            index = cls(manifest["storage"], manifest["dim"], columns, manifest["provenance"])
        index._pending = pending
        index._saved = Saved(os.path.abspath(directory), manifest["checksum"], verify)
        return index

    def rows(self, first: int, last: int) -> MaxSimIndex:
        """Return the index of passages first..last-1 alone, under the ids they have here; only their offsets are copied.

        Searching such parts in separate jobs and putting the results together with `merge` gives, bit for bit, what
        one search of the whole gives. Raises ValueError unless 0 <= first <= last <= N.
        """
        if not 0 <= first <= last <= len(self):
            raise ValueError(f"rows {first} to {last}; allowed: 0 <= first <= last <= {len(self)}")
        bounds = self._columns["offsets"]
        begin, end = int(bounds[first]), int(bounds[last])
        spans = dict.fromkeys(BY_PASSAGE, (first, last))
        columns = {name: array[slice(*spans.get(name, (begin, end)))] for name, array in self._columns.items()}
        columns["offsets"] = bounds[first : last + 1] - begin
        columns.setdefault("ids", np.arange(first, last, dtype=np.int64))
        for name in ("offsets", "ids"):
            columns[name].setflags(write=False)
        part = MaxSimIndex(self._storage, self._dim, columns, self._provenance)
        part._pending = [b for b in self._pending if touches(b, *spans.get(b.path.stem, (begin, end)))]
        part._saved = self._saved.part(first, last) if self._saved else None
        return part

    def reconstruct(self, passage: int) -> np.ndarray:
        """Return the tokens' vectors of the passage with an id, float32 [T, D], read-only; KeyError if there is none."""
        row = self._row(passage)
        if row < 0:
            raise KeyError(f"id {passage!r} is not in the index")
        self._verify()
        begin, end = self._columns["offsets"][row : row + 2]
        return self._tokens(begin, end)

    @overload
    def search(
        self,
        query_tokens: torch.Tensor,
        k: int,
        threads: int | None = ...,
        *,
        query_lengths: Any = ...,
        allow: Any = ...,
        exclude: Any = ...,
    ) -> tuple[torch.Tensor, torch.Tensor]: ...
    @overload
    def search(
        self,
        query_tokens: np.ndarray | Sequence[Any],
        k: int,
        threads: int | None = ...,
        *,
        query_lengths: Any = ...,
        allow: Any = ...,
        exclude: Any = ...,
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def search(
        self,
        query_tokens: Any,
        k: int,
        threads: int | None = None,
        *,
        query_lengths: Any = None,
        allow: Any = None,
        exclude: Any = None,
    ) -> tuple[Any, Any]:
        """Return (scores float32 [B, k], ids int64 [B, k]) of the k best passages by (score descending, id ascending).

        query_tokens: [B, T, D], or [T, D] for one query, finite; T is 1 to 65,536. A torch tensor (on the CPU) gives tensors.
        query_lengths: integers [B] from 1 to T: query b uses its first query_lengths[b] tokens; the rest is padding,
        which is never read. Default: all T. Where k exceeds the passages that count: id -1, score -inf.
        allow, exclude: which passages count, as `Index.search` has it for rows.
        threads: default OMP_NUM_THREADS, else all cores of this process. The environment variable JMLR_ISA names the
        kernels to use. Raises TypeError or ValueError, saying where.
        """
        count = as_count(k, "k", 0)
        packed, starts = as_queries(query_tokens, query_lengths, self.dim)
        self._verify()
        chosen = select(Rows(len(self), self._lookup.find, len(self)), len(starts) - 1, allow, exclude)
        isa = os.environ.get("JMLR_ISA", "")
        scores, ids, *counts = self._scanner.search(packed, starts, count, thread_count(threads), isa, chosen)
        self._counts = (counts[0], counts[1])
        return as_given(query_tokens, scores, ids)

    def __len__(self) -> int:
        return len(self._columns["offsets"]) - 1

    def __contains__(self, name: object) -> bool:
        return self._row(name) >= 0

    def __repr__(self) -> str:
        where = f", path={self._saved.path!r}" if self._saved else ""
        return f"MaxSimIndex(passages={len(self)}, shape={self.shape}, storage={self._storage!r}{where})"

    def __copy__(self) -> MaxSimIndex:
        """Return the index: nothing of it changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MaxSimIndex:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self, self._saved)

    def _row(self, name: object) -> int:
        """Return the number of the passage with an id, or -1."""
        self._pending = verify_columns(self._pending, "ids")
        number = as_id(name)
        return -1 if number is None else int(self._lookup.find(np.array([number]))[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(M, D) of the tokens; `len` is N, the passages."""
        return int(self._columns["offsets"][-1]), self.dim

    @property
    def dim(self) -> int:
        """D, the length of a token's vector."""
        return self._dim

    @property
    def storage(self) -> str:
        """What the scan reads: "float32", "bfloat16" or "int8"."""
        return self._storage

    @property
    def vectors(self) -> np.ndarray:
        """The tokens of all passages, float32 [M, D], read-only; of an opened index a view of the file, if it has originals."""
        self._verify()
        return self._tokens(0, self.shape[0])

    @property
    def offsets(self) -> np.ndarray:
        """Int64 [N + 1], read-only: passage p has the rows offsets[p] to offsets[p + 1] - 1 of `vectors`."""
        return self._columns["offsets"].view()

    @property
    def ids(self) -> np.ndarray | None:
        """The ids that were given, int64 [N], read-only, or None: the passages' numbers."""
        self._pending = verify_columns(self._pending, "ids")
        return self._columns["ids"].view() if "ids" in self._columns else None

    @property
    def provenance(self) -> dict[str, Any]:
        """What was given to `save` or `from_shards`."""
        return dict(self._provenance)

    @property
    def checksum(self) -> str | None:
        """Of the index on disk that this is, or a part of; None if it lies on none."""
        return self._saved.checksum if self._saved else None

    @property
    def last_counts(self) -> tuple[int, int]:
        """(query, passage) pairs that the last search's scan nominated, and pairs that were scored in float64."""
        return self._counts

    def _tokens(self, begin: int, end: int) -> np.ndarray:
        if "vectors" in self._columns:
            return self._columns["vectors"][begin:end].view()
        tokens = decoded(self._columns["codes"][begin:end], self._columns["scale"][begin:end], self.dim)
        tokens.setflags(write=False)
        return tokens

    def _verify(self) -> None:
        self._pending = verify_columns(self._pending)


def maxsim_topk(
    query_tokens: Any,
    tokens: Any,
    offsets: Any,
    k: int,
    *,
    query_lengths: Any = None,
    ids: Any = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray] | tuple[torch.Tensor, torch.Tensor]:
    """Return what `MaxSimIndex.build(tokens, offsets, ids=ids).search(query_tokens, k)` would, without a copy on the CPU."""
    if on_gpu(tokens):
        from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

        return CudaMaxSimIndex.build(tokens, offsets, ids=ids).search(query_tokens, k, query_lengths=query_lengths)
    matrix = as_matrix(tokens, "tokens")
    index = MaxSimIndex("float32", matrix.shape[1], checked("float32", matrix, offsets, ids), {})
    return index.search(query_tokens, k, threads, query_lengths=query_lengths)
