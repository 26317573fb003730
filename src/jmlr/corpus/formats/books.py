"""Archives of OpenStax's books: modules in CNXML, in the order of the collections beside them.

An archive is that of a repository: `collections/*.collection.xml`, and `modules/m12345/index.cnxml`. Modules that no collection
names, and prefaces, are no part of a book. The option `records` says what is read: passages (the default), glossary, or
the class of the sections whose exercises are wanted, such as multiple-choice.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from jmlr.corpus.cnxml import Place, exercises, passages, places, terms
from jmlr.corpus.formats.archive import members
from jmlr.corpus.markup import parse
from jmlr.corpus.quotes import closest
from jmlr.runtime.errors import UserError


def read(path: Path, kind: str, records: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, fields) of each record of an archive.

    Args:
        path: the archive
        kind: "tar" or "zip"
        records: what to read: "", "passages", "glossary", or a class of sections with exercises

    Raises:
        UserError: a damaged archive, malformed XML, no module, or no exercises of the class.
    """
    modules, books = _contents(path, kind)
    if not modules:
        raise UserError(f"{path}: holds no index.cnxml; 'format: cnxml' reads the archives of OpenStax's books")
    wanted = [place for book in books for place in places(book)] or [Place(name) for name in modules]
    found, classes = False, Counter[str]()
    for place in wanted:
        where = f"{path}: {place.module}"
        if place.module not in modules:
            raise UserError(
                f"{where} is in a collection, and there is no such module: damaged, or not the whole archive"
            )
        module = _tree(modules[place.module], where)
        if module.get("class") == "preface":
            continue
        if records in ("", "passages"):
            read_from = passages(module, place)
        elif records == "glossary":
            read_from = terms(module, place)
        else:
            classes.update(s.get("class", "") for s in module.iter("{*}section") if s.find("{*}exercise") is not None)
            read_from = exercises(module, place, records)
        for fields in read_from:
            found = True
            yield where, fields
    if not found and records in ("", "passages", "glossary"):
        raise UserError(f"{path}: its modules have no {records or 'passages'}; let 'file' match other archives only")
    if not found:
        raise UserError(f"{path}: no exercises of the class '{records}'{closest(records, filter(None, classes))}")


def _contents(path: Path, kind: str) -> tuple[dict[str, bytes], list[Any]]:
    """Return the modules of an archive by their numbers, and its collections by their names."""
    modules: dict[str, bytes] = {}
    books: dict[str, Any] = {}
    for name, stream in members(path, kind):
        if name.endswith(".collection.xml"):
            books[name] = _tree(stream.read(), f"{path}: {name}")
        elif PurePosixPath(name).name == "index.cnxml":
            modules[PurePosixPath(name).parent.name] = stream.read()
    return modules, [books[name] for name in sorted(books)]


def _tree(data: bytes, where: str) -> Any:
    *_, (_, root) = parse(io.BytesIO(data), where)
    return root
