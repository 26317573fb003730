"""The process that has imported the libraries and forks for each job: `python -m jmlr.warm DOOR FOLDER`; see jmlr.runtime.warm.

It has one thread, computes nothing and touches no GPU, so that a fork of it is what a fresh process is after the same imports. It
ends when its standard input does, which Snakemake's main process holds; jobs that still run are then asked to end (SIGTERM).

A job is the fork's own main program: with which code and which last words it ends is the interpreter's business.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jmlr.__main__ import main
from jmlr.runtime.warm import ACCEPTED, HEADER, PASSED_ON, STATUS, VARIABLE, WITH_MODELS, identity, peer, threads_told

LIBRARIES = ("torch", "transformers", "peft", "pyarrow.parquet", "pandas")
MODELS = ("transformers.models.llama.modeling_llama", "transformers.models.bert.modeling_bert", "peft.tuners.lora")
OURS = tuple(
    f"jmlr.{room}" for room in ("pretraining", "training", "inference", "models", "losses", "topk", "corpus", "runtime")
)
JEMALLOC = "JE_ARROW_MALLOC_CONF"
READING_S = 5.0
PR_SET_NAME, PR_SET_PDEATHSIG = 15, 1


@dataclass
class Job:
    """A fork, and the process that waits for it."""

    pid: int
    ended: int  # a pidfd, readable when the fork has ended
    connection: socket.socket


def serve(door: socket.socket, own: dict[str, Any]) -> dict[str, Any] | None:
    """Fork for each job until standard input ends; return the job in its fork, None in the end.

    Clients that have gone are seen to before new ones come in: what they left is dead before it is begun anew.
    """
    loaded = _sources()
    jobs: list[Job] = []
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(door, selectors.EVENT_READ)
        while jobs or 0 in selector.get_map():
            ready = {key.fd for key, _ in selector.select()}
            for job in [j for j in jobs if ready & {j.ended, j.connection.fileno()}]:
                if not _attended(job):
                    selector.unregister(job.ended)
                    selector.unregister(job.connection)
                    _close(job)
                    jobs.remove(job)
            if 0 in ready and not os.read(0, 1):
                selector.unregister(0)
                selector.unregister(door)
                for job in jobs:
                    os.kill(job.pid, signal.SIGTERM)
            elif door.fileno() in ready:
                connection, _ = door.accept()
                request = _request(connection, own, loaded)
                pid = _forked() if request else -1
                if pid == 0 and request:
                    for job in jobs:
                        _close(job)
                    connection.close()
                    return request
                if pid > 0:
                    jobs.append(Job(pid, os.pidfd_open(pid), connection))
                    selector.register(jobs[-1].ended, selectors.EVENT_READ)
                    selector.register(connection, selectors.EVENT_READ)
                _answer(connection, ACCEPTED if pid > 0 else b"n")
                for fd in request["streams"] if request else ():
                    os.close(fd)
                if pid < 0:
                    connection.close()
    return None


def _attended(job: Job) -> bool:
    """Pass signals on to a job, end it if its client has gone, tell the client if it has ended; tell whether it goes on."""
    try:
        numbers = job.connection.recv(16, socket.MSG_DONTWAIT)
        gone = not numbers
    except BlockingIOError:
        numbers, gone = b"", False
    except OSError:
        numbers, gone = b"", True
    if gone:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)  # with what it has started
    for number in numbers:
        os.kill(job.pid, number)
    pid, status = os.waitpid(job.pid, 0 if gone else os.WNOHANG)
    if pid:
        _answer(job.connection, STATUS.pack(status))
    return not pid


def _answer(connection: socket.socket, words: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(words)


def _close(job: Job) -> None:
    os.close(job.ended)
    job.connection.close()


def _request(connection: socket.socket, own: dict[str, Any], loaded: dict[str, int]) -> dict[str, Any] | None:
    """Read a job, with the `streams` it came with; None if it is not for this process."""
    streams: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        connection.settimeout(READING_S)
        head, streams, _, _ = socket.recv_fds(connection, HEADER.size, 3)
        left, text = HEADER.unpack(head)[0], b""
        while len(text) < left and (more := connection.recv(left - len(text))):
            text += more
        request: dict[str, Any] = json.loads(text)
        fits = peer(connection) == os.getuid() and len(streams) == 3 and request["identity"] == own
        if fits and _sources() == loaded:
            connection.setblocking(True)
            return {**request, "streams": streams}
    for fd in streams:
        os.close(fd)
    return None


def _forked() -> int:
    """Fork; -1 where that cannot be."""
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        return -1
    if pid == 0:
        os.setpgid(0, 0)
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # who waits for the job then says so
        prctl(PR_SET_NAME, b"jmlr")
        if os.getppid() != server:
            os._exit(1)
    return pid


def become(request: dict[str, Any], by_imports: dict[str, str]) -> None:
    """Make this fork what the process that waits for it is: streams, folder, umask, environment, signals, threads, arguments."""
    for fd, number in zip(request["streams"], range(3), strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    _use_threads(threads_told(request["environment"]))
    os.environ.clear()
    os.environ.update({**by_imports, **request["environment"]})
    os.environ.pop(VARIABLE)
    sys.path[:], sys.argv[:] = request["path"], request["argv"]
    for number in PASSED_ON:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else usual)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]


def _use_threads(threads: int) -> None:
    """Let the libraries, which have read 1 when they were loaded, use so many threads."""
    if threads != 1:
        import pyarrow
        import torch
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
        torch.set_num_threads(threads)
        pyarrow.set_cpu_count(threads)


def _sources() -> dict[str, int]:
    """Return when each file of ours that is loaded was changed (ns): an edit in mid-run is for fresh processes."""
    loaded = [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "jmlr"]
    found = {}
    for file in (str(m.__file__) for m in loaded):
        with contextlib.suppress(OSError):
            found[file] = os.stat(file).st_mtime_ns
    return found


def load() -> dict[str, str]:
    """Import what the stages with models need; return the environment variables that imports have set."""
    before = dict(os.environ)
    alone = {} if JEMALLOC in os.environ else {JEMALLOC: "background_thread:false"}
    os.environ.update(alone)  # else pyarrow's second allocator, which nothing uses, starts a thread when it is loaded
    names = [*LIBRARIES, *MODELS, *(f"jmlr.stages.{stage}" for stage in WITH_MODELS)]
    for package in OURS:
        found = importlib.import_module(package)
        names += [f"{package}.{m.name}" for m in pkgutil.iter_modules(found.__path__)]
    for name in names:
        with contextlib.suppress(ImportError):  # an extra that is not installed; a CUDA module without a GPU
            importlib.import_module(name)
    for name in alone:
        del os.environ[name]
    return {k: v for k, v in os.environ.items() if before.get(k) != v}


def clean() -> bool:
    """Tell whether a fork is what a fresh process would be: one thread, and no GPU touched, which no fork could use."""
    maps = Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/task")) == 1 and not any(name in maps for name in ("libcuda.so", "/dev/nvidia"))


def leave(code: int) -> NoReturn:
    """End as the interpreter does, but let the system take the modules: to take three thousand apart costs more than a short job."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code)


def _main(door: int, folder: str) -> int:
    request = None
    with socket.socket(fileno=door) as listening:
        try:
            own = identity()
            by_imports = load()
            gc.collect()
            gc.freeze()  # what is shared with the forks stays shared
            request = serve(listening, own) if clean() else None
        finally:
            if request is None:
                shutil.rmtree(folder, ignore_errors=True)
    if request is None:
        return 0
    become(request, by_imports)
    leave(main())


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2]))
