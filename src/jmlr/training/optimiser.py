"""One optimiser, two learning rates, and a table that shows which parameter got which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Group:
    """One row of the parameter-group table."""

    name: str
    tensors: int
    parameters: int
    learning_rate: float
    weight_decay: float

    def __str__(self) -> str:
        return f"{self.name:24} {self.tensors:5} tensors {self.parameters:12,} parameters   lr {self.learning_rate:.3g}   decay {self.weight_decay:.3g}"


def make_optimiser(
    llm: nn.Module,
    retriever: nn.Module | None,
    *,
    llm_learning_rate: float,
    retriever_learning_rate: float,
    weight_decay: float,
) -> tuple[torch.optim.AdamW, list[Group]]:
    """Return AdamW over all trainable parameters, by model and by kind (matrices decay, vectors do not), and its table.

    Every trainable parameter is in exactly one group, under the model it belongs to: no matching of names.
    """
    groups: list[dict[str, Any]] = []
    table = []
    for owner, model, rate in (("llm", llm, llm_learning_rate), ("retriever", retriever, retriever_learning_rate)):
        trainable = [p for p in model.parameters() if p.requires_grad] if model is not None else []
        for kind, members, decay in (
            ("matrices", [p for p in trainable if p.ndim >= 2], weight_decay),
            ("vectors", [p for p in trainable if p.ndim < 2], 0.0),
        ):
            if members:
                groups.append({"params": members, "lr": rate, "peak": rate, "weight_decay": decay})
                table.append(Group(f"{owner} {kind}", len(members), sum(p.numel() for p in members), rate, decay))
    fused = next(llm.parameters()).device.type in ("cpu", "cuda", "xpu")  # one kernel for a whole group
    return torch.optim.AdamW(groups, fused=fused), table


def learning_rate_factor(step: int, total: int, *, warmup: int, since: int, floor: float = 0.1) -> float:
    """Return what the peak rate is multiplied by: linear decay over `total` steps to `floor`, after a linear warm-up.

    `since` counts the steps since the optimiser was made: its moments are empty at the start of every round, so every
    round warms up.
    """
    return min(1.0, (since + 1) / max(1, warmup)) * max(floor, 1 - step / max(1, total))


def set_learning_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to its peak times the factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
