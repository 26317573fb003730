"""What encoders and language models alike do to token lists and to numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_right(rows: Sequence[Sequence[int]], where: torch.device) -> Tensor:
    """Return token lists as one int64 tensor [n, longest], filled up with token 0 on the right."""
    length = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], dtype=torch.long).to(
        where, non_blocking=True
    )


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` widened to float32 if it is narrower: losses and scores are compared, and bfloat16 ties too often."""
    return x if x.dtype == torch.float64 else x.float()
