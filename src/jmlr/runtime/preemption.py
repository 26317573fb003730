"""Jobs that SLURM ended for the sake of others: put back into its queue, so that the run goes on.

With PreemptMode=CANCEL, or where a job may not be requeued by SLURM itself, a preempted job is over. Snakemake's plugin waits for
it as for one that goes on, for ever (seen with 2.8.0). `scontrol requeue` makes that true: the job keeps its id, waits, and
starts anew; training goes on from its last state.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable

from jmlr.runtime.progress import say

EVERY_S = 30.0  # SLURM remembers an ended job for MinJobAge, which is to be 120 s or more


def requeue_preempted() -> None:
    """Start a thread that lasts as long as this program; it requeues each job of this folder that is preempted from now on.

    Jobs that are there already are of an earlier call: nobody waits for them, and they are left alone.
    """
    tick = ticking(set(jobs_here()))
    pause = threading.Event()

    def watch() -> None:
        while not pause.wait(EVERY_S):
            tick()

    threading.Thread(target=watch, name="requeue preempted jobs", daemon=True).start()


def ticking(earlier: set[str]) -> Callable[[], None]:
    """Return a function that looks once at this folder's jobs, but for `earlier` ones, and requeues what was preempted."""
    refused: set[str] = set()

    def tick() -> None:
        for job, state in jobs_here().items():
            if state != "PREEMPTED" or job in earlier:
                continue
            done = _run("scontrol", "requeue", job)
            if done and done.returncode == 0:
                refused.discard(job)
                say(f"SLURM job {job} was preempted; it is requeued and starts anew when there is room")
            elif job not in refused:
                refused.add(job)
                why = " ".join(done.stderr.split()) if done else "scontrol does not answer"
                say(
                    f"SLURM job {job} was preempted and cannot be requeued ({why}); Snakemake would wait for ever: end it "
                    "(Ctrl-C) and give the same command again; what is finished stays"
                )

    return tick


def jobs_here() -> dict[str, str]:
    """Return the user's jobs that were submitted from this folder: id -> state; none while squeue does not answer."""
    done = _run("squeue", "--all", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%Z")
    lines = [line.split("|", 2) for line in done.stdout.splitlines()] if done and done.returncode == 0 else []
    return {x[0]: x[1] for x in lines if len(x) == 3 and os.path.realpath(x[2]) == os.path.realpath(".")}


def _run(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
