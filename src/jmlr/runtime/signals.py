"""A training that is asked to stop ends after the step it is in, with its state saved.

with StopSignal() as stop:
    for step in ...:
        ...
        if stop.asked: save and raise InterruptedTrainingError("train jmlr", step, scratch)
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from jmlr.runtime.errors import UserError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
AT_ONCE_S = 2.0  # torchrun passes Ctrl-C on to processes that have had it from the terminal: that is no second one


class InterruptedTrainingError(UserError):
    """Training was asked to stop; its state is saved where it has a `scratch`, and the same command goes on from it."""

    def __init__(self, name: str, step: int, scratch: Path | None) -> None:
        kept = f"; the state is saved in {scratch}" if scratch else ""
        super().__init__(f"{name}: stopped at step {step} by a signal{kept}")


class StopSignal:
    """Remembers a signal instead of dying in the middle of a step; a second Ctrl-C ends the program at once.

    The signals: SIGTERM (a job cancelled or out of time), SIGUSR1, SIGINT (Ctrl-C), and SIGHUP (its terminal was closed).
    One that is ignored already, as `nohup` has it for SIGHUP, stays ignored.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}
        self._interrupted_s = 0.0

    def __enter__(self) -> StopSignal:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, *_: object) -> None:
        self.asked = True
        if number == signal.SIGINT:
            now = time.monotonic()
            if self._interrupted_s and now - self._interrupted_s > AT_ONCE_S:
                raise KeyboardInterrupt
            self._interrupted_s = self._interrupted_s or now
