"""A Snakemake that is asked to end (SIGTERM): its stages on this machine are told too; of a cluster's jobs it says what still runs.

By itself it waits for every job that runs, without a word to them, however long they take (seen with 9.27.1).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any

from jmlr.runtime.counting import count_of
from jmlr.runtime.preemption import jobs_here
from jmlr.runtime.progress import say

GOES_ON = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED")  # states of a job that `scancel` ends


def pass_on_end(running: Callable[[], Iterable[Any]], *, local: bool) -> None:
    """From now on, do so at SIGTERM, after what was done at it before.

    Args:
        running: tells Snakemake's jobs that run
        local: they run on this machine, not on a cluster
    """
    before = signal.getsignal(signal.SIGTERM)
    others = set() if local else set(jobs_here())  # of an earlier call or another run: not ours to end

    def end(number: int, frame: Any) -> None:
        if callable(before):
            before(number, frame)
        jobs = list(running())
        logs = "".join(f"\n  {job.name}: {', '.join(job.log)}" for job in jobs if not job.is_group())
        if not local:
            ids = " ".join(job for job, state in jobs_here().items() if state in GOES_ON and job not in others)
            end_them = f"scancel {ids}" if ids else "scancel and the ids that `squeue --me` shows"
            what = f"killed, it leaves them running; to end them now: {end_them}"
            say(f"asked to end: waits for {count_of(len(jobs), 'job')} of the cluster; {what}{logs}")
            return
        say(f"asked to end, and {count_of(len(jobs), 'job')} with it; a training saves its state first{logs}")
        for stage in stages():
            stage.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


def stages() -> list[Any]:
    """Return the processes that the shells of this program's jobs wait for: a stage, torchrun, a container."""
    import psutil

    found = []
    for shell in psutil.Process().children():
        try:
            found += [p for p in shell.children() if p.name() != "tee"]  # which takes the stage's last words
        except psutil.NoSuchProcess:
            continue
    return found
