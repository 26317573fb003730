"""Texts as sets of 64-bit hashes of n words: what near-duplicates and contamination are found by.

    h = word_hashes("Fever of unknown origin")       # uint64 [4]
    ngrams(h, 3)                                     # uint64 [2]: "fever of unknown", "of unknown origin"

Words are those of `jmlr.corpus.words`, of any script: punctuation, case and blanks do not matter. Two different n-grams
share a hash with a probability of 2^-64.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from jmlr.corpus.words import words

Hashes = NDArray[np.uint64]
_BASE, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


def word_hashes(text: str) -> Hashes:
    """Return the hash of every word, in order: uint64 [W]."""
    found = words(text)
    return np.fromiter(map(_hash, found), np.uint64, len(found))


@lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    return xxhash.xxh3_64_intdigest(word.encode())


def ngrams(hashes: Hashes, n: int) -> Hashes:
    """Return the hash of every run of n words: uint64 [max(W - n + 1, 0)]."""
    count = len(hashes) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    return combined([hashes[i : i + count] for i in range(n)])


def combined(parts: Iterable[Hashes]) -> Hashes:
    """Return one array of hashes from several, uint64 [...] each: of what stands in one place, in this order."""
    found = np.zeros(1, np.uint64)
    for values in parts:
        found = found * _BASE + values
    found = (found ^ (found >> np.uint64(32))) * _MIX
    return found ^ (found >> np.uint64(32))
