"""The rows of an index: one segment as it was built or opened, and one of what was added since; marks on what was removed.

segments = Segments(storage, [Segment(storage, columns)])
segments = segments.adding(columns).without(where, rows)     # a new one each time: a search keeps the one it began with
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import on_line, thread_count
from jmlr.topk.format import Arrays, Block, verify_columns
from jmlr.topk.selection import RowLookup, Rows, clear_bits
from jmlr.topk.shards import CHUNK_BYTES


class Segment:
    """Columns of rows (see `jmlr.topk.format`) that one compiled scanner searches. They never change."""

    def __init__(
        self, storage: str, columns: Arrays, max_norm: float | None = None, pending: Sequence[Block] = ()
    ) -> None:
        for column in columns.values():
            column.setflags(write=False)
        self.columns, self.pending = columns, list(pending)
        self.rows = self.kept = len(columns["vectors"])
        self._lookup = RowLookup(self.rows, columns.get("ids"))
        self._bits: np.ndarray | None = None  # a bit for each row, set unless it was removed; None: none was
        get = columns.get
        self.scanner = _topk.Scanner(
            storage,
            columns["vectors"],
            get("codes"),
            get("scale"),
            get("residual"),
            columns["norm"],
            get("ids"),
            max_norm,
        )

    def without(self, rows: np.ndarray) -> Segment:
        """Return the segment less some rows that it has."""
        rest = copy.copy(self)
        rest._bits = np.full((self.rows + 7) // 8, 255, np.uint8) if self._bits is None else self._bits.copy()
        clear_bits(rest._bits, rows)
        rest.kept = self.kept - len(rows)
        return rest

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64; -1 where no row has it, or one that was removed."""
        rows = self._lookup.find(ids)
        return rows if self._bits is None else np.where(self._bits[rows // 8] >> (rows % 8) & 1, rows, -1)

    def selectable(self, total: int, first: int) -> Rows:
        """Return the rows as `select` takes them, for an index of `total`, `first` of which come before."""
        return Rows(self.rows, self.find, total, first, self._kept_rows, self._bits)

    def column(self, name: str) -> np.ndarray:
        """Return a column of all rows; the row numbers for ids that were not given."""
        return (
            np.arange(self.rows, dtype=np.int64) if name == "ids" and "ids" not in self.columns else self.columns[name]
        )

    def take(self, name: str) -> np.ndarray:
        """Return a column of the rows that were not removed."""
        kept = self._kept_rows()
        return self.column(name) if kept is None else self.column(name)[kept]

    def blocks(self, names: Sequence[str]) -> Iterator[Arrays]:
        """Yield columns of the rows that were not removed, some MiB at a time."""
        kept = self._kept_rows()
        columns = {name: self.column(name) for name in names}
        step = max(1, CHUNK_BYTES // (4 * columns["vectors"].shape[1]))
        for at in range(0, max(1, self.rows), step):
            held: slice | np.ndarray = slice(at, at + step)
            if kept is not None:
                held = kept[slice(*np.searchsorted(kept, (at, at + step)))]
            yield {name: column[held] for name, column in columns.items()}

    def _kept_rows(self) -> np.ndarray | None:
        """Return the rows that were not removed, int64, ascending; None: all."""
        if self.kept == self.rows:
            return None
        assert self._bits is not None
        return np.flatnonzero(np.unpackbits(self._bits, count=self.rows, bitorder="little"))


class Segments:
    """One segment or two: what is in the second was added."""

    def __init__(self, storage: str, parts: Sequence[Segment], room: Arrays | None = None) -> None:
        self.storage, self.parts = storage, tuple(parts)
        self._room = room  # memory in which the second can grow

    def __len__(self) -> int:
        return sum(part.kept for part in self.parts)

    @property
    def changed(self) -> bool:
        """Whether any row was added or removed."""
        return len(self.parts) > 1 or self.parts[0].kept != self.parts[0].rows

    @property
    def names(self) -> list[str]:
        """The columns; ids are one of them if they are not the row numbers."""
        return [*dict.fromkeys([*self.parts[0].columns, *(["ids"] if self.changed else [])])]

    def selectable(self) -> Iterator[tuple[Segment, Rows]]:
        """Yield each segment and its rows as `select` takes them."""
        first = 0
        for part in self.parts:
            yield part, part.selectable(len(self), first)
            first += part.kept

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (the segment's number, the row in it) of each id, int64 [n] each; -1 where no row has it."""
        self.verify("ids")
        where, rows = np.full(len(ids), -1), np.full(len(ids), -1)
        for number, part in enumerate(self.parts):
            found = part.find(ids)
            where[found >= 0], rows[found >= 0] = number, found[found >= 0]
        return where, rows

    def take(self, name: str) -> np.ndarray:
        """Return a column of all rows, read-only; a copy if any was added or removed."""
        column = (
            np.concatenate([part.take(name) for part in self.parts]) if self.changed else self.parts[0].column(name)
        )
        column.setflags(write=False)
        return column

    def vectors_of(self, where: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the vectors, float32 [n, D], of what `find` found."""
        self.verify()
        found = np.empty((len(rows), self.parts[0].columns["vectors"].shape[1]), np.float32)
        for number, part in enumerate(self.parts):
            found[where == number] = part.columns["vectors"][rows[where == number]]
        return found

    def blocks(self) -> Iterator[Arrays]:
        """Yield all columns of all rows, some MiB at a time."""
        self.verify()
        return chain.from_iterable(part.blocks(self.names) for part in self.parts)

    def without(self, where: np.ndarray, rows: np.ndarray) -> Segments:
        """Return the segments less what `find` found."""
        parts = [part.without(rows[where == n]) if (where == n).any() else part for n, part in enumerate(self.parts)]
        room, self._room = self._room, None
        return Segments(self.storage, parts, room)

    def adding(self, columns: Arrays) -> Segments:
        """Return the segments and, in the second, rows with all columns, ids among them. The room to grow goes to the new one."""
        room, self._room = self._room, None  # whoever adds to this one again writes elsewhere
        second = self.parts[1] if len(self.parts) > 1 else None
        begin = second.kept if second else 0
        end = begin + len(columns["vectors"])
        # what was removed of it goes for good: the same id may come again
        if room is None or second is None or second.kept != second.rows or len(room["vectors"]) < end:
            room = {n: on_line((max(end, 2 * begin), *c.shape[1:]), c.dtype) for n, c in columns.items()}
            for name in columns if second else ():
                assert second is not None
                room[name][:begin] = second.take(name)
        for name, column in columns.items():
            room[name][begin:end] = column
        grown = Segment(self.storage, {name: column[:end] for name, column in room.items()})
        return Segments(self.storage, (self.parts[0], grown), room)

    def verify(self, *names: str) -> None:
        """Verify what was put off of some columns, by default of all. Raises IndexFormatError."""
        for part in self.parts:
            part.pending = verify_columns(part.pending, *names)


def encoded(matrix: np.ndarray, storage: str, metric: str) -> Arrays:
    """Return the columns of finite rows, which are normalised in place for "cosine"."""
    if metric == "cosine":
        _topk.normalise(matrix, thread_count(None))
    codes, scale, residual, norm = _topk.encode(storage, matrix, thread_count(None))
    columns = {"vectors": matrix, "norm": norm, "codes": codes, "residual": residual, "scale": scale}
    return {name: array for name, array in columns.items() if array is not None}
