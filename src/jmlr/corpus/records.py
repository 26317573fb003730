"""Records from files, one at a time, each knowing where it stands, so that an error can name file and line.

JSON Lines, CSV, TSV (each also as .gz) and Parquet are streamed; a JSON array is read whole. Text is UTF-8.

    for record in read_records(Path("passages.jsonl.gz")):
        record.fields["id"], record.where            # '...', 'passages.jsonl.gz: line 12'

Messages never quote a record's text, which may be clinical.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from jmlr.runtime.errors import UserError

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Record:
    """One record of a file; `where` says which one."""

    fields: dict[str, Any]
    where: str


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a fetched folder that match a glob pattern, in the order of their names; never its manifest, never hidden ones.

    Raises:
        UserError: none matches.
    """
    files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("[!.]*")) if p.is_file()}
    files.pop("manifest.json", None)
    found = [path for name, path in files.items() if fnmatchcase(name, pattern)]
    if not found:
        hint = closest(pattern, files) if files else " (the folder is empty)"
        raise UserError(f"{folder}: no file matches '{pattern}'{hint}")
    return found


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file by the format that its name tells.

    Raises:
        UserError: an unknown format, or a damaged record: with the file and the line.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if kind == ".json":
        return _json(path)
    if kind in (".csv", ".tsv"):
        return _table(path, "," if kind == ".csv" else "\t")
    if kind == ".parquet":
        return _parquet(path)
    raise UserError(f"{path}: unknown format '{kind}' (allowed: {', '.join(FORMATS)}; text formats also as .gz)")


def closest(name: str, known: Iterable[str]) -> str:
    """Return a hint ` (did you mean 'x'?)`, or the first few that there are."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (there are: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''})" if names else ""


def _lines(path: Path) -> Iterator[str]:
    """Yield decoded lines with their ends; split at line feeds only, as JSON Lines are."""
    number = 0
    try:
        with _opened(path) as f:
            for raw in f:
                number += 1
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        what = f"0x{error.object[error.start]:02x} at byte {error.start + 1} of the line; {kind}?"
        raise UserError(f"{path}: line {number}: not UTF-8 ({what}): convert the file to UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "truncated" if isinstance(error, EOFError) else "damaged or no"
        raise UserError(f"{path}: {what} gzip file after line {number}: copy or download it again") from None


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _json_lines(path: Path) -> Iterator[Record]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield _record(_parsed(line.rstrip("\r\n"), f"{path}: line {number}"), f"{path}: line {number}")


def _json(path: Path) -> Iterator[Record]:
    """Yield the objects of an array; a file named .json that holds JSON Lines (as some datasets do) is read as such."""
    lines = _lines(path)
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{") and first.rstrip().endswith("}"):
        yield from _json_lines(path)
        return
    text = first + "".join(lines)
    if not text:
        return
    found = _parsed(text, str(path))
    if not isinstance(found, list):
        raise UserError(f"{path}: holds {_kind(found)}; allowed: an array of objects, or one object a line")
    for number, value in enumerate(found, 1):
        yield _record(value, f"{path}: record {number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: malformed JSON: {error.msg} at {place}") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{where}: malformed JSON: {error}") from None


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{where}: holds {_kind(value)}; allowed: an object with named fields")
    return Record(value, where)


def _kind(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return "true or false" if isinstance(value, bool) else "a number"
    names = {"dict": "an object", "list": "an array", "str": "a text"}
    return names.get(type(value).__name__, "null")


def _table(path: Path, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(1 << 24)
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
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
            raise UserError(f"{path}: line {begun}: {len(row)} columns, but the header has {len(header)}")
        yield Record(dict(zip(header, row, strict=True)), f"{path}: line {begun}")


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(fields, f"{path}: row {number}")
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no whole Parquet file ({str(error).splitlines()[0]})") from None
