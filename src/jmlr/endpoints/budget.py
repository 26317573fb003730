"""What may be spent, and how fast.

    ledger = Ledger(Path("cache/endpoints"), "gpt-4", most=20.0)
    with ledger.reserved(0.05) as held:      # UserError before anything is sent if that could exceed the cap
        held.paid = 0.031                    # what it really cost; unsaid: all that was reserved

The ledger lies in the cache folder and is shared by all jobs that use it: the cap is one for all of them and for all
reruns. A job that is killed leaves what it had reserved as spent, since its request may have been billed.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_file


@dataclass
class Held:
    """A reservation: what was set aside, and what of it was paid."""

    reserved: float
    paid: float


class Ledger:
    """Counts what was spent on one model, in the unit of the prices; refuses what could exceed the cap (0: no cap)."""

    def __init__(self, folder: Path, model: str, most: float) -> None:
        self.model, self.most = model, most
        self.path = folder / f"spent-{hashlib.sha256(model.encode()).hexdigest()[:12]}.json"
        self._lock = FileLock(str(self.path) + ".lock", thread_local=False)
        self._threads = threading.Lock()

    def spent(self) -> float:
        """Return what has been spent so far, reservations included."""
        if not self.path.exists():
            return 0.0
        try:
            return float(json.loads(self.path.read_text(encoding="utf-8"))["spent"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"'{self.path}': not a ledger; what was spent is unknown, so nothing more is sent"
            ) from None

    def _add(self, amount: float, *, checked: bool = False) -> None:
        with self._threads:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                total = self.spent() + amount
                if checked and self.most and total > self.most:
                    raise UserError(
                        f"cost cap: {self.spent():.4f} of {self.most:g} is spent on '{self.model}', and the next request "
                        f"could cost {amount:.4f}; nothing was sent. Replies so far are kept in '{self.path.parent}'; "
                        "raise most_cost to go on"
                    )
                with fresh_file(self.path) as target:
                    target.write_text(json.dumps({"model": self.model, "spent": max(total, 0.0)}) + "\n")

    @contextmanager
    def reserved(self, amount: float) -> Iterator[Held]:
        """Set an amount aside while a request is under way; give back what it did not cost."""
        held = Held(amount, amount)
        if amount > 0:
            self._add(amount, checked=True)
        try:
            yield held
        finally:
            if held.paid != amount:
                self._add(held.paid - amount)


class Pace:
    """Lets at most so many requests begin in a minute, evenly spaced; 0: as many as come."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.gap_s = 60.0 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next, self._lock = clock(), threading.Lock()

    def wait(self) -> None:
        """Return when the next request may begin."""
        with self._lock:
            begin = max(self._next, self._clock())
            self._next = begin + self.gap_s
        if (pause := begin - self._clock()) > 0:
            self._sleep(pause)
