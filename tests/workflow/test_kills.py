"""Killed anywhere, it goes on: stages die at random moments of a whole run, and what it makes is the same to the bit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from checkout import MINI, Checkout, failure, results

pytestmark = pytest.mark.slow

KILLS = {
    "fetch": 2,
    "prepare": 2,
    "pretrain": 2,
    "encode": 3,
    "index": 2,
    "search": 2,
    "train": 4,
    "answer": 2,
    "evaluate": 2,
    "report": 1,
}


def stage_processes(folder: Path) -> dict[int, str]:
    """Return the stages that run in a folder: process id -> stage."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and Path(os.readlink(entry / "cwd")) == folder:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if len(words) > 2 and words[1].endswith(b"/jmlr"):
                    found[int(entry.name)] = words[2].decode()
    return found


def seconds_of_stages(folder: Path) -> dict[str, float]:
    """Return how long the quickest job of each stage took in a finished run, from its benchmarks."""
    found: dict[str, float] = {}
    for file in (folder / "benchmarks/rules").rglob("*.tsv"):
        stage = next(s for s in KILLS if any(p.startswith(s) for p in file.with_suffix("").parts[-2:]))
        seconds = float(file.read_text().splitlines()[1].split("\t")[0])
        found[stage] = min(found.get(stage, seconds), seconds)
    return found


class Killer(threading.Thread):
    """Kills stages of a run at random moments of their lives until each has had its share."""

    def __init__(self, folder: Path, seconds: dict[str, float], seed: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.seconds, self.random = folder, seconds, random.Random(seed)
        self.left = dict(KILLS)
        self.done: list[tuple[str, str, float]] = []
        self.over = threading.Event()

    def run(self) -> None:
        due: dict[int, tuple[float, float]] = {}
        while not self.over.wait(0.02):
            for pid, stage in stage_processes(self.folder).items():
                now = time.monotonic()
                if pid not in due:
                    first = self.left[stage] == KILLS[stage]  # a stage of few jobs must not get away
                    wait = self.random.uniform(0.05, 0.4 if first else 0.95) * self.seconds[stage]
                    due[pid] = now + wait, wait
                if self.left[stage] > 0 and now >= due[pid][0]:
                    number = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                        self.left[stage] -= 1
                        self.done.append((stage, number.name, round(due[pid][1], 2)))
                    due[pid] = now + 1e9, 0.0


def test_a_run_killed_at_random_points_of_every_stage_ends_with_the_same_bytes(finished: Checkout, tmp_path):
    copy = Checkout(tmp_path / "clone")
    overlay = tmp_path / "often.yaml"
    overlay.write_text("train: {steps: 4, batch: 4, samples: 4, checkpoint_min: 0.00001}\n")  # a state after every step
    command = ["snakemake", "--cores", "2", "--retries", "9", "--quiet", "rules", "--configfile", MINI, str(overlay)]
    killer = Killer(copy.folder, seconds_of_stages(finished.folder), seed=int(time.time()))
    killer.start()
    first = subprocess.Popen(
        command, cwd=copy.folder, env=copy.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not any(
            stage == "train" for stage, _, _ in killer.done
        ):  # the workflow itself dies in mid-run, its jobs do not
            assert first.poll() is None, killer.done
            time.sleep(0.1)
    finally:
        first.kill()
        first.wait()
    done = copy.snakemake("--unlock")
    assert done.returncode == 0, failure(done)
    done = copy.run(*command)
    killer.over.set()
    killer.join()
    assert done.returncode == 0, f"{killer.done}\n{failure(done)}"
    print(killer.done)
    assert len(killer.done) >= 20
    assert {stage for stage, _, _ in killer.done} == set(KILLS)
    assert results(copy.folder) == results(finished.folder)
    assert not list((copy.folder / "results").rglob("*.partial"))
