"""One thread has the models: nothing is lost, nothing is done for whom nobody waits, and a fault is one question's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from jmlr.runtime.errors import UserError
from jmlr.serving.batching import Batcher, BusyError, Job


async def last(events: Any) -> Any:
    return [event async for event in events][-1]


def test_fifty_questions_at_once_are_all_answered_in_batches_of_one_kind() -> None:
    batches: list[tuple[str, str, int]] = []

    def work(kind: str, system: str, jobs: Sequence[Job]) -> None:
        batches.append((kind, system, len(jobs)))
        for job in jobs:
            job.send((kind, system, job.asked))

    async def ask() -> list[Any]:
        queue = Batcher(work, most=8)
        try:
            asked = [("answer" if n % 2 else "write", "jmlr" if n % 3 else "rag", n) for n in range(50)]
            return await asyncio.gather(*(last(*queue.ask(*a)) for a in asked))
        finally:
            queue.stop()

    found = asyncio.run(ask())
    assert [n for _, _, n in found] == list(range(50))
    assert max(n for *_, n in batches) <= 8
    assert len(batches) < 50, "what waits is answered together"


def test_a_fault_fails_its_own_question_and_no_other_of_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    begin = threading.Event()

    def work(kind: str, system: str, jobs: Sequence[Job]) -> None:
        begin.wait(10)
        for job in jobs:
            if job.asked == "secret words":
                raise ValueError("secret words")
            if job.asked == "refused":
                raise UserError("no")
        for job in jobs:
            job.send("fine")

    async def ask() -> list[Any]:
        queue = Batcher(work)
        jobs = [last(*queue.ask("answer", "a", x)) for x in ("first", "secret words", "refused", "last")]
        begin.set()
        try:
            return await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            queue.stop()

    found = asyncio.run(ask())
    assert found[0] == found[3] == "fine"
    assert isinstance(found[1], ValueError)
    assert isinstance(found[2], UserError)
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert "secret" not in said, "what was asked is never told"


def test_a_question_whose_client_hung_up_is_not_begun_and_one_too_many_is_refused() -> None:
    begin, done = threading.Event(), []

    def work(kind: str, system: str, jobs: Sequence[Job]) -> None:
        begin.wait(10)
        for job in jobs:
            job.send("begun")
            done.append(job.asked)

    async def ask() -> None:
        queue = Batcher(work, most=1, waiting=2)
        first = asyncio.ensure_future(last(*queue.ask("answer", "a", "first")))
        while queue._jobs:
            await asyncio.sleep(0.01)
        gone = asyncio.ensure_future(last(*queue.ask("answer", "a", "gone")))
        kept = asyncio.ensure_future(last(*queue.ask("answer", "a", "kept")))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            queue.ask("answer", "a", "too many")
        gone.cancel()
        await asyncio.sleep(0.05)
        begin.set()
        assert await first == await kept == "begun"
        queue.stop()

    asyncio.run(ask())
    assert done == ["first", "kept"]


def test_whoever_stops_listening_cancels_the_job() -> None:
    seen: list[Job] = []
    stopped = threading.Event()

    def work(kind: str, system: str, jobs: Sequence[Job]) -> None:
        seen.extend(jobs)
        for n in range(1000):
            if jobs[0].cancelled:
                stopped.set()
                return
            jobs[0].send(n)
            stopped.wait(0.005)

    async def ask() -> None:
        queue = Batcher(work)
        async with aclosing(queue.ask("write", "a", "x")[0]) as events:
            async for n in events:
                if n == 2:
                    break
        await asyncio.to_thread(stopped.wait, 5)
        queue.stop()

    asyncio.run(ask())
    assert stopped.is_set()
    assert seen[0].cancelled
