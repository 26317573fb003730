"""Records from files, one at a time, each knowing where it stands, so that an error can name file and line.

Every format is streamed; only a text document is read whole, and one record is in memory. `jmlr.corpus.formats` has the
formats; text may be compressed, and anything may stand in a .zip or .tar.

    for record in read_records(Path("passages.jsonl.gz")):
        record.fields["id"], record.where            # '...', 'passages.jsonl.gz: line 12'

Messages never quote a record's text, which may be clinical.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from jmlr.corpus.formats import ARCHIVES, FORMATS, books, check_format, format_of, why_not
from jmlr.corpus.formats.archive import members
from jmlr.corpus.formats.json_tree import KEY
from jmlr.corpus.formats.opened import BROKEN, Input, Reading, checked_encoding, damaged, opened, plain
from jmlr.corpus.quotes import closest
from jmlr.corpus.record import Record
from jmlr.corpus.texts import DOCUMENTS
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below, matches
from jmlr.runtime.progress import say

__all__ = ["KEY", "Reading", "files_of", "read_records", "records_of"]


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a fetched folder that match a glob pattern, in the order of their names; never its manifest, never hidden ones.

    Raises:
        UserError: none matches.
    """
    files = files_below(folder)
    found = [path for name, path in files.items() if matches(name, pattern)]
    if not found:
        hint = closest(pattern, files) if files else " (the folder is empty)"
        raise UserError(f"{folder}: no file matches '{pattern}'{hint}")
    return found


def records_of(source: str, folder: Path, pattern: str, reading: Reading | None = None) -> Iterator[Record]:
    """Yield the records of a source's files that match a glob pattern, one file after the other; damaged ones with `fault`.

    Where no file matches, the pattern is held against the members of the archives there, by names such as
    'data.zip/dev/a.csv'.

    Args:
        source: its name, for messages
        folder: where it was fetched to
        pattern: as for `files_of`
        reading: as for `read_records`

    Raises:
        UserError: no file matches, one has no records, the records are others than expected, or what `read_records` raises.
    """
    records = _of_files(source, folder, pattern, reading)
    return _checked(records, reading.texts_sha256, source) if reading and reading.texts_sha256 else records


def _of_files(source: str, folder: Path, pattern: str, reading: Reading | None) -> Iterator[Record]:
    for path, name, within in _chosen(folder, pattern):
        try:
            yield from _records(path, reading, name, within)
        except EmptyError as error:
            raise UserError(f"{source}: file '{error.name}' has no records: {error.fix}") from None


def _checked(records: Iterator[Record], expected: str, source: str) -> Iterator[Record]:
    """Yield records; at their end raise UserError unless the sum of their digests, whatever their order, is as expected."""
    total = 0
    for record in records:
        text = json.dumps(record.fields, sort_keys=True, ensure_ascii=False, default=str)
        total += int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
        yield record
    found = f"{total % (1 << 256):064x}"
    if found != expected:
        wrong = f"the digest of its records is {found}, but {expected} is expected: another edition, or another reader"
        raise UserError(f"{source}: {wrong}; 'texts_sha256' can say otherwise, or nothing")


def read_records(path: Path, reading: Reading | None = None, name: str = "", within: str = "") -> Iterator[Record]:
    """Yield the records of a file by the format that its name tells, or that is given.

    Of an archive all members are read that can be; with `within`, those that it matches, and each must be readable.

    Args:
        path: the file
        reading: how it is read; None: as its name tells, in UTF-8
        name: what a document calls itself in ids, and `within` an archive; its file name where it is empty
        within: glob pattern of 'archive/member'

    Raises:
        UserError: an unknown format or encoding, or a damaged record: with the file and the line.
        EmptyError: it has no records; also a UserError.
    """
    return _sound(_records(path, reading, name, within))


