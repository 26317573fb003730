"""The workflow on a real SLURM of two nodes: `snakemake --profile slurm`, from a fresh clone."""

from __future__ import annotations

import json
import random
import re
import subprocess
import threading
import time

import pytest

from checkout import MINI, Checkout, failure, results

pytestmark = pytest.mark.slow

SOON = ("--slurm-init-seconds-before-status-checks", "1")
ONE_THREAD = ("--set-threads", "pretrain=1", "encode=1", "train=1", "answer=1")  # bits depend on the number of threads
KEPT = ("--slurm-keep-successful-logs",)


class Canceller(threading.Thread):
    """Cancels or kills jobs of the cluster at random moments."""

    def __init__(self, copy: Checkout, kills: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.copy, self.kills, self.random = copy, kills, random.Random(seed)
        self.done: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while len(self.done) < self.kills and not self.over.wait(self.random.uniform(10, 60)):
            jobs = self.copy.run("squeue", "--noheader", "--states=R", "--format=%i %k").stdout.split("\n")
            jobs = [j for j in jobs if j.strip()]
            if jobs:
                job, _, comment = self.random.choice(jobs).partition(" ")
                how = self.random.choice([[], ["--signal=KILL"]])  # the first: SIGTERM, after KillWait SIGKILL
                self.copy.run("scancel", *how, job)
                self.done.append(f"scancel {' '.join(how)} {job} {comment}")


def sbatch_lines(copy: Checkout) -> list[str]:
    """Return what the jobs asked for, from SLURM's own record of them."""
    done = copy.run("scontrol", "--oneliner", "show", "job")
    return done.stdout.splitlines()


def last_log(copy: Checkout) -> str:
    """Return the end of what the last job wrote."""
    logs = sorted((copy.folder / ".snakemake/slurm_logs").rglob("*.log"), key=lambda p: p.stat().st_mtime)
    return f"{logs[-1]}:\n{logs[-1].read_text(errors='replace')[-4000:]}" if logs else "no job wrote a log"


def test_the_whole_dag_runs_by_the_profile_though_jobs_are_cancelled(finished: Checkout, clone: Checkout):
    canceller = Canceller(clone, kills=6, seed=int(time.time()))
    canceller.start()
    done = clone.snakemake("--profile", "slurm", "--configfile", MINI, "--retries", "6", *SOON, *ONE_THREAD, *KEPT)
    canceller.over.set()
    assert done.returncode == 0, f"{canceller.done}\n{failure(done)}\n{last_log(clone)}"
    print(canceller.done)
    assert len(canceller.done) >= 4
    assert results(clone.folder) == results(finished.folder)
    jobs = sbatch_lines(clone)
    trained = [line for line in jobs if "rule_train" in line]
    assert trained
    assert all("gres/gpu=1" in line or "gpu:1" in line for line in trained)
    assert re.search(r"cost: .* GPU hours", done.stdout + done.stderr)


def train_alone(copy: Checkout, finished: Checkout, *arguments: str) -> list[dict]:
    """Train the joint system's first round anew through SLURM on a copy of the finished run; return its history."""
    subprocess.run(["cp", "-a", f"{finished.folder}/results", f"{finished.folder}/.snakemake", copy.folder], check=True)
    target = "results/mini/jmlr/seed0/r1/train"
    done = copy.snakemake(
        "--profile", "slurm", "--configfile", MINI, *SOON, *arguments, "--forcerun", "train", "--", target
    )
    assert done.returncode == 0, failure(done)
    return [json.loads(line) for line in (copy.folder / target / "metrics.jsonl").read_text().splitlines()]


TWO_NODES = ("train:gpu=2", "train:nodes=2", "train:tasks=2", "train:tasks_per_gpu=0", "train:mpi=srun")


@pytest.mark.parametrize("resources", [("train:gpu=2",), TWO_NODES], ids=["one node", "two nodes"])
def test_two_ranks_train_like_one(finished: Checkout, clone: Checkout, resources):
    history = train_alone(clone, finished, "--set-resources", *resources)
    reference = finished.folder / "results/mini/jmlr/seed0/r1/train/metrics.jsonl"
    expected = [json.loads(line) for line in reference.read_text().splitlines()]
    assert len(history) == len(expected)
    for got, want in zip(history, expected, strict=True):
        assert got["loss_lm"] == pytest.approx(want["loss_lm"], rel=1e-4)
        assert got["loss_rank"] == pytest.approx(want["loss_rank"], rel=1e-4)
    manifest = json.loads((clone.folder / "results/mini/jmlr/seed0/r1/train/manifest.json").read_text())
    assert manifest["hardware"].get("ranks") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--default-resources", "slurm_partition=mian"),
            "no partition 'mian' (did you mean 'main'?); set slurm_partition",
        ),
        (("--set-resources", "train:gpu=3"), "train: 3 GPU(s) on a node, but partition 'main' has at most 2; set gpu"),
        (("--set-resources", "train:mem_mb=99000"), "train: 99000 MB, but a node of partition 'main' has 16000"),
        (("--set-resources", "train:gpu_model=h100", "train:gpu=1"), "train: 1 GPU(s) of model 'h100' on a node"),
    ],
    ids=["partition", "GPUs", "memory", "GPU model"],
)
def test_what_the_cluster_cannot_give_is_one_line_before_the_first_job(clone: Checkout, arguments, line):
    done = clone.snakemake("--profile", "slurm", "--configfile", MINI, *arguments)
    assert done.returncode != 0
    assert line in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone.folder / "results").exists()
    assert not (clone.folder / ".snakemake/slurm_logs").exists()
