"""Which of many passages repeat one before them, exactly or nearly, in memory that does not grow with their number.

    duplicates = Duplicates(folder, near=0.9)
    for id, text in passages:
        duplicates.add(id, [text])
    duplicates.rows()                              # (rows to drop, rows kept in their place), sorted

64-bit keys (a hash of the id, of the normalised text) go with their row into bucket files by their top bits; a bucket is
sorted by itself, and equal keys stand together. What stays in memory is 16 bytes for each passage that is dropped.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from jmlr.corpus.buckets import Buckets, Rows, held
from jmlr.corpus.near_duplicates import NearDuplicates
from jmlr.corpus.seen import exact_hash, text_hash
from jmlr.corpus.shingles import word_hashes
from jmlr.runtime.errors import UserError


class Duplicates:
    """Collects passages, then tells which of them repeat an earlier one.

    Args:
        folder: for bucket files; 16 bytes a passage and key, and with `near` what `NearDuplicates` needs
        exact: find texts that are the same when normalised
        near: find texts of at least this Jaccard similarity; 0: none
    """

    def __init__(self, folder: Path, exact: bool = True, near: float = 0.0) -> None:
        if near and not 0.7 <= near <= 1:
            raise UserError(f"near_duplicates {near}: allowed: 0 (no check), or 0.7 to 1")
        self.count = 0
        self._ids, self._texts = Buckets(folder, "ids"), Buckets(folder, "texts") if exact else None
        self.near = NearDuplicates(folder, near) if near else None

    def add(self, id: str, texts: list[str]) -> None:
        """Add a record: its id, and the passages it became."""
        if texts:
            self._ids.add(exact_hash(id), self.count)
        for text in texts:
            if self._texts:
                self._texts.add(text_hash(text), self.count)
            if self.near:
                self.near.add(word_hashes(text))
            self.count += 1

    def repeated_id(self) -> int | None:
        """Return the first row whose id an earlier record has; None if all differ."""
        found = min((int(rows[1]) for rows in self._ids.groups()), default=None)
        self._ids.remove()
        return found

    def rows(self) -> tuple[Rows, Rows, int]:
        """Return (rows to drop, in ascending order; for each the row that stays; how many are only nearly the same)."""
        pairs = array("q")
        if self._texts:
            for rows in self._texts.groups():
                for row in rows[1:]:
                    pairs.extend((int(row), int(rows[0])))
            self._texts.remove()
        exact = _sorted(np.frombuffer(pairs, np.int64).reshape(-1, 2))
        if not self.near:
            return exact[:, 0], exact[:, 1], 0
        near = self.near.find(without=exact[:, 0])
        exact[:, 1] = replaced(
            exact[:, 1], near[:, 0], near[:, 1]
        )  # the first of some copies may nearly repeat another
        joined = _sorted(np.concatenate([exact, near]))
        return joined[:, 0], joined[:, 1], len(near)


def replaced(rows: Rows, dropped: Rows, stays: Rows) -> Rows:
    """Return rows with those that are dropped (ascending) replaced by the rows that stay."""
    found = rows.copy()
    away = held(dropped, rows)
    found[away] = stays[np.searchsorted(dropped, rows[away])]
    return found


def _sorted(pairs: Rows) -> Rows:
    return pairs[np.argsort(pairs[:, 0])]
