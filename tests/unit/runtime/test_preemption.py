"""Preempted jobs go back into the queue: those of this run alone. (On a real SLURM: tests/slurm.)"""

from __future__ import annotations

import pytest

from jmlr.runtime.preemption import ticking


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Make a squeue that shows a file, and a scontrol that writes down what it is told and fails where a file says why."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    scripts = {
        "squeue": f"cat {tmp_path}/queue",
        "scontrol": f"echo $@ >> {tmp_path}/told; [ ! -e {tmp_path}/fault ] || {{ cat {tmp_path}/fault >&2; exit 1; }}",
    }
    for name, line in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_preempted_job_of_this_run_is_requeued_and_no_other(cluster, capsys):
    here = cluster / "run"
    states = ["7|PREEMPTED", "8|PREEMPTED", "9|RUNNING", "10|COMPLETING", "11|CANCELLED"]
    (cluster / "queue").write_text("".join(f"{s}|{here}\n" for s in states) + f"12|PREEMPTED|{cluster}\n")
    ticking({"7"})()
    assert (cluster / "told").read_text() == "requeue 8\n"
    assert capsys.readouterr().err == "SLURM job 8 was preempted; it is requeued and starts anew when there is room\n"


def test_a_job_that_slurm_does_not_requeue_is_said_once_and_tried_again(cluster, capsys):
    (cluster / "queue").write_text(f"8|PREEMPTED|{cluster}/run\n")
    (cluster / "fault").write_text("Requested operation\nis presently disabled")
    tick = ticking(set())
    tick()
    tick()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "SLURM job 8 was preempted and cannot be requeued (Requested operation is presently disabled)" in said
    (cluster / "fault").unlink()
    tick()
    assert "it is requeued" in capsys.readouterr().err
    assert (cluster / "told").read_text() == "requeue 8\n" * 3


def test_a_cluster_that_does_not_answer_for_a_while_is_asked_again(cluster, capsys):
    tick = ticking(set())
    tick()  # no such file
    (cluster / "queue").write_text(f"8|PREEMPTED|{cluster}/run\n")
    tick()
    assert (cluster / "told").read_text() == "requeue 8\n"
