"""Parquet tables written row group by row group, so that their length does not matter to memory.

with TableWriter(Path("passages.parquet"), SCHEMA) as table:
    table.add({"row": 0, "id": "a", ...})
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 8192


class TableWriter:
    """Collects records and writes a row group when there are enough; `count` is how many were added."""

    def __init__(self, path: Path, schema: pa.Schema, rows_per_group: int = ROWS_PER_GROUP) -> None:
        self.schema, self.rows_per_group, self.count = schema, rows_per_group, 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
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
