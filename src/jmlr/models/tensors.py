"""What encoders and language models alike do to token lists and to numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def filled_up(length: int, most: int | None = None) -> int:
    """Return the length, in tokens, that a text is filled up to: one of eight between n and 2 n, not above `most` unless the text is.

    >>> filled_up(61), filled_up(65), filled_up(130), filled_up(130, most=140), filled_up(150, most=140)
    (64, 72, 144, 140, 150)
    """
    step = 1 << max(0, (length - 1).bit_length() - 4)
    rounded = -(-length // step) * step
    return rounded if most is None else max(length, min(rounded, most))


def pad_right(rows: Sequence[Sequence[int]], where: torch.device, most: int | None = 0) -> Tensor:
    """Return token lists as one int64 tensor [n, T], filled up with token 0 on the right.

    T is the length of the longest, or what `filled_up` makes of it where a model takes up to `most` tokens, or any number (None).
    """
    length = filled_up(max(map(len, rows)), most)
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], dtype=torch.long).to(
        where, non_blocking=True
    )


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` widened to float32 if it is narrower: losses and scores are compared, and bfloat16 ties too often."""
    return x if x.dtype == torch.float64 else x.float()
