"""Texts of uneven length, computed with next to no padding: sorted by length, in parts of alike length and bounded size.

    for part in in_parts([len(r) for r in rows], most_tokens=16384): encode([rows[i] for i in part])

Right of a text a causal model cannot see, so parts need no attention mask and keep the fast kernels; packing all texts into one
sequence would need a block-diagonal mask, which only special kernels skip and all others pay for in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PADDING_TOKENS = 512  # a part may hold so many tokens of padding: about what starting another part costs


def in_parts(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Return the numbers of the texts, in parts: longest first, each at most `most_tokens` with its padding, or one text."""
    parts: list[list[int]] = []
    longest = padding = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        padding += longest - lengths[i]
        full = bool(parts) and (len(parts[-1]) + 1) * longest > most_tokens
        if not parts or full or padding > PADDING_TOKENS:
            parts.append([])
            longest, padding = lengths[i], 0
        parts[-1].append(i)
    return parts


def computed_in_parts(
    compute: Callable[[list[int]], Tensor], lengths: Sequence[int], most_tokens: int, where: torch.device
) -> Tensor:
    """Compute rows [n, ...] part by part and return them in the order of the texts.

    compute: takes numbers of texts, returns their rows.
    """
    parts = in_parts(lengths, most_tokens)
    rows = torch.cat([compute(part) for part in parts])
    place = torch.empty(len(lengths), dtype=torch.long)
    place[[i for part in parts for i in part]] = torch.arange(len(lengths))
    return rows[place.to(where, non_blocking=True)]
