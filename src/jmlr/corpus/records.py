"""Records from files, one at a time, each knowing where it stands, so that an error can name file and line.

JSON Lines, CSV, TSV, Parquet and tar archives are streamed; a JSON array, a JSON object of objects and a text document are
read whole. Text formats may be gzipped. Documents (.txt, .md, .nxml) become records as `jmlr.corpus.texts` says.

    for record in read_records(Path("passages.jsonl.gz")):
        record.fields["id"], record.where            # '...', 'passages.jsonl.gz: line 12'

Messages never quote a record's text, which may be clinical.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from jmlr.corpus.quotes import closest
from jmlr.corpus.texts import DOCUMENTS, read_document
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import DAMAGED, files_below

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", *DOCUMENTS, ".parquet", ".tar", ".tar.gz")
KEY = "_key"


@dataclass(frozen=True)
class Record:
    """One record of a file; `where` says which one, `file` is the name of its file."""

    fields: dict[str, Any]
    where: str
    file: str = ""


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a fetched folder that match a glob pattern, in the order of their names; never its manifest, never hidden ones.

    Raises:
        UserError: none matches.
    """
    files = files_below(folder)
    found = [path for name, path in files.items() if fnmatchcase(name, pattern)]
    if not found:
        hint = closest(pattern, files) if files else " (the folder is empty)"
        raise UserError(f"{folder}: no file matches '{pattern}'{hint}")
    return found


def read_records(path: Path, encoding: str = "utf-8", columns: Sequence[str] = (), name: str = "") -> Iterator[Record]:
    """Yield the records of a file by the format that its name tells.

    Args:
        path: the file
        encoding: of text
        columns: names of the columns of a CSV or TSV file that has no header
        name: what a document calls itself in ids, without '.gz'; its file name where it is empty

    Raises:
        UserError: an unknown format or encoding, or a damaged record: with the file and the line.
    """
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UserError(
            f"{path}: unknown encoding '{encoding}'; allowed: utf-8, cp1252, latin-1, utf-16, ..."
        ) from None
    plain = path.name.removesuffix(".gz")
    kind = Path(plain).suffix.lower()
    if kind == ".tar" or path.name.endswith(".tgz"):
        return _tar(path, encoding)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path, encoding)
    if kind == ".json":
        return _json(path, encoding)
    if kind in (".csv", ".tsv"):
        return _table(path, "," if kind == ".csv" else "\t", encoding, columns)
    if kind in DOCUMENTS:
        return _document(path, (name or path.name).removesuffix(".gz"), encoding)
    if kind == ".parquet":
        return _parquet(path)
    raise UserError(f"{path}: unknown format '{kind}' (allowed: {', '.join(FORMATS)}; text formats also as .gz)")


def records_of(
    source: str,
    folder: Path,
    pattern: str,
    encoding: str = "utf-8",
    columns: Sequence[str] = (),
    skip_empty: bool = False,
) -> Iterator[Record]:
    """Yield the records of a source's files that match a glob pattern, one file after the other.

    Args:
        source: its name, for messages
        folder: where it was fetched to
        pattern: as for `files_of`
        encoding: of text
        columns: as for `read_records`
        skip_empty: pass over documents without a text

    Raises:
        UserError: no file matches, one has no records, or what `read_records` raises.
    """
    for file in files_of(folder, pattern):
        name = str(file.relative_to(folder))
        empty = True
        for record in read_records(file, encoding, columns, name):
            empty = False
            yield record
        document = Path(name.removesuffix(".gz")).suffix.lower() in DOCUMENTS
        if empty and not (skip_empty and document):
            mend = "fetch the source again, or let 'file' match others only"
            also = "; 'skip_empty: true' passes over such documents of a corpus" if document else ""
            raise UserError(f"{source}: file '{name}' has no records: {mend}{also}")


