"""Our fields in their records: renaming, paths, filters, and values that are checked where they are read.

    fields = Fields(FIELDS, {"text": "contents"}, include={"language": ["en*"]})
    if fields.keeps(record):
        fields.text(record, "title"), fields.text(record, "text", required=True)

A path goes into a record: `meta.title`, `answers.0.text` (the first of a list), `answers.*.text` (the list of the texts of
all answers; `*` stands for all items of a list or all values of an object). A key that has dots itself wins over a path.

Messages name the record, never its text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from jmlr.corpus.cleaning import plain
from jmlr.corpus.formats.delimited import OTHERS
from jmlr.corpus.quotes import closest, quoted
from jmlr.corpus.record import Record, RecordError
from jmlr.runtime.errors import UserError


class Fields:
    """Reads our fields from records whose names differ (`mapping`: ours -> theirs: a key, a path, or several of them).

    'a, b, c' is the list of those fields, such as options that stand in a column each. With `clean`, texts are cleaned by
    `jmlr.corpus.cleaning.plain`.

    A name that was given and stands in no record at all is an error (`unseen`): a typing error must not look like missing
    data.
    """

    def __init__(
        self,
        known: Sequence[str],
        mapping: Mapping[str, str] | None = None,
        include: Mapping[str, Sequence[str]] | None = None,
        exclude: Mapping[str, Sequence[str]] | None = None,
        clean: bool = False,
    ) -> None:
        self.clean = clean
        self.mapping, self.include, self.exclude = dict(mapping or {}), dict(include or {}), dict(exclude or {})
        for ours in self.mapping:
            if ours not in known:
                raise UserError(f"fields: we have no field '{ours}'{closest(ours, known)}")
        self._unseen = {*self.mapping.values(), *self.include, *self.exclude}
        self._keys: set[str] = set()

    def keeps(self, record: Record) -> bool:
        """Tell whether a record passes the filters: every `include` field matches, no `exclude` field does."""
        if self._unseen:
            self._keys.update(record.fields)
            self._unseen = {name for name in self._unseen if not _has(record.fields, name)}
        return all(_matches(record.fields, k, v) for k, v in self.include.items()) and not any(
            _matches(record.fields, k, v) for k, v in self.exclude.items()
        )

    def unseen(self, what: str) -> Iterator[RecordError]:
        """Yield an error for each given name that stood in none of the records seen; `what` is where they are from."""
        for name in sorted(self._unseen):
            said = f"no record has the field '{name}'{closest(name, self._keys)}"
            yield RecordError(what, said, _missing(name))

    def value(self, record: Record, name: str) -> Any:
        """Return a field as it stands; None where there is none."""
        value = _at(record.fields, self.mapping.get(name, name))
        return _cleaned(value) if self.clean else value

    def text(self, record: Record, name: str, *, required: bool = False) -> str:
        """Return a field as text without blanks around it; a number becomes its digits, nothing becomes ''.

        A list of one is what it holds: answers often stand in one.

        Raises:
            UserError: it is missing or empty where it is required, or no text.
        """
        value, theirs = only(self.value(record, name)), self.mapping.get(name, name)
        where = self.place(record.where, name)
        if required and value is None and not _has(record.fields, theirs):
            fix = _inside(record, theirs) or _joined(record, theirs) or f"'fields' can rename {name}"
            said = f"no field '{theirs}'{closest(theirs, record.fields)}; {fix}"
            raise RecordError(record.where, said, _missing(theirs))
        text = as_text(value, where, f"'{name}'")
        if required and not text:
            raise RecordError(where, f"'{name}' is empty")
        return text

    def id(self, record: Record, name: str = "id") -> str:
        """Return an identifier; blanks inside become '_', since run files are separated by blanks."""
        return as_id(self.text(record, name, required=True))

    def known_id(self, record: Record) -> str:
        """Return the identifier of a record, "" where it has none."""
        try:
            return "" if record.fault else self.id(record)
        except UserError:
            return ""

    def has(self, record: Record, name: str) -> bool:
        """Tell whether a record has a field, whatever stands in it."""
        return _has(record.fields, self.mapping.get(name, name))

    def texts(self, record: Record, name: str) -> list[str]:
        """Return a field as a list of texts; one text is a list of one, nothing is an empty list."""
        value = self.value(record, name)
        if value is None or value == "":
            return []
        where = self.place(record.where, name)
        return [as_text(v, where, f"'{name}'") for v in (value if isinstance(value, list) else [value])]

    def place(self, where: str, name: str) -> str:
        """Return the place of a field in a record for messages: with its own name, where that is not ours.

        >>> Fields(["answer"], {"answer": "key"}).place("exam.csv: line 3", "answer")
        "exam.csv: line 3, field 'key'"
        """
        return f"{where}, field '{self.mapping[name]}'" if name in self.mapping else where


def as_text(value: Any, where: str, name: str) -> str:
    """Return a text or number as text, nothing (null, not a number) as "".

    Args:
        value: what stands in the record
        where: place of the record
        name: what it is, for the message

    Raises:
        RecordError: it is something else, infinite, or holds half a character.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.isascii():  # most texts: what follows is for the others
            return text
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    kind = name.split()[0]  # of "option 'B'": every option
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        said = f"is {type(value).__name__}; allowed: a text or a number"
        raise RecordError(where, f"{name} {said}", f"{kind} {said}")
    if isinstance(value, float) and math.isinf(value):
        said = "is infinite; allowed: a text or a finite number"
        raise RecordError(where, f"{name} {said}", f"{kind} {said}")
    text = str(value).strip()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            said = "holds half of a surrogate pair, which is no character; allowed: Unicode text"
            raise RecordError(where, f"{name} {said}", f"{kind} {said}") from None
    return text


