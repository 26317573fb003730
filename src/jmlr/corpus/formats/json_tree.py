"""JSON files of any size: an array, an object of objects, or records deep inside; in memory is one record at a time.

    steps = steps_of("exams.*.data")                     # every exam's array; '*' stands for each key, or each element
    for place, fields in walked(Scanner(blocks, "a.json"), steps):
        place, fields                                    # "exams: key '2013': data: record 1", {"_key": "2013", ...}

Without a path, an array gives its elements. Of an object the records are its values, if all are objects (their keys
become the field '_key'), or the elements of its array of objects, if there is at most one other value, or else the object
itself is one. `$` as path says that the file's value is one record.

The decoder is Python's, over a window of the text that moves on. Of the streaming libraries, ijson refuses NaN and whole
numbers over 64 bits, and replaces half a surrogate pair by a question mark (version 3.6, yajl2_c).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from jmlr.corpus.formats.json_values import Decoder, as_object, kind, refused
from jmlr.corpus.quotes import closest, quoted
from jmlr.runtime.errors import UserError

KEY = "_key"
LONGEST = 16  # characters of the longest thing that the decoder may see half of and misplace: -Infinity, \ud83d\ude00
_BLANKS = re.compile(r"[ \t\r\n]*")
Found = Iterator[tuple[str, dict[str, Any]]]


def steps_of(path: str) -> list[str]:
    """Return the steps of a path; `$`, the file's own value, may stand before them."""
    return path.split(".") if path else []


def walked(scanner: Scanner, steps: list[str]) -> Found:
    """Yield (place, fields) of the records that a path leads to; without one, as the file's form tells.

    Raises:
        UserError: malformed JSON with line and column, a step that leads nowhere, a key twice, infinity, no object.
    """
    if steps[:1] == ["$"]:
        whole, steps = len(steps) == 1, steps[1:]
        yield from _below(scanner, steps, [], "", whole)
    elif steps:
        yield from _below(scanner, steps, [], "", False)
    elif scanner.peek() == "{":
        yield from _of_object(scanner, [], inside=True)
    elif scanner.peek():
        yield from _below(scanner, [], [], "", False)
    if scanner.peek():
        raise scanner.malformed("Extra data", scanner.at)


def _below(scanner: Scanner, steps: list[str], place: list[str], key: str, whole: bool) -> Found:
    """Yield the records below one value; `whole`: an object is a record, not a collection of them."""
    if not steps:
        yield from _at_end(scanner, place, key, whole)
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        for entry in scanner.entries(place):
            named = isinstance(entry, str)
            joined = f"{key}.{entry}" if named and key else str(entry) if named else key
            yield from _below(scanner, rest, [*place, _named(entry)], joined, True)
        return
    if scanner.peek() != "{":
        what = "an array here: '*' takes its elements" if scanner.peek() == "[" else "no object here"
        raise UserError(f"{scanner.at_place(place)}: records: '{step}': {what}")
    seen: list[str] = []
    for entry in scanner.entries(place):
        seen += [str(entry)] if len(seen) < 100 else []
        if entry == step:
            yield from _below(scanner, rest, [*place, step], key, False)
        else:
            scanner.skip(place)
    if step not in seen:
        raise UserError(f"{scanner.at_place(place)}: records: no '{step}'{closest(step, seen)}")


def _at_end(scanner: Scanner, place: list[str], key: str, whole: bool) -> Found:
    opening = scanner.peek()
    if opening == "[":
        yield from _of_array(scanner, place, key)
    elif opening == "{" and not whole:
        yield from _of_object(scanner, place)
    else:
        yield scanner.record(place, key)


def _of_array(scanner: Scanner, place: list[str], key: str) -> Found:
    for entry in scanner.entries(place):
        yield scanner.record([*place, _named(entry)], key)


def _of_object(scanner: Scanner, place: list[str], inside: bool = False) -> Found:
    """Yield the objects of an object, those of its one array if `inside`, or the object itself, whatever it turns out to be."""
    own: dict[str, Any] = {}  # its values until they tell what it is
    form, number, meant = "", 0, "names those that are meant"
    for number, entry in enumerate(scanner.entries(place), 1):
        here, array = [*place, _named(entry)], inside and scanner.opens_objects()
        if form and (scanner.peek() != "{" if form == "objects" else array or number > 2):
            fix = f"'records' {meant}" + (", or '$' the whole as one" if inside else "")
            raise UserError(f"{scanner.at_place(here)}: no record, beside the records before it; {fix}")
        if form == "objects":
            yield scanner.record(here, str(entry))
        elif array and number <= 2:
            form, meant = "array", f"names those that are meant, such as {quoted(entry)}"
            yield from _of_array(scanner, place, "")
        else:
            own[str(entry)] = scanner.value(here)
            if number == 2 and not form and all(isinstance(v, dict) for v in own.values()):
                form = "objects"
                yield from _objects(own, place)
                own = {}
    if own and not form:
        single = number == 1 and isinstance(next(iter(own.values())), dict)
        yield from _objects(own, place) if single else [(": ".join(place) or "record 1", own)]


