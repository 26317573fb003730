"""A real SLURM on this machine for tests: munge, slurmctld and several slurmd with made-up GPUs, all state in one folder.

    python tests/slurm/cluster.py up FOLDER      # prints what to put into the environment: eval "$(...)"
    python tests/slurm/cluster.py down FOLDER

Needs the packages slurmctld, slurmd, slurm-client and munge (Debian's names), no systemd, no root. Without root the made-up
GPUs share one device file.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol", "sacct")
SEARCHED = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in (*DAEMONS, *COMMANDS) if not shutil.which(name, path=SEARCHED)]


def up(folder: Path, *, nodes: int = 2, cpus: int = 2, gpus: int = 2, memory_mb: int = 16000) -> dict[str, str]:
    """Start a cluster; return the environment variables that lead to it."""
    folder = folder.resolve()
    for name in ("munge", "state", "log", "bin", *(f"spool.node{n + 1}" for n in range(nodes))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    port = _free_ports(nodes + 1)
    filled = {
        "folder": folder, "host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "port": port, "nodes": nodes,
        "cpus": cpus, "gpus": gpus, "memory_mb": memory_mb, "first_port": port + 1, "last_port": port + nodes,
    }  # fmt: skip
    conf = folder / "slurm.conf"
    conf.write_text((HERE / "slurm.conf.in").read_text().format(**filled))
    (folder / "gres.conf").write_text(f"NodeName=node[1-{nodes}] Name=gpu File={_devices(folder, gpus)}\n")
    for name in COMMANDS:  # inside a job SLURM_CONF is gone from the environment, PATH is not
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which(name, path=SEARCHED)} "$@"\n')
        wrapper.chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_CONF": str(conf)}
    try:
        _start(folder, nodes, environment)
    except BaseException:
        down(folder)
        raise
    return environment


def _start(folder: Path, nodes: int, environment: dict[str, str]) -> None:
    key = folder / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    _run(["munged", "--force", *(f"--{k}={folder / 'munge' / v}" for k, v in files.items())], environment)
    _run(["slurmctld", "-i"], environment)
    for n in range(nodes):
        _run(["slurmd", "-N", f"node{n + 1}"], environment)
    for _ in range(150):
        idle = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %T"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if len({line for line in idle.stdout.splitlines() if line.endswith(" idle")}) == nodes:
            return
        time.sleep(0.2)
    logs = "\n".join(p.read_text(errors="replace")[-2000:] for p in sorted((folder / "log").glob("*.log")))
    raise RuntimeError(f"the cluster did not come up: {idle.stdout}{idle.stderr}\n{logs}")


def _run(command: list[str], environment: dict[str, str]) -> None:
    program = shutil.which(command[0], path=SEARCHED)
    assert program, command[0]
    done = subprocess.run(
        [program, *command[1:]], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _devices(folder: Path, gpus: int) -> str:
    """Make one character device for each GPU, as SLURM wants them; return their names as gres.conf writes them."""
    if gpus == 0 or os.geteuid() != 0:
        return "/dev/tty"
    for n in range(gpus):
        with contextlib.suppress(FileExistsError):
            os.mknod(folder / f"gpu{n}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    return f"{folder}/gpu[0-{gpus - 1}]"


def _free_ports(count: int) -> int:
    """Return the first of several neighbouring free ports."""
    for first in range(26800 + os.getpid() % 1000 * 4, 40000, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for n in range(count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", first + n))
            return first
    raise RuntimeError("no free ports")


def down(folder: Path) -> None:
    """Stop exactly what `up` started, and what its jobs left; remove the folder."""
    folder = folder.resolve()
    files = [*folder.glob("slurmd.*.pid"), folder / "slurmctld.pid", folder / "munge/pid"]
    pids = [int(text) for f in files if f.is_file() and (text := f.read_text().strip()).isdecimal()]
    for pid in pids:
        _kill(pid, signal.SIGTERM)
    for pid in processes(folder):
        _kill(pid, signal.SIGKILL)
    until = time.monotonic() + 15
    while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    for pid in pids:
        _kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def processes(folder: Path) -> list[int]:
    """Return the processes of the cluster's jobs: those whose PATH leads to its commands and that stand in a job."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                words = (entry / "environ").read_bytes().split(b"\0")
                own = any(w.startswith(b"PATH=") and f"{folder}/bin".encode() in w for w in words)
                if own and any(w.startswith((b"SLURM_JOB_ID=", b"SLURM_JOBID=")) for w in words):
                    found.append(int(entry.name))
    return found


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up", folder]:
            print("\n".join(f"export {k}={v}" for k, v in up(Path(folder)).items()))
        case ["down", folder]:
            down(Path(folder))
        case _:
            sys.exit(__doc__)
