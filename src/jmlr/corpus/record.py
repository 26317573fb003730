"""One record as it was read from a file, and what is wrong with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jmlr.runtime.errors import UserError


@dataclass(frozen=True)
class Record:
    """One record of a file; `where` says which one, `file` is the name of its file, `fault` why it cannot be read."""

    fields: dict[str, Any]
    where: str
    file: str = ""
    fault: UserError | None = None


class RecordError(UserError):
    """What is wrong with one record.

    Args:
        where: its place
        what: what is wrong, the value, what is allowed
        kind: the same without what differs from record to record; empty: `what` says nothing of that
    """

    def __init__(self, where: str, what: str, kind: str = "") -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what, self.kind = where, what, kind or what