def _objects(own: dict[str, Any], place: list[str]) -> Found:
    for key, fields in own.items():
        yield ": ".join([*place, _named(key)]), {KEY: key, **fields}


def _named(entry: str | int) -> str:
    return f"record {entry}" if isinstance(entry, int) else f"key {quoted(entry)}"


class Scanner:
    """Reads JSON from blocks of text, going into arrays and objects one entry at a time.

    Args:
        blocks: the text
        where: its file, for messages
    """

    def __init__(self, blocks: Iterable[str], where: str) -> None:
        self.where, self.text, self.at = where, "", 0
        self._blocks, self._decoder = iter(blocks), Decoder()
        self._line, self._column = 1, 1  # of the first character of `text`

    def peek(self) -> str:
        """Return the next character that is no blank; "" at the end."""
        while True:
            self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def opens_objects(self) -> bool:
        """Tell whether the next value is an array whose first element is an object."""
        if self.peek() != "[":
            return False
        while True:
            at = _BLANKS.match(self.text, self.at + 1).end()  # type: ignore[union-attr]
            if at < len(self.text) or not self._more():
                return self.text[at : at + 1] == "{"

    def entries(self, place: list[str]) -> Iterator[str | int]:
        """Yield each key of an object, or each number (from 1) of an array; who asks for the next has read the value."""
        opening = self._take("[{")
        closing = "]" if opening == "[" else "}"
        if self.peek() == closing:
            self.at += 1
            return
        number, seen = 0, set[str]()
        while True:
            number += 1
            entry: str | int = number
            if opening == "{":
                entry = self._key(place)
                if entry in seen:
                    raise UserError(f"{self.at_place(place)}: the key {quoted(entry)} stands twice in one object")
                seen.add(entry)
            yield entry
            if self._take("," + closing) == closing:
                return

    def value(self, place: list[str]) -> Any:
        """Return the next value, read on until all of it is there."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.pos > len(self.text) - LONGEST or error.msg.startswith("Unterminated string")
                if not (cut and self._more()):
                    raise self.malformed(error.msg, error.pos) from None
            except (RecursionError, ValueError) as error:
                raise refused(self.at_place(place), error) from None
            else:
                if end < len(self.text) or not self._more():  # a number may go on
                    self.at = end
                    return value

    def record(self, place: list[str], key: str = "") -> tuple[str, dict[str, Any]]:
        """Return the next value, which must be an object, and its place; `key` becomes its field '_key'."""
        fields = self.value(place)
        if not place and not isinstance(fields, dict):
            allowed = "allowed: an array of objects, or one object a line"
            raise UserError(f"{self.where}: holds {kind(fields)}; {allowed}")
        fields = as_object(fields, self.at_place(place))
        return ": ".join(place) or "record 1", {KEY: key, **fields} if key else fields

    def skip(self, place: list[str]) -> None:
        """Pass over the next value, an entry at a time."""
        if self.peek() and self.peek() in "[{":
            for _ in self.entries(place):
                self.value(place)
        else:
            self.value(place)

    def at_place(self, place: list[str]) -> str:
        """Return a place, for messages."""
        return ": ".join([self.where, *place])

    def malformed(self, what: str, at: int) -> UserError:
        """Return what to say of malformed JSON at a place of `text`."""
        before = self.text[:at]
        line = self._line + before.count("\n")
        column = at - before.rfind("\n") if "\n" in before else self._column + at
        return UserError(f"{self.where}: malformed JSON: {what} at line {line}, column {column}")

    def _key(self, place: list[str]) -> str:
        if self.peek() != '"':
            raise self.malformed("Expecting property name enclosed in double quotes", self.at)
        key = str(self.value(place))
        self._take(":")
        return key

    def _take(self, allowed: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            raise self.malformed("Expecting " + " or ".join(f"'{c}'" for c in allowed), self.at)
        self.at += 1
        return found

    def _more(self) -> bool:
        """Read on, as much as is unread at least: a value of many blocks then takes linear time; False at the end."""
        unread, blocks, got = len(self.text) - self.at, [], 0
        for block in self._blocks:
            blocks.append(block)
            got += len(block)
            if got >= unread:
                break
        if got:
            read = self.text[: self.at]
            newlines = read.count("\n")
            self._line += newlines
            self._column = len(read) - read.rfind("\n") if newlines else self._column + len(read)
            self.text, self.at = "".join(chain([self.text[self.at :]], blocks)), 0
        return bool(got)
