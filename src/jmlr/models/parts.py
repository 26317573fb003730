"""Texts of uneven length, computed with next to no padding: sorted by length, in parts of alike length and bounded size.

    for part in in_parts([len(r) for r in rows], most_tokens=16384): encode([rows[i] for i in part])

The numbers of texts in a part, and the lengths that they are filled up to, are from short lists, so that the same shapes come again:
on a CPU a bfloat16 product of a shape not met before is compiled first, and that costs more than a small product (docs/log.md).

Right of a text a causal model cannot see, so parts need no attention mask and keep the fast kernels; packing all texts into one
sequence would need a block-diagonal mask, which only special kernels skip and all others pay for in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from jmlr.models.tensors import filled_up

PADDING_TOKENS = 512  # a part may hold so many tokens of padding: about what starting another part costs


def round_number(n: int) -> int:
    """Return the largest of 1 ... 8, 10, 12, 14, 16, 20, 24 ... that is at most n: four between n and 2 n."""
    step = 1 << max(0, n.bit_length() - 3)
    return n // step * step


def in_parts(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Return the numbers of the texts, in parts: longest first, each at most `most_tokens` with its padding, or one text."""
    parts = []
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        longest = filled_up(lengths[order[0]])
        number = padding = 0
        for i in order:
            padding += longest - filled_up(lengths[i])
            if number and ((number + 1) * longest > most_tokens or padding > PADDING_TOKENS):
                break
            number += 1
        number = round_number(number)
        parts.append(order[:number])
        order = order[number:]
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
