"""What a message may repeat of the data: a little of public data, nothing of private data.

    with hidden(private):
        raise UserError(f"{where}: answer {quoted(answer)} is none of the options{closest(name, record.fields)}")

Everything that a message takes from a file (a value, the name of a column, an id) goes through `quoted`, and names that are
offered as hints through `closest`. Where the source is private both say nothing: without a header, the first clinical note
stands in the place of the columns' names. An exception that nobody foresaw may quote anything, so inside such a block only its
kind and its place are told.

>>> quoted("x" * 50)
"'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
>>> with hidden(True):
...     quoted("Mr Smith, 54"), closest("txt", ["text"])
('(private)', '')
"""

from __future__ import annotations

import difflib
import hashlib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from jmlr.runtime.errors import UserError, full_disk, shown

MOST, NAMES = 40, 12
_PRIVATE: ContextVar[bool] = ContextVar("private", default=False)


@contextmanager
def hidden(private: bool = True) -> Iterator[None]:
    """Keep what is read inside the block out of messages, if it is private.

    Raises:
        UserError: instead of an exception that is none; it tells the exception's kind and place, and not its message.
    """
    before = _PRIVATE.set(private or _PRIVATE.get())
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not _PRIVATE.get() or full_disk(error):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
        raise UserError(f"{place}; its message may quote private data and is not shown") from None
    finally:
        _PRIVATE.reset(before)


def quoted(value: object, most: int = MOST) -> str:
    """Return a value of the data in quotation marks, on one line and cut; '(private)' where nothing may be shown."""
    return "(private)" if _PRIVATE.get() else shown(value, most)


def known_as(id: str) -> str:
    """Return an id as lists may show it: itself, or the beginning of its SHA-256 where it is private.

    >>> with hidden(True):
    ...     known_as("smith-1954")
    'sha256:53b5ca1c046f0669'
    """
    return f"sha256:{hashlib.sha256(id.encode(errors='replace')).hexdigest()[:16]}" if id and _PRIVATE.get() else id


def closest(name: str, known: Iterable[object]) -> str:
    """Return a hint ` (did you mean 'x'?)`, or the first few names that there are; nothing where they are private."""
    names = [] if _PRIVATE.get() else sorted(map(str, known))
    if padded := next((n for n in names if n.strip() == name != n), None):
        return f" (there is {padded!r}, with a blank around it)"  # which `quoted` would not show
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {quoted(close[0])}?)"
    shown = ", ".join(quoted(n)[1:-1] for n in names[:NAMES])
    return f" (there are: {shown}{', ...' if len(names) > NAMES else ''})" if names else ""
