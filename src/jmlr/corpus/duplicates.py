"""Which of many passages repeat one before them, exactly or nearly, in memory that does not grow with their number.

    duplicates = Duplicates(folder, near=0.9)
    for id, text in passages:
        duplicates.add(id, [text])
    duplicates.rows()                              # (rows to drop, rows kept in their place), sorted

64-bit keys (a hash of the id, of the normalised text, of every MinHash band) go with their row into bucket files by their
top bits; a bucket is sorted by itself, and equal keys stand together. Near-duplicates are found by MinHash with banding
(Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3): 64 hashes of 5-word shingles in 8 bands of 8, which
brings together 99 % of the pairs of Jaccard similarity 0.9 and 77 % of those of 0.8; a pair counts only if at least `near`
of the 64 hashes agree.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from jmlr.corpus.seen import exact_hash, text_hash
from jmlr.corpus.shingles import Hashes, ngrams, word_hashes
from jmlr.runtime.errors import UserError

Rows = NDArray[np.int64]
BUCKETS, WAITING = 64, 1 << 16
HASHES, BANDS, SHINGLE, MOST_COMPARED = 64, 8, 5, 32
_rng = np.random.Generator(np.random.PCG64(0x5EED))
_FACTORS = _rng.integers(1, 1 << 63, HASHES, np.uint64) | np.uint64(1)
_ADDENDS = _rng.integers(0, 1 << 63, HASHES, np.uint64)


class Buckets:
    """Pairs (key, row) on disk, in `BUCKETS` files by the top bits of the key."""

    def __init__(self, folder: Path, name: str) -> None:
        self.paths = [folder / f"{name}-{i:02d}.bin" for i in range(BUCKETS)]
        self._keys, self._rows = array("Q"), array("q")

    def add(self, key: int, row: int) -> None:
        """Append one pair; rows are added in ascending order."""
        self._keys.append(key)
        self._rows.append(row)
        if len(self._keys) >= WAITING:
            self._flush()

    def _flush(self) -> None:
        pairs = np.empty(len(self._keys), [("key", "u8"), ("row", "i8")])
        pairs["key"], pairs["row"] = self._keys, self._rows
        bucket = (pairs["key"] >> np.uint64(58)).astype(np.int64)
        pairs = pairs[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        for path, begin, end in zip(self.paths, [0, *ends[:-1]], ends, strict=True):
            if end > begin:
                with path.open("ab") as f:
                    f.write(pairs[begin:end].tobytes())
        self._keys, self._rows = array("Q"), array("q")

    def groups(self) -> Iterator[Rows]:
        """Yield the rows of every key that more than one row has, in ascending order."""
        self._flush()
        for path in self.paths:
            if not path.exists():
                continue
            pairs = np.fromfile(path, [("key", "u8"), ("row", "i8")])
            pairs = pairs[np.argsort(pairs["key"], kind="stable")]
            borders = np.flatnonzero(np.diff(pairs["key"])) + 1
            begins, ends = np.r_[0, borders], np.r_[borders, len(pairs)]
            for i in np.flatnonzero(ends - begins > 1):
                yield pairs["row"][begins[i] : ends[i]]
            path.unlink()


class Duplicates:
    """Collects passages, then tells which of them repeat an earlier one.

    Args:
        folder: for bucket files; 16 bytes a passage and key, 128 more with `near`
        exact: find texts that are the same when normalised
        near: find texts of this Jaccard similarity; 0: none
    """

    def __init__(self, folder: Path, exact: bool = True, near: float = 0.0) -> None:
        if near and not 0.7 <= near <= 1:
            raise UserError(f"near_duplicates {near}: allowed: 0 (no check), or 0.7 to 1")
        self.near, self.count = near, 0
        self._ids, self._texts, self._bands = (Buckets(folder, n) for n in ("ids", "texts", "bands"))
        self._exact, self._path = exact, folder / "signatures.bin"
        self._file = self._path.open("wb") if near else None

    def add(self, id: str, texts: list[str]) -> None:
        """Add a record: its id, and the passages it became."""
        if texts:
            self._ids.add(exact_hash(id), self.count)
        for text in texts:
            if self._exact:
                self._texts.add(text_hash(text), self.count)
            if self._file:
                signature = minhash(word_hashes(text))
                for band, values in enumerate(signature.reshape(BANDS, -1)):
                    self._bands.add(xxhash.xxh3_64_intdigest(values.tobytes(), band), self.count)
                self._file.write(signature.astype(np.uint16).tobytes())
            self.count += 1

    def repeated_id(self) -> int | None:
        """Return the first row whose id an earlier record has; None if all differ."""
        return min((int(rows[1]) for rows in self._ids.groups()), default=None)

    def rows(self) -> tuple[Rows, Rows, int]:
        """Return (rows to drop, in ascending order; for each the row that stays; how many are only nearly the same)."""
        kept: dict[int, int] = {}
        for rows in self._texts.groups():
            kept.update((int(r), int(rows[0])) for r in rows[1:])
        exact = len(kept)
        if self._file:
            self._file.close()
            self._join_near(kept)
            self._path.unlink()
        dropped = np.fromiter(sorted(kept), np.int64, len(kept))
        stays = np.fromiter((_last(kept, int(row)) for row in dropped), np.int64, len(kept))
        return dropped, stays, len(kept) - exact

    def _join_near(self, kept: dict[int, int]) -> None:
        if not self.count:
            return
        signatures = np.memmap(self._path, np.uint16, "r", shape=(self.count, HASHES))
        for rows in self._bands.groups():
            firsts: list[int] = []
            for row in dict.fromkeys(_last(kept, int(r)) for r in rows):
                same = (signatures[firsts] == signatures[row]).mean(1) if firsts else np.empty(0)
                near = np.flatnonzero(same >= self.near)
                if len(near):
                    first, later = sorted((firsts[near[0]], row))
                    kept[later] = first
                elif len(firsts) < MOST_COMPARED:
                    firsts.append(row)


def minhash(words: Hashes) -> NDArray[np.uint32]:
    """Return the MinHash signature of a text's shingles: uint32 [64]; a text shorter than one is one by itself."""
    shingles = ngrams(words, min(SHINGLE, max(1, len(words))))
    if not len(shingles):
        return np.zeros(HASHES, np.uint32)
    hashed = (shingles[:, None] * _FACTORS + _ADDENDS) >> np.uint64(32)
    return hashed.min(0).astype(np.uint32)


def _last(kept: dict[int, int], row: int) -> int:
    """Follow a dropped row to the one that stays."""
    while row in kept:
        row = kept[row]
    return row
