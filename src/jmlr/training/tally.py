"""Figures of a step, added up on the device over its parts and over all ranks, and brought to the host once.

tally = Tally(where)
tally.add({"loss_lm": (total, questions)})
values = tally.read(asked=stop.asked)        # {"loss_lm": 1.3, ...}
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jmlr.runtime import distributed

FIGURES = ("loss_lm", "loss_rank", "agreement", "hit", "score_spread", "loss_spread", "passage_loss")


class Tally:
    """Sums and counts of the figures of one step; NaN and infinity stay visible."""

    def __init__(self, where: torch.device) -> None:
        self._sums = torch.zeros(len(FIGURES), dtype=torch.float64, device=where)
        self._counts = torch.zeros(len(FIGURES), dtype=torch.float64)

    def add(self, figures: Mapping[str, tuple[Tensor, int]]) -> None:
        """Add (sum, count) pairs."""
        for name, (total, count) in figures.items():
            i = FIGURES.index(name)
            self._sums[i] += total.detach().to(self._sums, non_blocking=True)
            self._counts[i] += count

    def read(self, extra: Mapping[str, Tensor], asked: bool) -> tuple[dict[str, float], bool]:
        """Return the mean of every figure that was counted, the extra ones as they are, and whether any rank was asked to stop.

        extra: scalars that are the same on all ranks already. This is the step's last wait for the device.
        """
        where = self._sums.device
        mine = torch.cat([self._sums, self._counts.to(where), torch.tensor([float(asked)], device=where).double()])
        distributed.add_up(mine)
        values = torch.cat([mine, *(v.detach().double().reshape(1).to(where) for v in extra.values())]).tolist()
        n = len(FIGURES)
        means = {name: s / c for name, s, c in zip(FIGURES, values[:n], values[n : 2 * n], strict=True) if c}
        return {**means, **dict(zip(extra, values[2 * n + 1 :], strict=True))}, values[2 * n] > 0
