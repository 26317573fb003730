"""Pairs of a 64-bit key and a row on disk, brought together by key a file at a time.

    keys = Buckets(folder, "texts")
    keys.add(text_hash("Fever."), 0)
    for rows in keys.groups(): ...                 # the rows of every key that more than one row has

A file holds 1/256 of the keys, so memory is bounded by that part: 0.2 MB for each million pairs.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]
BUCKETS, WAITING = 256, 1 << 16
_PAIR = np.dtype([("key", "u8"), ("row", "i8")])


class Buckets:
    """Pairs (key, row) on disk, in `BUCKETS` files by the top bits of the key."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._keys, self._rows = array("Q"), array("q")

    def add(self, key: int, row: int) -> None:
        """Append one pair; rows are added in ascending order."""
        self._keys.append(key)
        self._rows.append(row)
        if len(self._keys) >= WAITING:
            self._flush()

    def extend(self, keys: Keys, rows: Rows) -> None:
        """Append pairs: uint64 [N], int64 [N]."""
        self._keys.frombytes(keys.astype(np.uint64).tobytes())
        self._rows.frombytes(rows.astype(np.int64).tobytes())
        if len(self._keys) >= WAITING:
            self._flush()

    def _path(self, bucket: int) -> str:
        return os.path.join(self._folder, f"{self._name}-{bucket:03d}.bin")

    def _flush(self) -> None:
        pairs = np.empty(len(self._keys), _PAIR)
        pairs["key"], pairs["row"] = self._keys, self._rows
        bucket = (pairs["key"] >> np.uint64(56)).astype(np.int64)
        pairs = pairs[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > begin:
                with open(self._path(number), "ab") as f:
                    f.write(pairs[begin:end].tobytes())
        self._keys, self._rows = array("Q"), array("q")

    def groups(self) -> Iterator[Rows]:
        """Yield the rows of every key that more than one row has, in ascending order; the same at every call."""
        self._flush()
        for path in filter(os.path.exists, map(self._path, range(BUCKETS))):
            pairs = np.fromfile(path, _PAIR)
            pairs = pairs[np.argsort(pairs["key"], kind="stable")]
            borders = np.flatnonzero(np.diff(pairs["key"])) + 1
            begins, ends = np.r_[0, borders], np.r_[borders, len(pairs)]
            for i in np.flatnonzero(ends - begins > 1):
                yield pairs["row"][begins[i] : ends[i]]

    def remove(self) -> None:
        """Delete the files."""
        for number in range(BUCKETS):
            with suppress(FileNotFoundError):
                os.unlink(self._path(number))


def held(rows: Rows, asked: Rows) -> NDArray[np.bool_]:
    """Tell which of the rows asked for are among rows in ascending order."""
    if not len(rows):
        return np.zeros(len(asked), bool)
    return rows[np.minimum(np.searchsorted(rows, asked), len(rows) - 1)] == asked