def _sound(records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        if record.fault:
            raise record.fault
        yield record


def _records(path: Path, reading: Reading | None, name: str, within: str) -> Iterator[Record]:
    """Yield as `read_records` does, but a damaged record with its fault where reading can go on."""
    reading, name = reading or Reading(), name or path.name
    reading = replace(reading, encoding=checked_encoding(reading.encoding, str(path)))
    kind = format_of(path.name, reading.format)
    if wrong := check_format(reading.format) or ("" if kind else why_not(path.name)):
        raise UserError(f"{path}: {wrong}")
    if kind not in FORMATS and reading.format == "cnxml":
        return (Record(fields, where, path.name) for where, fields in books.read(path, kind, reading.records))
    if kind not in FORMATS:
        return _archive(path, kind, name, within, reading)
    return _file(path, name, reading)


class EmptyError(UserError):
    """A file without records, `where` it is, and under which name; `fix` says what to do."""

    def __init__(self, where: str, name: str, document: bool) -> None:
        self.where, self.name = where, name
        self.fix = "fetch the source again, or let 'file' match others only"
        if document:
            self.fix += "; 'skip_empty: true' passes over documents of a corpus without text (headings alone are none)"
        super().__init__(f"{where}: no records: {self.fix}")


def _file(path: Path, name: str, reading: Reading) -> Iterator[Record]:
    with path.open("rb") as raw, opened(raw, path.name) as stream:
        whole = path if stream is raw else None
        yield from _read(Input(stream, str(path), plain(name), reading, whole), path.name, name)


def _archive(path: Path, kind: str, name: str, within: str, reading: Reading) -> Iterator[Record]:
    """Yield the records of an archive's members."""
    passed: Counter[str] = Counter()
    read = 0
    for member, stream in members(path, kind):
        if within and not matches(f"{name}/{member}", within):
            continue
        if format_of(member, reading.format) not in FORMATS:
            if within:
                raise UserError(f"{path}: {member}: {why_not(member)}")
            passed[PurePath(member).suffix or "no ending"] += 1
            continue
        read += 1
        file = Input(opened(stream, member), f"{path}: {member}", plain(member), reading)
        yield from _read(file, member, f"{name}: {member}")
    if passed:
        what = ", ".join(f"{n} {ending}" for ending, n in passed.most_common(5))
        if not read:
            raise UserError(f"{path}: nothing in it can be read ({what}); 'format' can say what its members are")
        say(f"{path}: {sum(passed.values())} members passed over, which are in no format that is read ({what})")
    elif not read:
        raise EmptyError(str(path), name, False)


def _read(file: Input, own: str, name: str) -> Iterator[Record]:
    """Yield the records of one file or member; raise EmptyError if there are none."""
    kind = format_of(own, file.reading.format)
    empty = True
    try:
        for place, fields in FORMATS[kind].read(file):
            empty = False
            where = f"{file.where}: {place}" if place else file.where
            yield Record({}, where, own, fields) if isinstance(fields, UserError) else Record(fields, where, own)
    except BROKEN as error:
        raise damaged(file.where, error) from None
    document = kind in DOCUMENTS
    if empty and not (document and file.reading.skip_empty):
        raise EmptyError(file.where, name, document)


def _chosen(folder: Path, pattern: str) -> list[tuple[Path, str, str]]:
    """Return (file, name, pattern of members) of all that a pattern takes; members where it takes no file."""
    files = files_below(folder)
    archives = {name: path for name, path in files.items() if name.lower().endswith(ARCHIVES)}
    if not archives or any(matches(name, pattern) for name in files):
        return [(path, str(path.relative_to(folder)), "") for path in files_of(folder, pattern)]
    inside = {n: [f"{n}/{m}" for m, _ in members(p, format_of(p.name))] for n, p in archives.items()}
    found = [(archives[n], n, pattern) for n, held in inside.items() if any(matches(m, pattern) for m in held)]
    if not found:
        hint = closest(pattern, [*files, *(m for held in inside.values() for m in held)])
        raise UserError(f"{folder}: no file matches '{pattern}', nor does what the archives hold{hint}")
    return found
