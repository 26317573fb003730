"""Which texts were there before, in 15 to 30 bytes for each: what finding duplicates among millions of passages needs.

seen = Seen()
seen.first(text_hash("Fever."), 0), seen.first(text_hash("  fever. "), 1)      # (0, 0): number 1 repeats number 0
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array


def normalised(text: str) -> str:
    """Return a text without differences that do not matter: Unicode compatibility forms, case, kinds of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> int:
    """Return 64 bits of the BLAKE2 hash of a normalised text; never 0.

    Two of n different texts share one with probability n^2 / 2^65: one in 60,000 for 25 million.
    """
    return exact_hash(normalised(text))


def exact_hash(text: str) -> int:
    """Return 64 bits of the BLAKE2 hash of a text as it stands; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


class Seen:
    """A hash table from 64-bit hashes to numbers below 2^31, in flat arrays (open addressing, four fifths full)."""

    def __init__(self) -> None:
        self._hashes, self._numbers = array("Q", bytes(8 << 10)), array("i", bytes(4 << 10))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def first(self, key: int, number: int) -> int:
        """Return the number that came with this hash first: `number` itself if the hash is new."""
        if 5 * self._count >= 4 * len(self._hashes):
            self._grow()
        slot = self._slot(key)
        if not self._hashes[slot]:
            self._hashes[slot], self._numbers[slot] = key, number
            self._count += 1
        return self._numbers[slot]

    def _slot(self, key: int) -> int:
        mask, hashes = len(self._hashes) - 1, self._hashes
        slot = key & mask
        while hashes[slot] and hashes[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        old_hashes, old_numbers, size = self._hashes, self._numbers, 2 * len(self._hashes)
        self._hashes, self._numbers = array("Q", bytes(8 * size)), array("i", bytes(4 * size))
        for key, number in zip(old_hashes, old_numbers, strict=True):
            if key:
                slot = self._slot(key)
                self._hashes[slot], self._numbers[slot] = key, number
