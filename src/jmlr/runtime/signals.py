"""A training that is asked to stop ends after the step it is in, with its state saved.

with StopSignal() as stop:
    for step in ...:
        ...
        if stop.asked: save and raise InterruptedTrainingError("train jmlr", step, scratch)
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from jmlr.runtime.errors import UserError


class InterruptedTrainingError(UserError):
    """Training was asked to stop; its state is saved where it has a `scratch`, and the same command goes on from it."""

    def __init__(self, name: str, step: int, scratch: Path | None) -> None:
        kept = f"; the state is saved in {scratch}" if scratch else ""
        super().__init__(f"{name}: stopped at step {step} by a signal{kept}")


class StopSignal:
    """Remembers SIGTERM (a job cancelled or out of time) and SIGUSR1 instead of dying in the middle of a step."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, *_: object) -> None:
        self.asked = True
