"""The figures of every step on the boards people know: TensorBoard where it is installed, Weights & Biases where it is asked for.

    with Boards(folder, wandb="my-project", name="train jmlr seed 0 r1") as boards:
        boards.write(step, {"loss_lm": 1.3, "hit": None})

Numbers only: no question, passage or answer leaves the machine, and no configuration either.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jmlr.runtime.distributed import current
from jmlr.runtime.errors import UserError


class Boards:
    """Where figures are shown while a training runs; of several ranks only the first writes.

    Attributes:
        folder: of the TensorBoard events; None where nothing is written.
    """

    def __init__(self, folder: Path, *, wandb: str = "", name: str = "train") -> None:
        first = current().rank == 0
        self._writer: Any = None
        self._run: Any = None
        if wandb and find_spec("wandb") is None:
            raise UserError(f"--wandb {wandb}: the package wandb is not installed; install it (pip install wandb) or leave --wandb empty")
        if first and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]
        if first and wandb:
            import wandb as service

            self._run = service.init(project=wandb, name=name, dir=str(folder.parent))
        self.folder = folder if self._writer else None

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()
        if self._run:
            self._run.finish()

    def write(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Show the figures of a step; those that are None are left out."""
        known = {k: v for k, v in figures.items() if v is not None}
        if self._writer:
            for key, value in known.items():
                self._writer.add_scalar(key, value, step)
        if self._run:
            self._run.log(known, step=step)
