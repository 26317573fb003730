"""Indexes by their path: so they are pickled, and opened anew by a worker process that was spawned."""

from __future__ import annotations

from typing import Any, NamedTuple

from jmlr.topk.format import IndexFormatError


class Saved(NamedTuple):
    """Where an index lies on disk."""

    path: str  # absolute
    checksum: str  # of its manifest: another index may have taken the place
    verify: bool | None
    rows: tuple[int, int] | None = None  # the part of it, if it is not the whole

    def part(self, first: int, last: int) -> Saved:
        """Return rows first..last-1 of this."""
        begin = self.rows[0] if self.rows else 0
        return self._replace(rows=(begin + first, begin + last))


def reduced(index: Any, saved: Saved | None) -> tuple[Any, ...]:
    """Return what `pickle` wants of an index; raise TypeError unless it lies on disk as it is."""
    if saved is None:
        raise TypeError(  # as Python says it of whatever cannot be pickled
            f"{type(index).__name__}: not saved, or changed since; allowed: an index as `open` or `save` left it, which is "
            "pickled by its path"
        )
    return _reopen, (type(index), saved)


def _reopen(kind: Any, saved: Saved) -> Any:
    index = kind.open(saved.path, verify=saved.verify)
    if index._saved.checksum != saved.checksum:
        raise IndexFormatError(f"{saved.path}: another index than was there when this one was pickled")
    return index if saved.rows is None else index.rows(*saved.rows)
