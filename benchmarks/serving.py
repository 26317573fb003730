"""Questions a second of a finished run: the server with fifty clients, beside the same questions asked one after the other.

    OMP_NUM_THREADS=1 python benchmarks/serving.py results/demo        # writes benchmarks/serving.json

1. `ask`: the path of `jmlr ask` in a loop in one process: the row is opened for each question, as the command does.
2. `opened`: the row is opened once, and answers one question after the other.
3. `served`: a server (`jmlr serve`) is started, and the same questions come from so many clients at once.

The ways take turns for some rounds, on the run's own test questions with their options. What is told: questions a second by the
clock, and for each second of CPU time, which other work on the machine hardly disturbs; the median of the rounds, and each round;
whether all answers are the same; and the seconds of the first answer after the server said that it answers. The clients run in
the benchmark's own process, and their CPU time is not the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.parquet as pq
import torch

from jmlr.commands.ask import ask
from jmlr.serving.row import row_of
from jmlr.serving.system import Asked, System

HERE = Path(__file__).resolve().parent
QUESTIONS, ASKED, CLIENTS, ROUNDS = 200, 2, 50, 3


def questions(run: Path) -> list[dict[str, Any]]:
    """Return test questions that have options."""
    rows = pq.read_table(run / "prepare/questions.parquet").to_pylist()
    return [q for q in rows if q["split"] == "test" and q["options"]][:QUESTIONS]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, with all its threads."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


class Timed:
    """Questions a second by the clock, and for each second of a process's CPU time."""

    def __init__(self, pid: int, count: int) -> None:
        self.pid, self.count = pid, count

    def __enter__(self) -> Timed:
        self.clock, self.used = time.perf_counter(), cpu_s(self.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.per_s = round(self.count / (time.perf_counter() - self.clock), 2)
        self.per_cpu_s = round(self.count / (cpu_s(self.pid) - self.used), 2)


def by_ask(run: Path, asked: list[dict[str, Any]]) -> None:
    """Ask by the command's own path; a few are enough."""
    for q in asked:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ask(q["question"], run, choices=list(q["options"]))


def opened(system: System, asked: list[dict[str, Any]]) -> list[str]:
    """Return the answers, one after the other."""
    return [system.answer([Asked(q["question"], q["options"])])[0].reply for q in asked]


async def served(base: str, asked: list[dict[str, Any]]) -> list[str]:
    """Return the same of so many clients at once, each with a connection of its own."""
    waiting, said = iter(enumerate(asked)), [""] * len(asked)

    async def client() -> None:
        async with httpx2.AsyncClient(base_url=base, timeout=300, trust_env=False) as http:
            for n, q in waiting:
                body = {"messages": [{"role": "user", "content": q["question"]}], "options": q["options"]}
                answer = await http.post("/v1/chat/completions", json=body)
                said[n] = answer.raise_for_status().json()["choices"][0]["message"]["content"]

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return said


@contextlib.contextmanager
def server(run: Path) -> Iterator[tuple[str, int]]:
    """Start a server, and yield its address and number when it says that it answers."""
    command = [sys.executable, "-m", "jmlr", "serve", str(run), "--systems", "jmlr", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = ""
        while "answers; Ctrl-C" not in line:
            line = process.stderr.readline()
            assert line, "the server did not start"
        try:
            yield line.split()[1], process.pid
        finally:
            process.send_signal(signal.SIGINT)


def main() -> None:
    """Measure, print, keep."""
    run = Path(sys.argv[1])
    asked = questions(run)
    system = System.open(row_of(run, "jmlr", 0))
    system.answer([Asked("?", ["a", "b"])])
    rounds: dict[str, list[Timed]] = {"ask": [], "opened": [], "served": []}
    with server(run) as (base, pid):
        body = {"messages": [{"role": "user", "content": asked[0]["question"]}], "options": asked[0]["options"]}
        begun = time.perf_counter()
        httpx2.post(f"{base}/v1/chat/completions", json=body, timeout=120, trust_env=False).raise_for_status()
        first = time.perf_counter() - begun
        for _ in range(ROUNDS):
            with Timed(os.getpid(), ASKED) as timed:
                by_ask(run, asked[:ASKED])
            rounds["ask"].append(timed)
            with Timed(os.getpid(), len(asked)) as timed:
                alone = opened(system, asked)
            rounds["opened"].append(timed)
            with Timed(pid, len(asked)) as timed:
                together = asyncio.run(served(base, asked))
            rounds["served"].append(timed)
    told = {k: {name: [getattr(t, k) for t in held] for name, held in rounds.items()} for k in ("per_s", "per_cpu_s")}
    middle = {k: {name: statistics.median(values) for name, values in of.items()} for k, of in told.items()}
    found = {
        "questions": len(asked), "clients": CLIENTS, "median": middle, "rounds": told,
        "served_over": {k: {name: round(of["served"] / of[name], 1) for name in ("ask", "opened")} for k, of in middle.items()},
        "same_answers": sum(a == b for a, b in zip(alone, together, strict=True)), "first_answer_s": round(first, 3),
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "load": os.getloadavg()[1],
    }  # fmt: skip
    (HERE / "serving.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
