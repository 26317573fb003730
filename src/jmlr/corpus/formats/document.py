"""Text documents: what `jmlr.corpus.texts` makes of them. XML is read in the encoding that it declares."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import Any, BinaryIO, cast

from jmlr.corpus.formats.opened import Input, check_text
from jmlr.corpus.quotes import quoted
from jmlr.corpus.texts import read_document


def read(file: Input, kind: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, fields) of each part of a document of a kind (`jmlr.corpus.texts.DOCUMENTS`).

    What has an id of its own, such as a PMID, is placed by it.
    """
    declared = kind not in ("txt", "md") and file.reading.encoding == "utf-8"  # another one was named
    if declared:
        check_text(cast(BufferedReader, file.stream).peek(16), file.where)
    text: str | BinaryIO = file.stream if declared else "".join(file.text())
    for number, fields in enumerate(read_document(file.name, text, file.where, kind), 1):
        own = not fields["id"].startswith(file.name)
        yield f"record {number}, {quoted(fields['id'])}" if own else "", fields
