"""JSON Lines: one object a line; blank lines are passed over, and a line that is wrong leaves the others readable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jmlr.corpus.formats.json_tree import Scanner, steps_of, walked
from jmlr.corpus.formats.json_values import Decoder, as_object, decoded
from jmlr.corpus.formats.opened import Input
from jmlr.corpus.record import RecordError
from jmlr.runtime.errors import UserError


def read(file: Input) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """Yield (place, fields) of each line, or of what the path `records` leads to in each line."""
    return read_lines(file.lines(), file)


def read_lines(lines: Iterable[str], file: Input) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """Yield (place, fields) from lines of text, or what is wrong with one; `file` says where they stand and how they are read."""
    steps, decoder = steps_of(file.reading.records), Decoder()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"line {number}"
        where = f"{file.where}: {place}"
        try:
            if steps:
                for inner, fields in walked(Scanner([line], where), steps):
                    yield f"{place}: {inner}", fields
            else:
                yield place, as_object(decoded(line.rstrip("\r\n"), where, decoder), where)
        except UserError as error:
            yield place, RecordError(where, str(error).removeprefix(f"{where}: "), "a line that cannot be read")
