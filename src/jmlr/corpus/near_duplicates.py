"""Texts whose sets of 5-word shingles have at least a given Jaccard similarity: found by MinHash, judged exactly.

    near = NearDuplicates(folder, threshold=0.9)
    near.add(word_hashes("..."))                   # row 0
    near.find()                                    # int64 [D, 2]: rows to drop, each with the row that stays

MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3) only nominates: texts that agree in
all hashes of a band. `banding` chooses bands so that 99.5 % of the pairs at the threshold meet in one. The shingles
themselves, which stay on disk, then decide. A text is dropped in favour of an earlier one that stays and is at least as
similar as the threshold to it, never by way of a third.
"""

from __future__ import annotations

import math
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jmlr.corpus.buckets import Buckets, Rows, held
from jmlr.corpus.shingles import Hashes, combined, ngrams

SHINGLE, HASHES, RECALL = 5, 80, 0.995
MOST_COMPARED = 1000  # texts of one band that differ: more are boilerplate, and comparing all with all would not end
_rng = np.random.Generator(np.random.PCG64(0x5EED))
_FACTORS = _rng.integers(1, 1 << 63, HASHES, np.uint64) | np.uint64(1)
_ADDENDS = _rng.integers(0, 1 << 63, HASHES, np.uint64)
_BATCH = 8192


def banding(threshold: float) -> tuple[int, int]:
    """Return (bands, hashes in each): as selective as `HASHES` hashes allow with `RECALL` of the pairs at the threshold.

    A pair of similarity s agrees in a band of r hashes with probability s^r, so in one of b with 1 - (1 - s^r)^b.
    """
    for rows in range(16, 0, -1):
        missed = 1 - threshold**rows
        bands = math.ceil(math.log(1 - RECALL) / math.log(missed)) if missed else 1
        if bands * rows <= HASHES:
            return bands, rows
    raise ValueError(f"threshold {threshold}")


def shingles(words: Hashes) -> Hashes:
    """Return a text's shingles, in order: uint64 [S]; a text shorter than one is one by itself."""
    return ngrams(words, min(SHINGLE, max(1, len(words))))


def minhash(found: Hashes, begins: Rows, hashes: int = HASHES) -> NDArray[np.uint32]:
    """Return the MinHash signatures of texts: uint32 [N, hashes].

    Args:
        found: the shingles of all texts, one text after the other: uint64 [S]
        begins: where each begins: int64 [N]; none is empty
        hashes: how many
    """
    hashed = found[:, None] * _FACTORS[:hashes] + _ADDENDS[:hashes]
    return (np.minimum.reduceat(hashed, begins, axis=0) >> np.uint64(32)).astype(np.uint32)


class NearDuplicates:
    """Collects texts as sets of shingles, then tells which of them nearly repeat an earlier one.

    Args:
        folder: for its files: 8 bytes a word, 16 bytes a band
        threshold: the least Jaccard similarity, 0.7 to 1

    `unfinished` counts texts that were compared with `MOST_COMPARED` others of a band only.
    """

    def __init__(self, folder: Path, threshold: float) -> None:
        self.threshold, self.unfinished = threshold, 0
        self.bands, self.hashes = banding(threshold)
        self._keys, self._sets = Buckets(folder, "bands"), _Sets(folder)
        self._waiting: list[Hashes] = []
        self._words = self._count = 0

    def add(self, words: Hashes) -> None:
        """Add a text, which is the next row, by the hashes of its words; one without words is like no other."""
        self._waiting.append(words)
        self._words += len(words)
        if self._words >= _BATCH or len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        found, sizes = _shingles_of(self._waiting)
        self._sets.extend(found, sizes)
        rows = np.flatnonzero(sizes)
        if len(rows):
            begins = (np.cumsum(sizes) - sizes)[rows]
            signatures = minhash(found, begins, self.bands * self.hashes)
            parts = signatures.reshape(-1, self.bands, self.hashes).astype(np.uint64)
            bands = np.arange(self.bands, dtype=np.uint64)
            keys = combined([bands, *(parts[..., i] for i in range(self.hashes))])
            self._keys.extend(keys.ravel(), np.repeat(rows + self._count, self.bands))
        self._count += len(self._waiting)
        self._waiting, self._words = [], 0

    def find(self, without: Rows | None = None) -> Rows:
        """Return the rows to drop, ascending, each with the row that stays: int64 [D, 2]; then the files are gone.

        Args:
            without: rows that are dropped already, ascending

        A text that nearly repeats one that is dropped itself, in favour of one unlike it, comes back; those that are kept
        are then compared once more, until no two of a band are near.
        """
        self._flush()
        away = np.empty(0, np.int64) if without is None else without
        pairs, dropped, returned = _Pairs(), np.empty((0, 2), np.int64), 1
        while returned and self._compare(pairs, np.union1d(away, dropped[:, 0])):
            dropped, returned = self._settled(pairs)
        self._keys.remove()
        self._sets.remove()
        return dropped

    def _compare(self, pairs: _Pairs, without: Rows) -> bool:
        """Add the pairs that are near: each text of a band with those before it that are not; tell whether any is new."""
        before = len(pairs.all())
        self.unfinished = 0
        for group in self._keys.groups():
            rows = group[~held(without, group)] if len(without) else group
            if len(rows) > 2 or (len(rows) == 2 and not pairs.holds(*rows[::-1])):  # most pairs meet in several bands
                for later, earlier in self._compared(rows):
                    pairs.add(later, earlier)
        return len(pairs.all()) > before

    def _compared(self, rows: Rows) -> Iterator[tuple[int, int]]:
        firsts = [int(rows[0])]
        pool = self._sets[firsts[0]]
        begins, sizes = np.zeros(1, np.int64), np.array([len(pool)])
        for row in map(int, rows[1:]):
            own = self._sets[row]
            place = np.minimum(np.searchsorted(own, pool), len(own) - 1)
            shared = np.add.reduceat(own[place] == pool, begins, dtype=np.int64)
            near = np.flatnonzero(shared / (sizes + len(own) - shared) >= self.threshold)
            yield from ((row, firsts[i]) for i in near)
            if len(near):
                continue
            if len(firsts) == MOST_COMPARED:
                self.unfinished += 1
                continue
            firsts.append(row)
            begins, sizes = np.append(begins, len(pool)), np.append(sizes, len(own))
            pool = np.concatenate([pool, own])

    def _settled(self, pairs: _Pairs) -> tuple[Rows, int]:
        """Return which rows to drop for which that stays, and how many come back."""
        dropped, stays = array("q"), array("q")
        returned = 0

        def last(row: int) -> int:
            place = bisect_left(dropped, row)
            return stays[place] if place < len(dropped) and dropped[place] == row else row

        for later, found in groupby(map(int, pairs.all()), key=lambda pair: pair >> 32):
            earlier = [pair & 0xFFFFFFFF for pair in found]
            kept = dict.fromkeys(map(last, earlier))
            stay = next((k for k in kept if k in earlier or self._similarity(later, k) >= self.threshold), None)
            if stay is None:
                returned += 1
            else:
                dropped.append(later)
                stays.append(stay)
        return np.stack([np.frombuffer(a, np.int64) for a in (dropped, stays)], 1), returned

    def _similarity(self, one: int, other: int) -> float:
        a, b = self._sets[one], self._sets[other]
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared)


