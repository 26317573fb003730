"""Randomness that a resumed run repeats: every draw comes from a generator made of (seed, names), never from a running state.

>>> stream(0, "train", 7) == stream(0, "train", 7) != stream(0, "train", 8)
True
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream(seed: int, *names: object) -> int:
    """Return a 63-bit seed for one purpose, independent of all others: SHA-256 of the seed and the names."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def python_random(seed: int, *names: object) -> random.Random:
    """Return Python's generator for one purpose."""
    return random.Random(stream(seed, *names))


def torch_generator(seed: int, *names: object, device: str = "cpu") -> torch.Generator:
    """Return torch's generator for one purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(stream(seed, *names))


def seed_torch(seed: int, *names: object) -> None:
    """Seed torch's global generators (initialisation, dropout) for one purpose."""
    import torch

    torch.manual_seed(stream(seed, *names))
