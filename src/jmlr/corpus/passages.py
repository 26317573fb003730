"""Passages: what a retriever finds and an LLM reads; read one by one, in memory that does not grow with their number.

First all are written to a draft beside the files of `Duplicates`; then the draft is copied without the repeated ones.
What stays in memory is 16 bytes for each passage that is dropped, and some 100 for each that is gold.

Gold passages are given by the questions (for measuring only) as the ids of passages, or as a section all of whose
passages teach the answer. Cutting and deduplication change which passages there are; `Gold` follows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jmlr.corpus.buckets import Rows
from jmlr.corpus.chunks import Chunks
from jmlr.corpus.contamination import HeldOut, dropped
from jmlr.corpus.duplicates import Duplicates, replaced
from jmlr.corpus.faults import Faults
from jmlr.corpus.fields import Fields, as_id, as_text, joined
from jmlr.corpus.near_duplicates import MOST_COMPARED
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record, RecordError
from jmlr.corpus.stored_passages import NAME, PassageRows
from jmlr.corpus.tables import Draft, parquet_writer, stored_rows
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say

FIELDS = ("id", "title", "text", "section")
NAMES = ("id", "title", "text", "source", "section")
SCHEMA = pa.schema([("row", pa.int32()), *((name, pa.string()) for name in NAMES)])
DRAFT = pa.schema([(name, pa.string()) for name in (*NAMES, "where")])
SAY_EVERY = 1_000_000
BATCH = 8192


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
        for rows in (self.ids.get(id), self.ids.get(section) if section != id else None, self.sections.get(section)):
            if rows is not None:
                rows.append(row)

    def settle(self, final: Callable[[list[int]], list[int]]) -> None:
        """Replace the rows noted so far by those that they became."""
        for rows in (*self.ids.values(), *self.sections.values()):
            rows[:] = final(rows)

    def graded(self, question: dict[str, Any], names: dict[int, str]) -> dict[str, int]:
        """Return a question's gold passages, id -> grade, as they are in the table; of passages that became one, the best."""
        found: dict[str, int] = {}
        for id, grade in zip(question["gold_ids"], question["gold_grades"], strict=True):
            for row in self.ids[id]:
                found[names[row]] = max(grade, found.get(names[row], 0))
        for row in self.sections.get(question["gold_section"], []):
            found.setdefault(names[row], 1)
        return found

    def resolve(self, asked: list[dict[str, Any]], passages: Path) -> int:
        """Put the ids and rows of the passages of the table in place of the gold that questions were given; say what is lost.

        Returns:
            How much of it is not there.

        Raises:
            UserError: a dataset gives gold and none of it is in the corpus: most likely ids of another edition. With
                `gold_check` 'warn' that is only said.
        """
        names = self.names(passages)
        places = {id: row for row, id in names.items()}
        told: dict[str, _Followed] = {}
        for question in asked:
            ids, section = question["gold_ids"], question["gold_section"]
            lost = [g for g in ids if not self.ids[g]]
            lost += [section] if section and not self.sections[section] else []
            found = self.graded(question, names)
            question["gold_ids"], question["gold_grades"] = list(found), list(found.values())
            question["gold_rows"] = [places[id] for id in found]
            of = told.setdefault(question["dataset"], _Followed())
            of.add(question["id"], len(ids) + bool(section), lost, len(found))
            of.lenient |= question.pop("gold_check", "error") == "warn"
            del question["gold_section"]
        for dataset, of in told.items():
            if of.lost and not of.kept and not of.lenient:
                raise UserError(f"{quoted(dataset)}: {of}; leave gold out, or take the corpus that it names")
            if of.lost:
                say(f"prepare: {quoted(dataset)}: {of}{'' if of.kept else ': what is found is not measured by it'}")
        return sum(of.lost for of in told.values())

    def names(self, passages: Path) -> dict[int, str]:
        """Return the ids of all rows found."""
        wanted = {row for rows in (*self.ids.values(), *self.sections.values()) for row in rows}
        stored = stored_rows(passages, ["row", "id"]) if wanted else iter(())
        return {p["row"]: p["id"] for p in stored if p["row"] in wanted}