class _Pairs:
    """Pairs (later, earlier) of rows below 2^31, each once: 8 bytes a pair."""

    def __init__(self) -> None:
        self._sorted, self._fresh = np.empty(0, np.int64), array("q")

    def add(self, later: int, earlier: int) -> None:
        self._fresh.append(later << 32 | earlier)
        if len(self._fresh) > 1024 + len(self._sorted) // 4:
            self.all()

    def holds(self, later: int, earlier: int) -> bool:
        """Tell whether a pair is there; one added just now may not be seen."""
        return bool(held(self._sorted, np.array([int(later) << 32 | int(earlier)]))[0])

    def all(self) -> Rows:
        """Return the pairs in ascending order, as later * 2^32 + earlier: int64 [P]."""
        if self._fresh:
            self._sorted = np.union1d(self._sorted, np.frombuffer(self._fresh, np.int64))
            self._fresh = array("q")
        return self._sorted


def _shingles_of(texts: list[Hashes]) -> tuple[Hashes, Rows]:
    """Return the shingles of texts, one after the other, and how many each has: `shingles` of all at once."""
    words = np.concatenate([*texts, np.empty(0, np.uint64)])
    lengths = np.array([len(t) for t in texts], np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    last = max(0, len(words) - SHINGLE + 1)
    whole = owners[:last] == owners[SHINGLE - 1 :]
    found, owners = ngrams(words, SHINGLE)[whole], owners[:last][whole]
    if short := [i for i, n in enumerate(lengths) if 0 < n < SHINGLE]:
        found = np.concatenate([found, *(shingles(texts[i]) for i in short)])
        owners = np.concatenate([owners, short])
        order = np.argsort(owners, kind="stable")
        found, owners = found[order], owners[order]
    return found, np.bincount(owners, minlength=len(texts))


class _Sets:
    """Sets of shingles on disk, one after the other, and where each ends."""

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "shingles.bin", folder / "ends.bin"
        self._values, self._ends = (path.open("w+b", buffering=0) for path in self._paths)
        self._count = 0

    def extend(self, values: Hashes, sizes: Rows) -> None:
        ends = self._count + np.cumsum(sizes)
        self._count += len(values)
        self._values.write(values.tobytes())
        self._ends.write(ends.astype("<i8").tobytes())

    def __getitem__(self, row: int) -> Hashes:
        """Return a set, sorted."""
        given = os.pread(self._ends.fileno(), 16, 8 * max(row - 1, 0))
        begin, end = struct.unpack("<2q", given) if row else (0, *struct.unpack("<q", given[:8]))
        found = np.frombuffer(bytearray(os.pread(self._values.fileno(), 8 * (end - begin), 8 * begin)), np.uint64)
        found.sort()
        fresh = np.ones(len(found), bool)
        np.not_equal(found[1:], found[:-1], out=fresh[1:])
        return found[fresh]

    def remove(self) -> None:
        for file, path in zip((self._values, self._ends), self._paths, strict=True):
            file.close()
            path.unlink()
