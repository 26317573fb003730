"""Signals: a training remembers them, a second Ctrl-C ends it, and stages are told by a Snakemake that is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jmlr.runtime import signals
from jmlr.runtime.signals import SIGNALS, StopSignal


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_and_afterwards_handled_as_before(number):
    def handler(*_: object) -> None: ...

    before = signal.signal(number, handler)
    try:
        with StopSignal() as stop:
            assert not stop.asked
            os.kill(os.getpid(), number)
            assert stop.asked
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_a_second_interrupt_ends_at_once_unless_it_is_the_first_passed_on(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.asked
            monkeypatch.setattr(signals, "AT_ONCE_S", -1.0)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


STAND_IN = """
import signal, subprocess, time
from types import SimpleNamespace
from jmlr.runtime.ending import pass_on_end

line = "set -e; trap : TERM; sleep 60 2> >(tee -i /dev/null >&2)"
shell = subprocess.Popen(line, shell=True, executable="/bin/bash")
job = SimpleNamespace(name="train", log=["logs/train.log"], is_group=lambda: False)
earlier = []
signal.signal(signal.SIGTERM, lambda *_: earlier.append(1))
pass_on_end(lambda: [job], local=True)
time.sleep(1)
print("ready", flush=True)
code = shell.wait(30)
print(earlier, code, flush=True)
"""


def test_a_program_that_is_asked_to_end_asks_the_stages_of_its_shells():
    with subprocess.Popen([sys.executable, "-c", STAND_IN], stdout=-1, stderr=-1, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        out, err = program.communicate(timeout=40)
    assert out == "[1] 143\n", out + err
    assert "asked to end, and 1 job with it; a training saves its state first" in err
    assert "train: logs/train.log" in err


OF_A_CLUSTER = """
import signal, subprocess, time
from pathlib import Path
from types import SimpleNamespace
from jmlr.runtime.ending import pass_on_end

stage = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
job = SimpleNamespace(name="train", log=["logs/train.log"], is_group=lambda: False)
group = SimpleNamespace(is_group=lambda: True)
earlier = []
signal.signal(signal.SIGTERM, lambda *_: earlier.append(1))
pass_on_end(lambda: [job, group], local=False)
if Path("../later").exists():
    Path("../later").replace("../queue")
print("ready", flush=True)
while not earlier:
    time.sleep(0.01)
print(earlier, stage.poll(), flush=True)
stage.kill()
"""


def asked_to_end(folder: Path, queue: str | None) -> str:
    """Run a program with jobs on a cluster whose squeue shows a table, or fails; ask it to end; return what it said."""
    here = folder / "run"
    here.mkdir()
    if queue is not None:
        (folder / "queue").write_text(f"3|RUNNING|{here}\n")  # before the program
        (folder / "later").write_text(queue.replace("HERE", str(here)))
    scripts = {"squeue": f"cat {folder}/queue", "scancel": f"touch {folder}/cancelled"}
    for name, line in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
    command = [sys.executable, "-c", OF_A_CLUSTER]
    with subprocess.Popen(command, cwd=here, env=environment, stdout=-1, stderr=-1, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        out, err = program.communicate(timeout=40)
    assert out == "[1] None\n", f"what was done at SIGTERM before is done, and nothing here is ended: {out + err}"
    assert not (folder / "cancelled").exists(), "jobs of a cluster are left alone"
    return err


def test_of_a_clusters_jobs_it_says_which_go_on_and_how_to_end_them(tmp_path):
    rows = [
        "3|RUNNING|HERE",
        "5|RUNNING|HERE",
        "6|PENDING|HERE",
        "7|CONFIGURING|HERE",
        "8|COMPLETED|HERE",
        "9|RUNNING|/",
    ]
    assert asked_to_end(tmp_path, "".join(f"{row}\n" for row in rows)) == (
        "asked to end: waits for 2 jobs of the cluster; killed, it leaves them running; "
        "to end them now: scancel 5 6 7\n  train: logs/train.log\n"
    )


@pytest.mark.parametrize("queue", [None, ""], ids=["squeue fails", "squeue shows nothing yet"])
def test_where_the_cluster_does_not_tell_its_jobs_no_scancel_without_ids_is_offered(tmp_path, queue):
    said = asked_to_end(tmp_path, queue)
    assert "to end them now: scancel and the ids that `squeue --me` shows\n  train: logs/train.log" in said