@dataclass
class _Followed:
    """What became of the gold of a dataset: how much was given, is kept and is lost, and how many questions have none left."""

    given: int = 0
    kept: int = 0
    lost: int = 0
    bare: int = 0
    first: str = ""
    lenient: bool = False

    def add(self, question: str, given: int, lost: list[str], kept: int) -> None:
        if lost and not self.lost:
            self.first = f"question {quoted(question)}, {quoted(lost[0])}"
        self.given, self.kept, self.lost = self.given + given, self.kept + kept, self.lost + len(lost)
        self.bare += bool(lost) and not kept

    def __str__(self) -> str:
        if not self.kept:
            return f"none of its {self.given:,} gold ids is the id (or section) of a passage"
        what = f"{self.lost:,} of its {self.given:,} gold ids are the id (or section) of no passage that is kept"
        return f"{what}; {count_of(self.bare, 'question')} without any gold left; the first: {self.first}"


class PassageWriter:
    """Writes passages.parquet, and passages.arrow with their texts by row, from one source after the other.

    Args:
        folder: where both will be, and meanwhile everything else
        chunks: cuts long texts
        gold: follows the gold passages
        deduplicate: drop passages whose normalised text is already there
        near: drop those of this similarity, too; 0: none
        tests: the test questions that no passage may contain; None: no check
        listed: where dropped passages are listed
    """

    def __init__(
        self,
        folder: Path,
        chunks: Chunks,
        gold: Gold,
        *,
        deduplicate: bool = True,
        near: float = 0.0,
        tests: HeldOut | None = None,
        listed: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.folder, self.chunks, self.gold, self.tests, self.listed = folder, chunks, gold, tests, listed
        self.counts: dict[str, Counter[str]] = {}
        self._duplicates = Duplicates(folder, deduplicate, near)
        self._draft = Draft(folder / "draft.arrow", DRAFT, BATCH)

    def add(self, records: Iterable[Record], fields: Fields, source: str, how: How | None = None) -> int:
        """Add passages of a source; return how many records were read.

        Raises:
            UserError: after the last record, all that is wrong with them; a source without passages.
        """
        faults = Faults(source)
        how, before = how or How(), Counter(self.counts.get(source, {}))
        counts = self.counts.setdefault(source, Counter(records=0, left_out=0, cut=0, duplicates=0, passages=0))
        for record in faults.readable(records):
            counts["records"] += 1
            if counts["records"] % SAY_EVERY == 0:
                say(f"prepare: {source}: {counts['records']:,} records read")
            if not fields.keeps(record):
                counts["left_out"] += 1
                continue
            try:
                text = _text(record, fields)
                if not text and how.skip_empty and fields.has(record, "text"):
                    counts["empty"] += 1
                else:
                    self._add(record, fields, source, text, how, counts)
            except UserError as error:
                if not _told(faults, record, fields, how):
                    faults.add(error)
        faults.end(fields.unseen(source))
        read = counts["records"] - before["records"]
        if read == sum(counts[k] - before[k] for k in ("left_out", "empty")):
            reason = (
                f"'include' and 'exclude' leave out {read:,} of {read:,} records"
                if read
                else "its files have no records"
            )
            raise UserError(f"{source}: no passages: {reason}")
        return read

    def _add(self, record: Record, fields: Fields, source: str, text: str, how: How, counts: Counter[str]) -> None:
        if not text:
            _no_text(record, fields)
        id = f"{source}-{counts['records'] - 1:07d}" if how.make_ids else fields.id(record)
        title, section = fields.text(record, "title"), as_id(fields.text(record, "section"))
        pieces = self.chunks(title, text, how.headings)
        names = [f"{id}/{n}" for n in range(1, len(pieces) + 1)] if len(pieces) > 1 else [id]
        counts["cut"] += len(pieces) > 1
        kept = [(n, t, p) for n, (t, p) in zip(names, pieces, strict=True)]
        if self.tests and self.tests.in_text(text):
            kept = self._without_tests(kept, source)
            counts["contaminated"] += len(pieces) - len(kept)
        for name, piece_title, piece in kept:
            self.gold.found(id, section, self._draft.count)
            self._draft.add(name, piece_title, piece, source, section, record.where)
        self._duplicates.add(id, [piece for _, _, piece in kept])

    def _without_tests(self, pieces: list[tuple[str, str, str]], source: str) -> list[tuple[str, str, str]]:
        kept = []
        for name, title, text in pieces:
            match = self.tests.touched(text) if self.tests else None
            if match and self.listed:
                self.listed(dropped("passage", name, source, "", match))
            if not match:
                kept.append((name, title, text))
        return kept

    def finish(self) -> dict[str, dict[str, int]]:
        """Write both files and return, for every source, what was read, cut, dropped and written.

        Raises:
            UserError: two records with one id.
        """
        self._draft.close()
        repeated = self._duplicates.repeated_id()
        if repeated is not None:
            raise self._was_there(repeated)
        rows, stays, near = self._duplicates.rows()
        self._copy(rows)
        self._draft.path.unlink()

        def final(drafted: list[int]) -> list[int]:
            found = replaced(np.asarray(drafted, np.int64), rows, stays)
            return [int(row) for row in found - np.searchsorted(rows, found)]

        self.gold.settle(final)
        if how := self._duplicates.near:
            say(f"prepare: {near:,} passages are nearly the same as one before them")
            if how.unfinished:
                told = f"prepare: {how.unfinished:,} of them look like so many that each was compared with the first"
                say(f"{told} {MOST_COMPARED:,} only: some that are nearly the same may be left")
        return {source: dict(c) for source, c in self.counts.items()}

    def _was_there(self, row: int) -> UserError:
        """Return the error for a row of the draft whose id an earlier record has."""
        for batch in self._draft.batches():
            if row < len(batch):
                id, where = (batch[name][row].as_py() for name in ("id", "where"))
                # the first piece stands for the record
                what = f"id {quoted(id.removesuffix('/1'))} was there before"
                return UserError(f"{where}: {what}; allowed: every passage has an id of its own{joined(id)}")
            row -= len(batch)
        raise IndexError(row)

    def _copy(self, rows: Rows) -> None:
        """Copy the draft without the given rows, and number what is left."""
        written, read = 0, 0
        with (
            parquet_writer(self.folder / "passages.parquet", SCHEMA) as table,
            PassageRows(self.folder / NAME) as by_row,
        ):
            for batch in self._draft.batches():
                first, last = np.searchsorted(rows, [read, read + len(batch)])
                keep = np.ones(len(batch), bool)
                keep[rows[first:last] - read] = False
                read += len(batch)
                kept = batch.select(list(NAMES)).filter(pa.array(keep))
                for name, mask in (("passages", keep), ("duplicates", ~keep)):
                    for pair in batch["source"].filter(pa.array(mask)).value_counts().to_pylist():
                        self.counts[pair["values"]][name] += pair["counts"]
                numbers = pa.array(np.arange(written, written + len(kept)), pa.int32())
                table.write_batch(pa.RecordBatch.from_arrays([numbers, *kept.columns], schema=SCHEMA))
                by_row.add(kept)
                written += len(kept)
            if not read:
                table.write_table(SCHEMA.empty_table())


@dataclass(frozen=True)
class How:
    """How the records of one entry become passages: see `CorpusOptions`."""

    make_ids: bool = False
    skip_empty: bool = False
    headings: bool = False


def _text(record: Record, fields: Fields) -> str:
    """Return the text of a record; a list of texts becomes paragraphs."""
    value = fields.value(record, "text")
    if not isinstance(value, list):
        return as_text(value, record.where, "'text'")
    return "\n\n".join(t for t in (as_text(v, record.where, "'text'") for v in value) if t)


def _no_text(record: Record, fields: Fields) -> None:
    """Raise what is wrong with a record without a text: it is empty, which may be passed over, or missing."""
    if fields.has(record, "text"):
        raise RecordError(record.where, "'text' is empty; 'skip_empty: true' passes over such records")
    fields.text(record, "text", required=True)


def _told(faults: Faults, record: Record, fields: Fields, how: How) -> bool:
    """Note all that is wrong with the fields of a record, not the first alone; tell whether anything is."""
    before = faults.count
    if faults.tried(_text, record, fields) == "":
        faults.tried(_no_text, record, fields)
    if not how.make_ids:
        faults.tried(fields.id, record)
    for name in ("title", "section"):
        faults.tried(fields.text, record, name)
    return faults.count > before
