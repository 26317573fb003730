"""The passages on disk, read by row: passages.arrow, of which a process holds no more than a batch.

    passages = StoredPassages.open(Path("results/demo/prepare"))
    len(passages)                            # from the file's end: nothing is read of the passages
    passages.pairs([17, 3])                  # [(title, text), (title, text)]
    passages.run(0, 1000, ("id",))           # yields (id,), (id,), ...

An Arrow file holds batches. All have PER rows, but for the last, so a row's batch follows from its number and no list of
lengths is needed. A batch is what is read for a row, so they are small.

The file is read and not mapped, at the same speed. What processes read they share in the system's cache either way. Mapped
pages count as resident memory of each process besides, some 100 KB for each row, by which clusters end jobs; and a mapped file
that is cut while it is read ends the process without a word.

Opening holds the file against the manifest beside it, by its size and by 16 pieces of it: `check_written` says what that finds,
such as rows taken out or put in another order, and what it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import anew, check_written, written_by
from jmlr.runtime.progress import say

NAME, FORMER = "passages.arrow", "passages.parquet"
COLUMNS, TEXTS = ("id", "title", "text"), ("title", "text")
PER = 64  # rows, some 64 KB: larger ones make a row dear, smaller ones the file's end, which has 0.4 bytes a passage
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS], metadata={"rows_per_batch": str(PER)})


class PassageRows:
    """Writes batches of any length as batches of PER rows."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, SCHEMA)
        self._waiting = SCHEMA.empty_table()

    def add(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch, which may have other columns too."""
        more = pa.Table.from_batches([batch.select(list(COLUMNS))]).cast(SCHEMA)
        waiting = pa.concat_tables([self._waiting, more])
        whole = len(waiting) // PER * PER
        for first in range(0, whole, PER):
            self._write(waiting.slice(first, PER))
        self._waiting = waiting.slice(whole)

    def _write(self, rows: pa.Table) -> None:
        for batch in rows.combine_chunks().to_batches():
            self._writer.write_batch(batch)

    def __enter__(self) -> PassageRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write(self._waiting)
        self._writer.close()
        self._file.close()


@dataclass(frozen=True)
class StoredPassages:
    """The passages by their row; `len` says how many there are.

    Attributes:
        where: the file
        count: how many there are
        batch: returns the n-th run of PER rows, with the columns of COLUMNS
    """

    where: Path
    count: int
    batch: Callable[[int], Any]

    @classmethod
    def open(cls, prepared: Path) -> StoredPassages:
        """Open the passages of an output of `prepare`; of an earlier version's, all are held in memory from their first use on.

        Raises:
            UserError: there are none, or the file is cut short, or of something else, or not the one that `prepare` wrote.
        """
        path, former = prepared / NAME, prepared / FORMER
        if path.is_file() or not former.is_file() or NAME in written_by("prepare", prepared):
            check_written(path)
            return _opened(path)
        check_written(former)
        try:
            count = pq.read_metadata(former).num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged(former, error) from None
        return cls(former, count, partial(_part, cache(partial(_whole, former))))

    def __len__(self) -> int:
        return self.count

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in this process or another, opens the file anew."""
        return StoredPassages.open, (self.where.parent,)

    def take(self, rows: Sequence[int], columns: Sequence[str] = TEXTS) -> list[tuple[str, ...]]:
        """Return columns of some rows, in their order; a batch is opened once, however many of its rows are asked for.

        Raises:
            UserError: there is no such row, or the file is damaged.
        """
        found: dict[int, tuple[str, ...]] = {}
        opened, held = -1, []
        for row in sorted(set(rows)):
            if not 0 <= row < self.count:
                raise UserError(f"'{self.where}' has no row {row}; it has {self.count:,}")
            if row // PER != opened:
                opened = row // PER
                held = self._columns(opened, columns)
            found[row] = tuple(column[row % PER].as_py() for column in held)
        return [found[row] for row in rows]

    def pairs(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return the titles and texts of some rows, in their order; errors as of `take`."""
        return [(title, text) for title, text in self.take(rows)]

    def run(self, first: int, last: int, columns: Sequence[str] = TEXTS) -> Iterator[tuple[str, ...]]:
        """Yield columns of the rows first to last - 1; no more than a batch is held."""
        for number in range(first // PER, -(-last // PER)):
            begin, end = max(first - number * PER, 0), min(last - number * PER, PER)
            yield from zip(*(c[begin:end].to_pylist() for c in self._columns(number, columns)), strict=True)

    def _columns(self, number: int, columns: Sequence[str]) -> list[Any]:
        try:
            batch = self.batch(number)
            if len(batch) != min(PER, self.count - number * PER):
                raise pa.ArrowInvalid(f"batch {number} has {len(batch)} rows")
            found = [batch.column(name) for name in columns]
            for column in found:
                column.validate(full=True)  # lengths that a damaged file gives would be followed anywhere
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _damaged(self.where, error) from None
        return found


def _opened(path: Path) -> StoredPassages:
    try:
        file = pa.ipc.open_file(pa.OSFile(str(path)))
        if file.schema.names != list(COLUMNS) or file.schema.metadata != SCHEMA.metadata:
            raise UserError(f"'{path}' holds no passages of `prepare`, or another version's; {anew(path.parent)}")
        batches = file.num_record_batches
        last = len(file.get_batch(batches - 1)) if batches else 0
        if last > PER:
            raise pa.ArrowInvalid(f"a batch has {last} rows, more than {PER}")
        count = (batches - 1) * PER + last if batches else 0
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    return StoredPassages(path, count, file.get_batch)


def _whole(path: Path) -> Any:
    fix = anew(path.parent)
    say(f"'{path.parent}' was prepared by an earlier version: its passages are read whole; to read by row, {fix}")
    return pq.read_table(path)


def _part(whole: Callable[[], Any], number: int) -> Any:
    return whole().slice(number * PER, PER)


def _damaged(path: Path, error: Exception) -> UserError:
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"'{path}' is damaged or not whole ({told}); {anew(path.parent)}")
