"""A stage with models spends five seconds on imports: a process that has done them forks for each job of a run on this machine.

    start = keep_warm(local=True)              # Snakemake's main process, once: `python -m jmlr.warm` begins to import
    code = run_warm(["encode", "--out", ...])  # the stage's own process: it waits for the fork; None: run it yourself

The stage's own process hands over its arguments, folder, umask, environment and streams, passes signals on, and ends as the job
does. It runs the job itself wherever the fork would not be the same: another environment, interpreter or source; torchrun; no
process to fork. JMLR_WARM=0 switches all this off. Linux alone has what it needs (pidfd, SO_PEERCRED, PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VARIABLE = "JMLR_WARM"
WITH_MODELS = ("pretrain", "encode", "rerank", "train", "answer")  # the stages with models
THREADS = ("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")  # fmt: skip
# What Snakemake and shells set or take away for each job, and no library reads when it is imported; all else must agree.
FREE = {*THREADS, VARIABLE, "_", "PWD", "OLDPWD", "SHLVL", "PS1", "PS2", "TMP", "TMPDIR", "TEMP", "TEMPDIR"}
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE_S = 60.0  # for the answer: the imports may still go on
ACCEPTED = b"y"
HEADER, STATUS = struct.Struct("!I"), struct.Struct("!i")


def keep_warm(*, local: bool, environments: bool = False) -> None:
    """Start the process that forks, and end it with this one; jobs find it by an environment variable.

    Args:
        local: jobs run on this machine
        environments: jobs run in environments or containers of their own
    """
    if not local or environments or sys.platform != "linux" or os.environ.get(VARIABLE) == "0":
        return
    folder = tempfile.mkdtemp(prefix="jmlr-")  # mode 0700
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(
                f"{folder}/door"
            )  # before the imports: who comes early waits for them, which is sooner than his own
            door.listen(64)
            os.environ.pop(VARIABLE, None)
            running = subprocess.Popen(
                [sys.executable, "-P", "-m", "jmlr.warm", str(door.fileno()), folder],
                env={"TQDM_DISABLE": "1", **os.environ, **dict.fromkeys(THREADS, "1")}, pass_fds=[door.fileno()],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    os.environ[VARIABLE] = f"{folder}/door"

    @atexit.register
    def end() -> None:
        running.communicate()  # its standard input ends, so does it, once its jobs have


def run_warm(argv: Sequence[str]) -> int | None:
    """Let the process that has the libraries run a stage, and return its exit code; None: nothing has begun, nor will."""
    path = os.environ.get(VARIABLE, "0")
    if path == "0" or not argv or argv[0] not in WITH_MODELS or {"-h", "--help"} & set(argv):
        return None
    if os.isatty(2) or not threads_told():
        return None
    asked = _Asked()
    ignored = [n for n in PASSED_ON if signal.getsignal(n) is signal.SIG_IGN]
    before = {n: signal.signal(n, asked.pass_on) for n in PASSED_ON if n not in ignored}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            if not _accepted(connection, path, _request(argv, ignored)):
                return None
            asked.begin(connection)
            status = _received(connection, STATUS.size)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        if asked.connection is None:  # nothing has begun: the signals are this process's own
            for number in asked.early:
                os.kill(os.getpid(), number)
    if status is None:
        print(f"jmlr {argv[0]}: the process that ran it ({VARIABLE}) has died; begin again", file=sys.stderr)
        return 1
    return _ended_like(STATUS.unpack(status)[0])


class _Asked:
    """Passes signals on to the job, in the order they came; those that come before it has begun, when it has."""

    def __init__(self) -> None:
        self.early: list[int] = []
        self.connection: socket.socket | None = None

    def pass_on(self, number: int, _: Any) -> None:
        if self.connection is None:
            self.early.append(number)
            return
        with contextlib.suppress(OSError):
            self.connection.send(bytes([number]))

    def begin(self, connection: socket.socket) -> None:
        self.connection = connection
        while self.early:
            self.pass_on(self.early.pop(0), None)


def threads_told(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of threads that an environment gives libraries; 0 where it gives none, or not one to all."""
    told = {text for name in THREADS if (text := environment.get(name))}
    only = told.pop() if len(told) == 1 and "OMP_NUM_THREADS" in environment else ""
    return int(only) if only.isdecimal() else 0


def identity() -> dict[str, Any]:
    """Return what must agree for a fork to be what a fresh process would be."""
    environment = {k: v for k, v in os.environ.items() if k not in FREE}
    package = str(Path(__file__).resolve().parents[1])
    # python and python3 of a folder are one: the scripts that pip writes name either
    python = [str(Path(sys.executable).parent), os.path.realpath(sys.executable)]
    return {"python": python, "version": sys.version, "package": package, "environment": environment}


def _request(argv: Sequence[str], ignored: Sequence[int]) -> bytes:
    umask = os.umask(0o077)
    os.umask(umask)
    return json.dumps(
        {
            "identity": identity(),
            "argv": [sys.argv[0], *argv],
            "path": sys.path,
            "cwd": os.getcwd(),
            "umask": umask,
            "environment": dict(os.environ),
            "ignored": [int(n) for n in ignored],
        }
    ).encode()


def _accepted(connection: socket.socket, path: str, request: bytes) -> bool:
    """Send a job; tell whether it has begun."""
    try:
        connection.settimeout(PATIENCE_S)
        connection.connect(path)
        if peer(connection) != os.getuid():
            return False
        socket.send_fds(connection, [HEADER.pack(len(request))], [0, 1, 2])
        connection.sendall(request)
        if _received(connection, 1) != ACCEPTED:
            return False
        connection.settimeout(None)
        return True
    except OSError:
        return False


def peer(connection: socket.socket) -> int:
    """Return the user id of the process at the other end."""
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])


def _received(connection: socket.socket, size: int) -> bytes | None:
    """Return so many bytes; None where the other end has gone."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while len(found) < size and (more := connection.recv(size - len(found))):
            found += more
    return found if len(found) == size else None


def _ended_like(status: int) -> int:
    """Return the exit code of a wait status; of a signal that killed the job, die of the same."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        sys.stdout.flush()
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status)
