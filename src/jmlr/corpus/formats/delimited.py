"""CSV and TSV: a header that names the columns, or `columns`; every cell is the text that stands there.

'NA', 'null' and the zeros before a number stay: what a cell means, the reader of its field knows.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from jmlr.corpus.formats.opened import Input
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import RecordError
from jmlr.runtime.errors import UserError

OTHERS = {";": '";"', "\t": "tab", "|": '"|"', ",": '","'}  # delimiter -> as the option `delimiter` says it
NAMES = {"tab": "\t", "\\t": "\t"}
MOST = 1 << 24  # characters of a cell


def read_csv(file: Input) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """Yield (place, fields) of each row of a file with commas."""
    return _read(file, ",")


def read_tsv(file: Input) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """Yield (place, fields) of each row of a file with tabs."""
    return _read(file, "\t")


def _read(file: Input, usual: str) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    csv.field_size_limit(MOST)
    given = file.reading.delimiter
    lines, stated, skipped = _begin(file)
    delimiter = NAMES.get(given, given) or stated or usual
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(f"{file.where}: delimiter {quoted(delimiter)}; allowed: one character, or tab")
    columns = list(file.reading.columns)
    header = _unique(columns, f"{file.where}: 'columns'") if columns else None
    what, number = "'columns' names" if columns else "the header has", 0
    hint = ""
    for number, (begun, row) in enumerate(_rows(file, lines, delimiter, skipped)):
        where = f"{file.where}: line {begun}"
        if not number:
            hint = "" if given else _hint(row, delimiter)
            if row == columns:
                raise UserError(f"{where}: this is the header that 'columns' names; leave 'columns' out")
            if hint and len(row) == 1:
                raise UserError(f"{where}: one column, {quoted(row[0])}{hint}")
        if header is None:
            header = _unique(row, f"{where}: the header")
        elif len(row) != len(header):
            said = f"{len(row)} columns, but {what} {len(header)}{hint}"
            yield f"line {begun}", RecordError(where, said, "a row with another number of columns")
        else:
            fields = dict(zip(header, row, strict=True))
            fields.pop("", None)  # columns without a name, such as pandas' index
            yield f"line {begun}", fields


def _begin(file: Input) -> tuple[Iterator[str], str, int]:
    """Return the lines, and the delimiter that a first line `sep=;` states, which Excel reads, and the number of such lines."""
    lines = file.lines()
    first = next(lines, "")
    stated = re.fullmatch(r"sep=(.)\r?\n", first)
    return (lines, stated[1], 1) if stated else (chain([first] if first else [], lines), "", 0)


def _rows(file: Input, lines: Iterator[str], delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (the line where it begins, the cells) of each row that is not blank."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begun = reader.line_num + 1 + skipped
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{file.where}: line {begun}: malformed row: {error}") from None
        if row:
            yield begun, row


def _unique(names: Sequence[str], what: str) -> list[str]:
    """Return the names of columns; raise UserError if one stands twice: which of the two is meant, nobody can tell."""
    for name, count in Counter(n for n in names if n).items():
        if count > 1:
            raise UserError(f"{what} names {quoted(name)} {count} times; allowed: each column once")
    return list(names)


def _hint(row: list[str], delimiter: str) -> str:
    """Return a hint at another delimiter if the first row has as much of it, or more."""
    text = delimiter.join(row)
    best = max((d for d in OTHERS if d != delimiter), key=text.count)
    return f"; 'delimiter: {OTHERS[best]}' may be meant" if text.count(best) >= max(1, text.count(delimiter)) else ""
