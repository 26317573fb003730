"""Records through an adapter: what makes records that we can read of a form that no option describes.

    for record in adapted(records, "mirage"): ...            # a function of jmlr.corpus.adapters, Record -> Records
    for record in adapted(records, "my_forms:exam"): ...     # one's own

One's own function takes a record as a dict (`_file` is the name of its file) and returns a dict, several of them (a list, or
by `yield`), or None to leave the record out:

    def exam(record):
        text, *options = re.split(r"\\n[A-E]\\)", record["text"])
        yield {"id": record["nr"], "question": text, "options": options, "answer": record["key"]}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from jmlr.corpus import adapters
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record, RecordError
from jmlr.runtime.errors import UserError
from jmlr.runtime.functions import function_of
from jmlr.runtime.validation import nearest

FILE = "_file"
Adapter = Callable[[Record], Iterable[Record]]


def adapted(records: Iterable[Record], name: str) -> Iterator[Record]:
    """Yield the records that an adapter makes; a record that it cannot take comes with its fault.

    Raises:
        UserError: there is no such adapter.
    """
    return _each(records, adapter_of(name)) if name else iter(records)


def adapter_of(name: str) -> Adapter:
    """Return an adapter by its name, or one's own as 'module:function'.

    Raises:
        UserError: there is none.
    """
    if ":" in name:
        function = function_of(name, "adapter", "a function record -> records")
        return lambda record: _own(function, name, record)
    known = {
        n: f for n, f in inspect.getmembers(adapters, inspect.isfunction)
        if f.__module__ == adapters.__name__ and not n.startswith("_")
    }  # fmt: skip
    if name not in known:
        raise UserError(f"adapter '{name}': no such adapter{nearest(name, known)}; one's own is 'module:function'")
    return known[name]


def _each(records: Iterable[Record], adapt: Adapter) -> Iterator[Record]:
    for record in records:
        try:
            yield from [record] if record.fault else adapt(record)
        except UserError as error:
            yield replace(record, fault=error)


def _own(function: Callable[[dict[str, Any]], Any], name: str, record: Record) -> Iterator[Record]:
    """Yield what one's own function makes of a record."""
    what = f"adapter '{name}'"
    try:
        made = function({**record.fields, FILE: record.file})
        found = [] if made is None else [made] if isinstance(made, Mapping) else list(made)
    except Exception as error:  # whatever the function does
        kind = f"{what}: {type(error).__name__}"
        raise RecordError(record.where, f"{kind}: {quoted(error, 200)}", kind) from None
    for number, fields in enumerate(found, 1):
        where = f"{record.where}: made {number}" if len(found) > 1 else record.where
        if not isinstance(fields, Mapping):
            said = f"{what} makes {type(fields).__name__}; allowed: a dict, several, or None"
            raise RecordError(where, said)
        yield Record(dict(fields), where, record.file)
