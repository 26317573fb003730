"""What a message may repeat of the data: a little of public data, nothing of private data.

    with hidden(private):
        raise UserError(f"{where}: answer {quoted(answer)} is none of the options{closest(name, record.fields)}")

Everything that a message takes from a file (a value, the name of a column, an id) goes through `quoted`, and names that are
offered as hints through `closest`. Where the source is private both say nothing: without a header, the first clinical note
stands in the place of the columns' names.

>>> quoted("x" * 50)
"'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
>>> with hidden(True):
...     quoted("Mr Smith, 54"), closest("txt", ["text"])
('(private)', '')
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MOST, NAMES = 40, 12
_PRIVATE: ContextVar[bool] = ContextVar("private", default=False)


@contextmanager
def hidden(private: bool = True) -> Iterator[None]:
    """Keep what is read inside the block out of messages, if it is private."""
    before = _PRIVATE.set(private or _PRIVATE.get())
    try:
        yield
    finally:
        _PRIVATE.reset(before)


def quoted(value: object, most: int = MOST) -> str:
    """Return a value of the data in quotation marks, on one line and cut; '(private)' where nothing may be shown."""
    if _PRIVATE.get():
        return "(private)"
    text = " ".join(str(value).split())
    return f"'{text if len(text) <= most else text[:most] + '...'}'"


def closest(name: str, known: Iterable[object]) -> str:
    """Return a hint ` (did you mean 'x'?)`, or the first few names that there are; nothing where they are private."""
    names = [] if _PRIVATE.get() else sorted(map(str, known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {quoted(close[0])}?)"
    shown = ", ".join(quoted(n)[1:-1] for n in names[:NAMES])
    return f" (there are: {shown}{', ...' if len(names) > NAMES else ''})" if names else ""
