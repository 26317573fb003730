"""What is wrong with given names and values, in one line that says where and what is allowed.

>>> nearest("trian", ["train", "index"])
" (did you mean 'train'?)"
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NewType

from jmlr.runtime.synonyms import here

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

NAMES = "[A-Za-z0-9][A-Za-z0-9_.-]*"  # the pattern of names in options
Word = NewType("Word", str)  # a list of them is given as words of the command line, or as one JSON list


def nearest(name: str, known: Any) -> str:
    """Return a hint for a name that is not among the known ones: ` (here: x)` for a well-known synonym, ` (did you mean 'x'?)`, or
    what is allowed.

    >>> nearest("target_modules", ["lora_targets", "lora_rank"])
    ' (here: lora_targets)'
    """
    known = list(known)
    if ours := here(name, known):
        return f" (here: {ours})"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else f" ({only(known)})"


def only(known: Collection[str]) -> str:
    """Say which names are allowed, all of them.

    >>> only({"index", "encode"})
    'allowed: encode, index'
    """
    return f"allowed: {', '.join(sorted(known))}" if known else "none is here"


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Say what pydantic found in one line for each fault: where, what was given, what is allowed."""
    return "; ".join(told(fault, model) for fault in error.errors())


def told(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Say what is wrong with one value: where, what was given (nothing of it where the fault has no `input`), what is allowed."""
    path, loc = ".".join(str(p) for p in fault["loc"]), fault["loc"]
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{path}'{nearest(str(loc[-1]), _keys_at(model, loc[:-1]))}"
    return f"{path + ': ' if path else ''}{_wanted(fault, loc[-1] if loc else 0)}"


def _wanted(fault: Mapping[str, Any], key: str | int) -> str:
    """Say what is wanted in place of what was given, and what to write where that is known."""
    kind, given = fault["type"], fault.get("input")
    shown = f" (given: {'nothing' if given is None else repr(given)})" if "input" in fault else ""
    if kind in ("dict_type", "model_type"):
        if shown and given is None and isinstance(key, str):
            return f"nothing stands after it; leave it out, or write `{key}: {{}}`"
        return f"a mapping of keys is wanted{shown}"
    if kind == "list_type":
        items = "0, 1, 2" if key == "seeds" else ", ".join(w.strip() for w in str(given).split(","))
        plain = key == "seeds" or (isinstance(given, str | int) and " " not in items.replace(", ", ""))
        return f"a list is wanted{f'; write `{key}: [{items}]`' if plain and isinstance(key, str) else ''}{shown}"
    message = fault["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and NAMES in fault["ctx"]["pattern"]:
        message = "a name has letters, digits, '_', '-' and '.', and begins with a letter or digit"
    return message + ("" if kind in ("value_error", "missing") else shown)


def _keys_at(model: Any, loc: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model that stands at a location inside another."""
    for part in loc:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        candidates = _models_in(field.annotation) if field else ([model] if hasattr(model, "model_fields") else [])
        if candidates:
            model = candidates[0]
    return list(getattr(model, "model_fields", {}))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]
