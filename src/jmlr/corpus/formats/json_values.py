"""One JSON value, strictly: NaN is nothing, infinity is refused, and so is a key that an object has twice.

>>> decoded('{"A": NaN, "b": [1e3]}', "a.jsonl: line 1")
{'A': None, 'b': [1000.0]}

Python's decoder reads NaN as a number, whose text would be the word "nan", 1e999 as infinity, and of a key that stands twice
the last value alone. (pandas writes NaN for what is missing.)
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from jmlr.corpus.quotes import quoted
from jmlr.runtime.errors import UserError


class RefusedError(ValueError):
    """A value that JSON can write, or Python can read, and that no record may hold."""


class Decoder(json.JSONDecoder):
    """Decodes values of JSON; `RefusedError` for what they may not hold."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_once, parse_float=self._number, parse_constant=self._number)
        self._infinite = False

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """Return the value that begins at a place of a text, and where it ends."""
        self._infinite = False
        value, end = super().raw_decode(s, idx)
        if self._infinite:
            raise RefusedError(infinite(value))
        return value, end

    def _number(self, text: str) -> float | None:
        value = float(text)
        self._infinite |= math.isinf(value)
        return None if math.isnan(value) else value


def decoded(text: str, where: str, decoder: Decoder | None = None) -> Any:
    """Return the value of a JSON text; whoever reads many gives a decoder.

    Raises:
        UserError: it is malformed, with the column, or holds what is refused.
    """
    try:
        return (decoder or Decoder()).decode(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: malformed JSON: {error.msg} at {place}") from None
    except (RecursionError, ValueError) as error:
        raise refused(where, error) from None


def refused(where: str, error: Exception) -> UserError:
    """Return what to say of a value that was read and is refused, or cannot be read by Python."""
    return UserError(f"{where}: {'' if isinstance(error, RefusedError) else 'malformed JSON: '}{error}")


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Return an object; raise UserError if the value is something else."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: holds {kind(value)}; allowed: an object with named fields")
    return value


def kind(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, (bool, int, float)):
        return "true or false" if isinstance(value, bool) else "a number"
    names = {"dict": "an object", "list": "an array", "str": "a text"}
    return names.get(type(value).__name__, "null")


def infinite(value: Any) -> str:
    """Return what to say of a value that holds infinity somewhere."""
    return f"{quoted('.'.join(_infinite_at(value) or []))} is infinite; allowed: a finite number, or null"


def _infinite_at(value: Any) -> list[str] | None:
    """Return the keys that lead to an infinite number; None if there is none."""
    if isinstance(value, float):
        return [] if math.isinf(value) else None
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        if (found := _infinite_at(inner)) is not None:
            return [str(key), *found]
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise RefusedError(f"the key {quoted(twice)} stands twice in one object")
    return fields
