"""The exceptions that speak to the person at the terminal, and the one mishap that has as many names as libraries."""

from __future__ import annotations

import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Rust's libraries and NumPy say it in words only: "Os { code: 28, ...", "os error 28", "512 requested and 0 written".
FULL_WORDS = re.compile(
    rf"(?:os error|code:|errno:?) ({'|'.join(map(str, FULL))})\b|\d+ requested and \d+ written", re.I
)


class UserError(Exception):
    """A mistake in the data, the configuration or the command; printed as one line, without a traceback.

    The message says what was wrong, the value, what is allowed, and which file, line, key or argument.
    """


class ConfigError(ValueError):
    """A wrong configuration; the message is one line that names the key and what is allowed."""


def shown(value: object, most: int = 40) -> str:
    """Return a value in quotation marks, on one line, without what would steer a terminal, and cut to `most` letters.

    >>> shown("a\\nb\\x1b[2J" + "c" * 50, 10)
    "'a b [2Jccc...'"
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return f"'{text if len(text) <= most else text[:most] + '...'}'"


def full_disk(error: BaseException | None) -> str:
    """Return one line about a full disk, a quota or a limit of file size if that is behind an exception, else ''."""
    while error is not None:
        words = FULL_WORDS.search(str(error))
        if (isinstance(error, OSError) and error.errno in FULL) or words:
            code = (
                error.errno
                if isinstance(error, OSError) and error.errno in FULL
                else int((words and words[1]) or FULL[0])
            )
            where = f" '{error.filename}'" if isinstance(error, OSError) and error.filename else ""
            return f"cannot write{where}: {os.strerror(code).lower()}; nothing half-written was left; make room and run it again"
        error = error.__cause__ or error.__context__
    return ""
