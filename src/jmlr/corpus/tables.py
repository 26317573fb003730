"""Tables on disk, written and read a batch at a time, so that their length does not matter to memory.

with TableWriter(Path("passages.parquet"), SCHEMA) as table:
    table.add({"row": 0, "id": "a", ...})
for row in stored_rows(Path("passages.parquet"), ["id"]): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.runtime.manifest import check_written

ROWS_PER_GROUP = 8192


class TableWriter:
    """Collects records and writes a row group when there are enough; `count` is how many were added."""

    def __init__(self, path: Path, schema: pa.Schema, rows_per_group: int = ROWS_PER_GROUP) -> None:
        self.schema, self.rows_per_group, self.count = schema, rows_per_group, 0
        self._writer = parquet_writer(path, schema)
        self._waiting: list[dict[str, Any]] = []

    def add(self, record: dict[str, Any]) -> None:
        """Append one record."""
        self._waiting.append(record)
        self.count += 1
        if len(self._waiting) == self.rows_per_group:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self.schema))
        self._waiting = []

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._waiting or not self.count):
            self._flush()
        self._writer.close()


class Draft:
    """Rows kept on disk until it is known which of them stay: an Arrow stream, which has no footer that grows."""

    def __init__(self, path: Path, schema: pa.Schema, rows_per_batch: int = ROWS_PER_GROUP) -> None:
        self.path, self.schema, self.rows_per_batch, self.count = path, schema, rows_per_batch, 0
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, *values: Any) -> None:
        """Append one row: its values in the order of the schema."""
        self._waiting.append(values)
        self.count += 1
        if len(self._waiting) == self.rows_per_batch:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self._waiting = []

    def close(self) -> None:
        """End writing."""
        if self._waiting:
            self._flush()
        self._writer.close()
        self._file.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what was written."""
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_stream(file) as stream:
            yield from stream


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return what writes a table: compressed, and without statistics of texts, which stay in memory to the end."""
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    kept = {
        "write_statistics": numbers or False,
        "use_dictionary": False,
    }  # texts hardly repeat, and zstd sees it if they do
    return pq.ParquetWriter(path, schema, compression="zstd", **kept)


def stored_batches(path: Path, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a Parquet file; unless told not to buffer ahead, pyarrow keeps every part of it that it has read.

    Raises:
        UserError: as of `check_written`.
    """
    check_written(path)
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)


def stored_rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, a batch at a time."""
    for batch in stored_batches(path, columns):
        yield from batch.to_pylist()


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """Read a table of a stage's output; a missing one, or another than the stage wrote (`check_written`), is a one-line error."""
    check_written(path)
    return pq.read_table(path, columns=columns, memory_map=True)
