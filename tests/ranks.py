"""Programs run by one process, or by two ranks that meet by torchrun and gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that computes on the CPU, whoever started the tests."""
    own = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**own, "OMP_NUM_THREADS": "1", "JMLR_PROGRESS_S": "0", "JMLR_DEVICE": "cpu", **more}


def torchrun(*arguments: object, program: Sequence[str] = ("-m", "jmlr")) -> list[object]:
    """Return the words that run a program by two ranks."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *program, *arguments]


def jmlr(*arguments: object) -> list[object]:
    """Return the words that run it by one process."""
    return [sys.executable, "-m", "jmlr", *arguments]


def finished(words: Sequence[object], **env: str) -> str:
    """Run a program to its end, and return what it said."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment(**env), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def failed(words: Sequence[object], **env: str) -> str:
    """Run a program that must not succeed, and return what it said."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment(**env), timeout=300)
    assert done.returncode != 0, done.stderr[-3000:]
    return done.stderr
