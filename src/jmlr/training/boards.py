"""The figures of every step while a training runs: a line of JSON in scratch, TensorBoard where it is installed, Weights & Biases
and MLflow where they are asked for.

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
from jmlr.runtime.manifest import BESIDE
from jmlr.runtime.trackers import check_installed, open_runs

EVENTS, LINES = BESIDE, "metrics.jsonl"
RUNS = "boards.json"  # service -> id of its run: what goes on after a kill goes on in it, and so does `evaluate`


class Boards:
    """Where figures are shown while a training runs: `tail -f scratch/.../metrics.jsonl`, `tensorboard --logdir scratch`.

    Of several ranks only the first writes.
    """

    def __init__(self, scratch: Path, *, wandb: str = "", mlflow: str = "", name: str = "train") -> None:
        first, asked = current().rank == 0, {"wandb": wandb, "mlflow": mlflow}
        self._writer: Any = None
        self._runs: dict[str, Any] = {}
        self._lines: Any = None
        check_installed(asked)
        if first:
            scratch.mkdir(parents=True, exist_ok=True)
            self._lines = (scratch / LINES).open("a", buffering=1, encoding="utf-8")
        if first and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(scratch / EVENTS))
        if first and any(asked.values()):
            self._runs = open_runs(asked, name, scratch, runs_of(scratch))
            (scratch / RUNS).write_text(json.dumps({service: run.id for service, run in self._runs.items()}))

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines:
            self._lines.close()
        if self._writer:
            self._writer.close()
        for run in self._runs.values():
            run.finish()

    def write(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Show the figures of a step; those that are None are left out."""
        known = {k: v for k, v in figures.items() if v is not None}
        # After a kill the steps since the last saved state come again; the output's metrics.jsonl has each once.
        if self._lines:
            self._lines.write(json.dumps({"step": step, **known}) + "\n")
        if self._writer:
            for key, value in known.items():
                self._writer.add_scalar(key, value, step)
        for run in self._runs.values():
            run.log(known, step)


def runs_of(scratch: Path) -> dict[str, str]:
    """Return by which ids the services hold an unfinished training; none where none was asked for."""
    return dict(json.loads((scratch / RUNS).read_text())) if (scratch / RUNS).is_file() else {}


def keep_events(scratch: Path, out: Path) -> None:
    """Move the events of a finished training into its output: beside the manifest, not in it, since their bytes tell the time."""
    if (scratch / EVENTS).is_dir():
        shutil.move(scratch / EVENTS, out / EVENTS)


def drop_figures(scratch: Path) -> None:
    """Remove what was written to a scratch folder for people."""
    for name in (EVENTS, "wandb"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    for name in (LINES, RUNS):
        (scratch / name).unlink(missing_ok=True)
