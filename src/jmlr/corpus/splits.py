"""Splits that stay what they are when records are added, removed or reordered: by a hash, not by a draw.

>>> hash_split("question-7", {"train": 0.6, "dev": 0.1, "test": 0.3})
'train'
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from jmlr.runtime.errors import UserError


def hash_split(key: str, shares: Mapping[str, float]) -> str:
    """Return the split of a key: its SHA-256 as a number in [0, 1), laid against the shares in their order."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return name


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise UserError unless the shares are positive and sum to 1."""
    if not shares or any(s <= 0 for s in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise UserError(
            f"shares {dict(shares)}: allowed: positive numbers that sum to 1, such as train 0.6, dev 0.1, test 0.3"
        )
