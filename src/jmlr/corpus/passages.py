"""Passages: what a retriever finds and an LLM reads; read one by one; in memory stay 30 to 60 bytes of each.

Gold passages are given by the questions (for measuring only) as the ids of passages, or as a section all of whose
passages teach the answer. Cutting and deduplication change which passages there are; `Gold` follows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.corpus.fields import Fields, as_id
from jmlr.corpus.records import Record
from jmlr.corpus.seen import Seen, exact_hash, text_hash
from jmlr.corpus.sentences import cut
from jmlr.corpus.tables import TableWriter
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say

FIELDS = ("id", "title", "text", "section")
SCHEMA = pa.schema(
    [("row", pa.int32()), *((name, pa.string()) for name in ("id", "title", "text", "source", "section"))]
)
SAY_EVERY = 1_000_000


@dataclass
class Gold:
    """Which rows the gold ids and gold sections of the questions became."""

    ids: dict[str, list[int]] = field(default_factory=dict)
    sections: dict[str, list[int]] = field(default_factory=dict)

    def want(self, ids: Iterable[str], section: str) -> None:
        """Ask for a question's gold passages to be followed."""
        self.ids.update((i, []) for i in ids if i not in self.ids)
        if section:
            self.sections.setdefault(section, [])

    def found(self, id: str, section: str, row: int) -> None:
        """Note that a passage, or a piece of it, is in this row."""
        for rows in (self.ids.get(id), self.sections.get(section)):
            if rows is not None:
                rows.append(row)

    def passage_ids(self, ids: Iterable[str], section: str, names: dict[int, str]) -> list[str]:
        """Return the ids of a question's gold passages, as they are in the table."""
        rows = [row for i in ids for row in self.ids[i]] + self.sections.get(section, [])
        return [names[row] for row in dict.fromkeys(rows)]

    def names(self, passages: Path) -> dict[int, str]:
        """Return the ids of all rows found."""
        wanted = {row for rows in (*self.ids.values(), *self.sections.values()) for row in rows}
        stored = stored_passages(passages, ["row", "id"]) if wanted else iter(())
        return {p["row"]: p["id"] for p in stored if p["row"] in wanted}


@dataclass
class PassageWriter:
    """Writes passages.parquet from one source after the other.

    Args:
        table: where they go
        words: longer passages are cut; 0: none
        overlap: words repeated at the start of the next piece, at most
        deduplicate: drop passages whose normalised text is already there
        gold: follows the gold passages
    """

    table: TableWriter
    words: int
    overlap: int
    deduplicate: bool
    gold: Gold

    def __post_init__(self) -> None:
        if self.words and self.overlap >= self.words:
            raise UserError(f"overlap_words {self.overlap}: allowed: less than passage_words, which is {self.words}")
        self._ids, self._texts = Seen(), Seen()

    def add(self, records: Iterable[Record], fields: Fields, source: str) -> dict[str, int]:
        """Add a source; return how many records were read, left out by filters, cut, and passages written and dropped.

        Raises:
            UserError: a missing or empty field, an id given twice, a source without passages.
        """
        counts = {"records": 0, "left_out": 0, "cut": 0, "duplicates": 0, "passages": 0}
        for record in records:
            counts["records"] += 1
            if counts["records"] % SAY_EVERY == 0:
                say(f"prepare: {source}: {counts['records']:,} records read")
            if not fields.keeps(record):
                counts["left_out"] += 1
                continue
            id, title, text, section = self._checked(record, fields)
            pieces = cut(text, self.words, self.overlap) if self.words else [text]
            counts["cut"] += len(pieces) > 1
            for number, piece in enumerate(pieces, 1):
                row = self.table.count
                kept = self._texts.first(text_hash(piece), row) if self.deduplicate else row
                self.gold.found(id, section, kept)
                if kept != row:
                    counts["duplicates"] += 1
                    continue
                name = f"{id}/{number}" if len(pieces) > 1 else id
                values = {"row": row, "id": name, "title": title, "text": piece, "source": source, "section": section}
                self.table.add(values)
                counts["passages"] += 1
        fields.check_names(source)
        if counts["records"] == counts["left_out"]:
            read = counts["records"]
            reason = f"'include' and 'exclude' leave out all {read} records" if read else "its files have no records"
            raise UserError(f"{source}: no passages: {reason}")
        return counts

    def _checked(self, record: Record, fields: Fields) -> tuple[str, str, str, str]:
        id, text = fields.id(record), fields.text(record, "text", required=True)
        number = len(self._ids)
        if self._ids.first(exact_hash(id), number) != number:
            raise UserError(f"{record.where}: id '{id}' was there before; allowed: every passage has an id of its own")
        return id, fields.text(record, "title"), text, as_id(fields.text(record, "section"))


def stored_passages(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a written table, a batch at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096, columns=columns):
            yield from batch.to_pylist()
