"""Progress that a person can read while several stages run side by side.

One line at a time on standard error, every few seconds at a terminal and once a minute in a log file:
`train jmlr: 400/1000 | loss_lm 1.31 | loss_rank 0.62 | 3.2 it/s | 3 min 08 s left`.
What is a warning goes through `warn`: the stage's manifest keeps it, and the report shows it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from jmlr.runtime.duration import duration
from jmlr.runtime.errors import UserError

TERMINAL_S, LOG_S = 5.0, 60.0

_muted = False
_given: dict[str, str] = {}  # path -> what a person calls it
_warned: dict[str, None] = {}  # texts, each once, in the order they were said


def mute(on: bool) -> None:
    """Keep this process quiet: of several ranks only the first speaks."""
    global _muted
    _muted = on


def say(text: str) -> None:
    """Print one line to standard error at once."""
    if _muted:
        return
    text = _as_given(text)
    # The reader may be gone: a scheduler's signal ends the `tee` of a rule's shell line before the stage, which then
    # still has its state to save.
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def named_as_given(names: Mapping[Path, Path]) -> Iterator[None]:
    """Let what is said and raised as a UserError inside name files as a person gave them, not where a copy or link lies.

    Args:
        names: path of a file or folder -> what it stands for; no path lies in another
    """
    _given.update({str(path): str(given) for path, given in names.items()})
    try:
        yield
    except UserError as error:
        raise UserError(_as_given(str(error))) from None
    finally:
        _given.clear()


def _as_given(text: str) -> str:
    for path, given in _given.items():
        text = text.replace(path, given)
    return text


def warn(name: str, text: str) -> None:
    """Say `NAME: warning: TEXT`, and keep the text for the stage's manifest: it may hold figures, but nothing of the data."""
    say(f"{name}: warning: {text}")
    _warned[text] = None


def warned() -> list[str]:
    """Return what this stage warned of."""
    return list(_warned)


def forget_warnings() -> None:
    """Begin anew: a stage begins."""
    _warned.clear()


class Progress:
    """Count the work of a stage and say how it goes; `figures` are averaged over the time since the last line.

    What has no name, as the queries of a question, is counted and not told.
    """

    def __init__(self, name: str, total: int, *, done: int = 0, every_s: float | None = None) -> None:
        self.name, self.total, self.done = name, total, done
        self.every_s = every_s if every_s is not None else interval_s()
        self._start = self._last = time.monotonic()
        self._first = done
        self._sums: dict[str, list[float]] = {}

    def step(self, n: int = 1, figures: Mapping[str, float] | None = None) -> None:
        """Count `n` units as done and remember figures for the next line."""
        self.done += n
        for key, value in (figures or {}).items():
            self._sums.setdefault(key, []).append(value)
        now = time.monotonic()
        if self.name and (now - self._last >= self.every_s or self.done >= self.total):
            self._last = now
            say(self.line(now))
            self._sums.clear()

    def line(self, now: float) -> str:
        """Return the present state as one line."""
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        means = [f"{k} {sum(v) / len(v):.3f}" for k, v in self._sums.items()]
        if self.done >= self.total:
            pace = duration(now - self._start)
        else:
            left = duration((self.total - self.done) / rate) if rate else "?"
            pace = f"{rate:.1f} it/s | {left} left"
        return " | ".join([f"{self.name}: {self.done}/{self.total}", *means, pace])


def interval_s() -> float:
    """Return the seconds between two lines: JMLR_PROGRESS_S, else often at a terminal and seldom elsewhere."""
    given = os.environ.get("JMLR_PROGRESS_S", "")
    try:
        return float(given or (TERMINAL_S if sys.stderr.isatty() else LOG_S))
    except ValueError:
        raise UserError(f"JMLR_PROGRESS_S: '{given}'; allowed: seconds, a number") from None


def set_pace(*, local: bool) -> None:
    """Let the stages of this machine speak often where a person watches its terminal; jobs of a cluster write log files.

    A stage cannot see the terminal for itself: `2> >(tee {log} >&2)` in its rule's shell line stands between.
    """
    if local and sys.stderr.isatty():
        os.environ.setdefault("JMLR_PROGRESS_S", str(TERMINAL_S))
