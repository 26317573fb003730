"""Files named .json: what `jmlr.corpus.formats.json_tree` says, or JSON Lines under that name, as some datasets have them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from jmlr.corpus.formats.json_lines import read_lines
from jmlr.corpus.formats.json_tree import Scanner, steps_of, walked
from jmlr.corpus.formats.opened import Input, lines
from jmlr.runtime.errors import UserError

HEAD = 1 << 22  # characters in which the end of the first line is looked for


def read(file: Input) -> Iterator[tuple[str, dict[str, Any] | UserError]]:
    """Yield (place, fields) of each record."""
    blocks = file.text()
    head = _head(blocks)
    text = chain([head], blocks)
    first, _, rest = head.lstrip().partition("\n")
    if first.startswith("{") and first.rstrip().endswith("}") and rest.strip():
        yield from read_lines(lines(text), file)
    else:
        yield from walked(Scanner(text, file.where), steps_of(file.reading.records))


def _head(blocks: Iterator[str]) -> str:
    """Return the first blocks of a text: its first line and the begin of another, if it has those."""
    parts: list[str] = []
    size, ended = 0, False
    for block in blocks:
        parts.append(block)
        size, ended = size + len(block), ended or "\n" in block
        if size > HEAD or (ended and "".join(parts).lstrip().partition("\n")[2].strip()):
            break
    return "".join(parts)
