"""What makes two texts the same: their normalised form, and 64 bits of its hash.

>>> text_hash("Fever.") == text_hash("  fever. ")
True
"""

from __future__ import annotations

import hashlib
import unicodedata


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
