"""The figures of every step while a training runs: a line of JSON in scratch, TensorBoard where it is installed, Weights & Biases
where it is asked for.

    with Boards(scratch, wandb="my-project", name="train jmlr seed 0 r1") as boards:
        boards.write(step, {"loss_lm": 1.3, "hit": None})

Numbers only: no question, passage or answer leaves the machine, and no configuration either.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jmlr.runtime.distributed import current
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import BESIDE

EVENTS, LINES = BESIDE, "metrics.jsonl"


class Boards:
    """Where figures are shown while a training runs: `tail -f scratch/.../metrics.jsonl`, `tensorboard --logdir scratch`.

    Of several ranks only the first writes.
    """

    def __init__(self, scratch: Path, *, wandb: str = "", name: str = "train") -> None:
        first = current().rank == 0
        self._writer: Any = None
        self._run: Any = None
        self._lines: Any = None
        if wandb and find_spec("wandb") is None:
            raise UserError(
                f"--wandb {wandb}: the package wandb is not installed; install it (pip install wandb) or leave --wandb empty"
            )
        if first:
            scratch.mkdir(parents=True, exist_ok=True)
            self._lines = (scratch / LINES).open("a", buffering=1, encoding="utf-8")
        if first and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(scratch / EVENTS))
        if first and wandb:
            import wandb as service

            self._run = service.init(project=wandb, name=name, dir=str(scratch))

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines:
            self._lines.close()
        if self._writer:
            self._writer.close()
        if self._run:
            self._run.finish()

    def write(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Show the figures of a step; those that are None are left out."""
        known = {k: v for k, v in figures.items() if v is not None}
        # After a kill the steps since the last saved state come again; the output's metrics.jsonl has each once.
        if self._lines:
            self._lines.write(json.dumps({"step": step, **known}) + "\n")
        if self._writer:
            for key, value in known.items():
                self._writer.add_scalar(key, value, step)
        if self._run:
            self._run.log(known, step=step)


def keep_events(scratch: Path, out: Path) -> None:
    """Move the events of a finished training into its output: beside the manifest, not in it, since their bytes tell the time."""
    if (scratch / EVENTS).is_dir():
        shutil.move(scratch / EVENTS, out / EVENTS)


def drop_figures(scratch: Path) -> None:
    """Remove what was written to a scratch folder for people."""
    for name in (EVENTS, "wandb"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    (scratch / LINES).unlink(missing_ok=True)