def _missing(name: str) -> str:
    return f"no field '{name}'"


def _inside(record: Record, name: str) -> str:
    """Return a hint at `records` if a JSON object holds one list of objects that have a field which it does not have."""
    lists = [k for k, v in record.fields.items() if isinstance(v, list) and v and isinstance(v[0], dict)]
    found = [k for k in lists if _has(record.fields[k][0], name)]
    named = len(found) == 1 and ".json" in record.file.lower()
    return f"the objects in its list {quoted(found[0])} have one: 'records' can name that list" if named else ""


def _joined(record: Record, name: str) -> str:
    """Return a hint at `delimiter` if a column's name is several names, one of them this, with another delimiter between."""
    for key in record.fields:
        for delimiter, said in OTHERS.items():
            if delimiter in key and name in map(str.strip, key.split(delimiter)):
                return f"the column {quoted(key)} holds that name: 'delimiter: {said}' may be meant"
    return ""


def as_id(text: str) -> str:
    """Return an identifier without blanks."""
    return "_".join(text.split())


def joined(id: str) -> str:
    """Return a hint for an id that stands there twice: 'a b' and 'a_b' are one."""
    return "; blanks in ids become '_'" if "_" in id else ""


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_cleaned(v) for v in value]
    return {k: _cleaned(v) for k, v in value.items()} if isinstance(value, dict) else value


def only(value: Any) -> Any:
    """Return what a list of one holds, None for an empty list, and anything else as it is."""
    return (value[0] if value else None) if isinstance(value, list) and len(value) < 2 else value


def _has(fields: Mapping[str, Any], name: str) -> bool:
    """Tell whether a record has a key, whatever stands there; of a path, whether anything stands at its end."""
    if name not in fields and "," in name:
        return any(_has(fields, part.strip()) for part in name.split(","))
    found = _at(fields, name)
    return name in fields or (any(v is not None for v in found) if isinstance(found, list) else found is not None)


def _at(fields: Mapping[str, Any], name: str) -> Any:
    """Return the value under a key, or along a path; several keys or paths give the list of their values."""
    if name in fields:
        return fields[name]
    if "," in name:
        return [_at(fields, part.strip()) for part in name.split(",")]
    return _along(fields, name.split(".")) if "." in name else None


def _along(value: Any, path: Sequence[str]) -> Any:
    """Return what stands at the end of a path of keys, places in a list and `*`; None where it leads nowhere."""
    for depth, key in enumerate(path):
        if key == "*":
            inside = list(value.values()) if isinstance(value, Mapping) else value
            found = [_along(v, path[depth + 1 :]) for v in inside] if isinstance(inside, list) else []
            return [v for part in found for v in part] if "*" in path[depth + 1 :] else found
        if isinstance(value, Mapping):
            value = value.get(key)
        else:
            value = value[int(key)] if isinstance(value, list) and key.isdecimal() and int(key) < len(value) else None
    return value


def _matches(fields: Mapping[str, Any], name: str, patterns: Sequence[str]) -> bool:
    value = _at(fields, name)
    values = value if isinstance(value, list) else [value]
    return any(fnmatchcase("" if v is None else str(v).strip(), pattern) for v in values for pattern in patterns)
