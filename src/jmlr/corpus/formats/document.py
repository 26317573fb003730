"""Text documents, read whole: what `jmlr.corpus.texts` makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jmlr.corpus.formats.opened import Input
from jmlr.corpus.texts import read_document


def read(file: Input, ending: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("", fields) of each part of a document; `ending` says its kind where its name does not."""
    name = file.name if file.name.lower().endswith(ending) else file.name + ending
    for fields in read_document(name, "".join(file.text()), file.where):
        yield "", fields
