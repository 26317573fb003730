"""The package as it would be with one file edited, for tests of what an edit reaches: nothing is written to the disk."""

from __future__ import annotations

from jmlr.runtime.definitions import Module, parse
from jmlr.runtime.digest import PACKAGE
from jmlr.runtime.reach import OPTIONS, Source

KNOWN: dict[str, Module | None] = {}  # what was read of the files as they are


class Edited(Source):
    """The package with one file, by its module's name, that holds another text."""

    def __init__(self, name: str = "", text: str = "") -> None:
        super().__init__(PACKAGE)
        self._read.update(KNOWN)
        if name:
            self._read[name] = parse(text, name, options=name.startswith(OPTIONS))
        self._edited = name

    def module(self, name: str) -> Module | None:
        found = super().module(name)
        if name != self._edited:
            KNOWN[name] = found
        return found