def _lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield decoded lines with their ends; split at line feeds only, as JSON Lines are."""
    number = 0
    try:
        with _opened(path) as f:
            for raw in [f.read().decode(encoding)] if encoding.lower().startswith("utf-16") else f:
                number += 1
                if isinstance(raw, str):
                    yield from raw.splitlines(keepends=True)
                else:
                    yield raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        kind = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        what = f"0x{error.object[error.start]:02x} at byte {error.start + 1} of the line; {kind}?"
        mend = "convert the file to UTF-8, or give its 'encoding'"
        raise UserError(f"{path}: line {number or 1}: not {encoding.upper()} ({what}): {mend}") from None
    except DAMAGED as error:
        what = "truncated" if isinstance(error, EOFError) else "damaged or no"
        raise UserError(f"{path}: {what} gzip file after line {number}: copy or download it again") from None


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _json_lines(path: Path, encoding: str) -> Iterator[Record]:
    for number, line in enumerate(_lines(path, encoding), 1):
        if line.strip():
            yield _record(_parsed(line.rstrip("\r\n"), f"{path}: line {number}"), f"{path}: line {number}", path.name)


def _json(path: Path, encoding: str) -> Iterator[Record]:
    """Yield the objects of an array, or those of an object, whose keys become the field '_key'.

    A file named .json that holds JSON Lines (as some datasets do) is read as such, and {"questions": [...]} as its array.
    """
    lines = (line for line in _lines(path, encoding) if line.strip())
    first, second = next(lines, ""), next(lines, "")
    if second and first.lstrip().startswith("{") and first.rstrip().endswith("}"):
        yield from _json_lines(path, encoding)
        return
    text = first + second + "".join(lines)
    if not text:
        return
    found = _parsed(text, str(path))
    if isinstance(found, dict) and found:
        arrays = [v for v in found.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if all(isinstance(v, dict) for v in found.values()):
            yield from (Record({KEY: k, **v}, f"{path}: key '{k}'", path.name) for k, v in found.items())
            return
        if len(arrays) == 1 and len(found) <= 2:
            found = arrays[0]
        elif not second:
            found = [found]  # JSON Lines of one line
    if not isinstance(found, list):
        raise UserError(f"{path}: holds {_kind(found)}; allowed: an array of objects, or one object a line")
    for number, value in enumerate(found, 1):
        yield _record(value, f"{path}: record {number}", path.name)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: malformed JSON: {error.msg} at {place}") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{where}: malformed JSON: {error}") from None


def _record(value: Any, where: str, file: str) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{where}: holds {_kind(value)}; allowed: an object with named fields")
    return Record(value, where, file)


def _kind(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return "true or false" if isinstance(value, bool) else "a number"
    names = {"dict": "an object", "list": "an array", "str": "a text"}
    return names.get(type(value).__name__, "null")


def _table(path: Path, delimiter: str, encoding: str, columns: Sequence[str]) -> Iterator[Record]:
    csv.field_size_limit(1 << 24)
    reader = csv.reader(_lines(path, encoding), delimiter=delimiter, strict=True)
    header: list[str] | None = list(columns) or None
    what = "'columns' names" if columns else "the header has"
    while True:
        begun = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path}: line {begun}: malformed row: {error}") from None
        if not row:
            continue
        if header is None:
            header = row
            continue
        if len(row) != len(header):
            raise UserError(f"{path}: line {begun}: {len(row)} columns, but {what} {len(header)}")
        yield Record(dict(zip(header, row, strict=True)), f"{path}: line {begun}", path.name)


def _document(path: Path, name: str, encoding: str) -> Iterator[Record]:
    text = "".join(_lines(path, encoding))
    yield from (Record(fields, str(path), path.name) for fields in read_document(name, text, str(path)))


def _tar(path: Path, encoding: str) -> Iterator[Record]:
    """Yield the documents of an archive, one member after the other, without unpacking it to disk."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).suffix.lower() in DOCUMENTS:
                    data, where = archive.extractfile(member), f"{path}: {member.name}"
                    try:
                        text = data.read().decode(encoding) if data else ""
                    except UnicodeDecodeError:
                        raise UserError(f"{where}: not {encoding.upper()}; 'encoding' can name another") from None
                    yield from (Record(f, where, member.name) for f in read_document(member.name, text, where))
    except (tarfile.TarError, *DAMAGED) as error:
        raise UserError(f"{path}: truncated or damaged archive ({error}): copy or download it again") from None


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(fields, f"{path}: row {number}", path.name)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no whole Parquet file ({str(error).splitlines()[0]})") from None
