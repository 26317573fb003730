"""Questions a second of a finished run: the server with fifty clients, beside the same questions asked one after the other.

    python benchmarks/serving.py results/demo        # two cores; writes benchmarks/serving.json

1. `ask`: the path of `jmlr ask` in a loop in one process: the row is opened for each question, as the command does.
2. `opened`: the row is opened once, and answers one question after the other.
3. `served`: a server (`jmlr serve`) is started, and the same questions come from so many clients at once.

The ways take turns for some rounds, on the run's own test questions with their options. What is told: questions a second by the
clock (the median of the rounds, and each round), whether all answers are the same, and the seconds of the first answer after the
server said that it answers.
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
QUESTIONS, ASKED, CLIENTS, ROUNDS = 200, 8, 50, 3


def questions(run: Path) -> list[dict[str, Any]]:
    """Return test questions that have options."""
    rows = pq.read_table(run / "prepare/questions.parquet").to_pylist()
    return [q for q in rows if q["split"] == "test" and q["options"]][:QUESTIONS]


def by_ask(run: Path, asked: list[dict[str, Any]]) -> float:
    """Return questions a second of the command's own path; a few are enough."""
    begun = time.perf_counter()
    for q in asked[:ASKED]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ask(q["question"], run, choices=list(q["options"]))
    return ASKED / (time.perf_counter() - begun)


def opened(system: System, asked: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """Return questions a second one after the other, and the answers."""
    begun = time.perf_counter()
    said = [system.answer([Asked(q["question"], q["options"])])[0].reply for q in asked]
    return len(asked) / (time.perf_counter() - begun), said


async def served(base: str, asked: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """Return the same of so many clients at once, each with a connection of its own."""
    waiting, said = iter(enumerate(asked)), [""] * len(asked)

    async def client() -> None:
        async with httpx2.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
            for n, q in waiting:
                body = {"messages": [{"role": "user", "content": q["question"]}], "options": q["options"]}
                answer = await http.post("/v1/chat/completions", json=body)
                said[n] = answer.raise_for_status().json()["choices"][0]["message"]["content"]

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(asked) / (time.perf_counter() - begun), said


@contextlib.contextmanager
def server(run: Path) -> Iterator[str]:
    """Start a server, and yield its address when it says that it answers."""
    command = [sys.executable, "-m", "jmlr", "serve", str(run), "--systems", "jmlr", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = ""
        while "answers; Ctrl-C" not in line:
            line = process.stderr.readline()
            assert line, "the server did not start"
        try:
            yield line.split()[1]
        finally:
            process.send_signal(signal.SIGINT)


def main() -> None:
    """Measure, print, keep."""
    run = Path(sys.argv[1])
    asked = questions(run)
    system = System.open(row_of(run, "jmlr", 0))
    system.answer([Asked("?", ["a", "b"])])
    rates: dict[str, list[float]] = {"ask": [], "opened": [], "served": []}
    with server(run) as base:
        body = {"messages": [{"role": "user", "content": asked[0]["question"]}], "options": asked[0]["options"]}
        begun = time.perf_counter()
        httpx2.post(f"{base}/v1/chat/completions", json=body, timeout=120, trust_env=False).raise_for_status()
        first = time.perf_counter() - begun
        for _ in range(ROUNDS):
            rates["ask"].append(by_ask(run, asked))
            one, alone = opened(system, asked)
            many, together = asyncio.run(served(base, asked))
            rates["opened"].append(one)
            rates["served"].append(many)
    middle = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    found = {
        "questions": len(asked), "clients": CLIENTS, "questions_per_s": middle,
        "rounds": {k: [round(v, 2) for v in values] for k, values in rates.items()},
        "served_over_ask": round(middle["served"] / middle["ask"], 1), "served_over_opened": round(middle["served"] / middle["opened"], 1),
        "same_answers": sum(a == b for a, b in zip(alone, together, strict=True)), "first_answer_s": round(first, 3),
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip
    (HERE / "serving.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
