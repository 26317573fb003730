"""What waits is answered together: one thread has the models, and takes all questions of one kind that wait when it is free.

    queue = Batcher(work, most=32, waiting=256)      # work(kind, system, jobs): sends each job its events
    [job] = queue.ask("answer", "jmlr", asked)
    async for event in job: ...

Nothing waits for a batch to fill up: under no load a question is a batch of its own, and under load batches grow by themselves.
A client that hangs up leaves its job `cancelled`: it is not begun, and writing stops for it. No event of it is lost before.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say

Work = Callable[[str, str, Sequence["Job"]], None]


class BusyError(Exception):
    """So many questions wait that one more would wait too long."""


class Job:
    """A question on its way: what is asked, and its events, to be iterated over once. Whoever stops listening cancels it."""

    def __init__(self, kind: str, system: str, asked: Any) -> None:
        self.kind, self.system, self.asked = kind, system, asked
        self.cancelled = False
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def send(self, event: Any) -> None:
        """Hand over what is known so far; from any thread."""
        self._put("event", event)

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, or why it failed; from any thread."""
        self._put("end", error)

    def _put(self, what: str, value: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and so is whoever listened
            self._loop.call_soon_threadsafe(self._events.put_nowait, (what, value))

    def __aiter__(self) -> Job:
        return self

    async def __anext__(self) -> Any:
        try:
            what, value = await self._events.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if what == "event":
            return value
        raise value or StopAsyncIteration

    async def aclose(self) -> None:
        """Stop listening."""
        self.cancelled = True


class Batcher:
    """The one thread that has the models."""

    def __init__(self, work: Work, *, most: int = 32, waiting: int = 256) -> None:
        """Start the thread.

        Args:
            work: answers jobs of one kind and system, together; it sends each its events, and need not end them.
            most: jobs in a batch.
            waiting: jobs that may wait.
        """
        self.work, self.most, self.waiting = work, most, waiting
        self._jobs, self._alone = deque[Job](), deque[Job]()
        self._changed, self._stopped = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def ask(self, kind: str, system: str, *asked: Any) -> list[Job]:
        """Return new jobs, which wait from now on, all or none.

        Raises:
            BusyError: too many wait.
        """
        jobs = [Job(kind, system, a) for a in asked]
        with self._changed:
            if len(self._jobs) + len(jobs) > self.waiting or self._stopped:
                raise BusyError(f"{len(self._jobs)} questions wait already; allowed: {self.waiting}")
            self._jobs.extend(jobs)
            self._changed.notify()
        return jobs

    def stop(self) -> None:
        """End the thread after the batch that it works on; what still waits fails."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        for job in (*self._alone, *self._jobs):
            job.end(BusyError("the server stops"))

    def _run(self) -> None:
        while batch := self._next():
            try:
                self.work(batch[0].kind, batch[0].system, batch)
            except Exception as error:
                if len(batch) > 1:  # whichever it was, it fails alone
                    with self._changed:
                        self._alone.extend(batch)
                    continue
                if not isinstance(error, UserError):  # ours; the message may quote a question
                    say(f"serve: {type(error).__name__} in {batch[0].kind} of {batch[0].system}")
                batch[0].end(error)
            else:
                for job in batch:
                    job.end()

    def _next(self) -> list[Job]:
        """Wait for jobs; return the first one with those of its kind and system behind it; none: the end."""
        with self._changed:
            while not self._stopped:
                if self._alone:
                    return [self._alone.popleft()]
                alive = [job for job in self._jobs if not job.cancelled]
                if alive:
                    first = alive[0]
                    batch = [j for j in alive if (j.kind, j.system) == (first.kind, first.system)][: self.most]
                    self._jobs = deque(job for job in alive if job not in batch)
                    return batch
                self._jobs.clear()
                self._changed.wait()
        return []
