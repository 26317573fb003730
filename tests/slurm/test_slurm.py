"""The workflow on a real SLURM of two nodes: `snakemake --profile slurm`, from a fresh clone."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from checkout import MINI, Checkout, failure, results

pytestmark = pytest.mark.slow

SOON = ("--slurm-init-seconds-before-status-checks", "1")
ONE_THREAD = ("--set-threads", "pretrain=1", "encode=1", "train=1", "answer=1")  # bits depend on the number of threads
KEPT = ("--slurm-keep-successful-logs",)


class Canceller(threading.Thread):
    """Cancels or kills jobs of the cluster at random moments, none more than three times."""

    def __init__(self, copy: Checkout, kills: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.copy, self.kills, self.random = copy, kills, random.Random(seed)
        self.done: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while len(self.done) < self.kills and not self.over.wait(self.random.uniform(10, 60)):
            jobs = self.copy.run("squeue", "--noheader", "--states=R", "--format=%i %k").stdout.split("\n")
            jobs = [j for j in jobs if j.strip() and sum(j.partition(" ")[2] in d for d in self.done) < 3]
            if jobs:
                job, _, comment = self.random.choice(jobs).partition(" ")
                how = self.random.choice([[], ["--signal=KILL"]])  # the first: SIGTERM, after KillWait SIGKILL
                self.copy.run("scancel", *how, job)
                self.done.append(f"scancel {' '.join(how)} {job} {comment}")


def sbatch_lines(copy: Checkout, rule: str) -> list[str]:
    """Return what a copy's jobs of a rule asked for, from SLURM's own record of them, in the order of their submission."""
    done = copy.run("scontrol", "--oneliner", "show", "job")
    lines = [line for line in done.stdout.splitlines() if f"WorkDir={copy.folder} " in line and f"rule_{rule}" in line]
    return sorted(lines, key=lambda line: int(asked(line, "JobId")))


def asked(line: str, key: str) -> str:
    """Return a value from SLURM's record of a job."""
    found = re.search(rf"\b{key}=([^\s,]+)", line)
    assert found, f"no {key} in {line}"
    return found[1]


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
    trained = sbatch_lines(clone, "train")
    assert trained
    assert all("gres/gpu=1" in line or "gpu:1" in line for line in trained)
    assert re.search(r"cost: .* GPU hours", done.stdout + done.stderr)


def train_alone(copy: Checkout, finished: Checkout, *arguments: str) -> list[dict]:
    """Train the joint system's first round anew through SLURM on a copy of the finished run; return its history."""
    subprocess.run(["cp", "-a", f"{finished.folder}/results", f"{finished.folder}/.snakemake", copy.folder], check=True)
    target = "results/mini/jmlr/seed0/r1/train"
    done = copy.snakemake(
        "--profile", "slurm", "--configfile", MINI, *arguments, *SOON, *ONE_THREAD, "--forcerun", "train", "--", target
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
    [job] = sbatch_lines(clone, "train")
    assert asked(job, "NumTasks") == asked(job, "NumNodes")  # one torchrun on each node, however many GPUs it has


SLOW = """

quick = one_step


def one_step(*given):
    time.sleep(6)
    return quick(*given)
"""


def train_slowly(copy: Checkout, finished: Checkout, after_the_first_step: Callable[[], object]) -> None:
    """Train as `train_alone` does, in slow steps; call something after the first; see that training went on from there."""
    loop = copy.folder / "src/jmlr/training/loop.py"
    loop.write_text(loop.read_text() + SLOW)
    (copy.folder / "more.yaml").write_text("train: {steps: 8, batch: 4, samples: 4, checkpoint_min: 1000}\n")
    copy.extra["JMLR_PROGRESS_S"] = "0"
    log = copy.folder / "logs/mini/jmlr/seed0/r1/train.log"

    def wait() -> None:
        while not (log.is_file() and ": 1/4" in log.read_text()):
            time.sleep(0.2)
        after_the_first_step()

    threading.Thread(target=wait, daemon=True).start()
    history = train_alone(copy, finished, "more.yaml")
    assert [row["step"] for row in history] == [1, 2, 3, 4]
    assert re.search(r"goes on from step [23]\b", log.read_text()), log.read_text()


def test_a_cancelled_training_saves_its_state_before_it_ends_and_the_next_attempt_goes_on(finished, clone: Checkout):
    """The shell of the rule waits for its stage; else SLURM ends the step with the shell, before a slow step is over."""

    def cancel() -> None:
        clone.run("scancel", *clone.run("squeue", "--noheader", "--states=R", "--format=%i").stdout.split())

    train_slowly(clone, finished, cancel)
    first, second = sbatch_lines(clone, "train")
    assert asked(first, "JobState") == "CANCELLED"
    assert [asked(job, "mem") for job in (first, second)] == ["3000M", "6000M"]
    assert [asked(job, "TimeLimit") for job in (first, second)] == ["1-00:00:00"] * 2  # it need not begin anew


def test_a_preempted_training_is_requeued_and_goes_on(finished, clone: Checkout):
    """With PreemptMode=CANCEL the job is over for SLURM, while Snakemake takes it for one that runs, for ever."""

    def preempt() -> None:
        clone.run("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")

    train_slowly(clone, finished, preempt)
    [job] = sbatch_lines(clone, "train")
    assert (asked(job, "JobState"), asked(job, "Restarts")) == ("COMPLETED", "1")


@pytest.mark.parametrize(
    "prompt", ["It costs $50. {question} {options}", "Question:\n{question} {options}", 'The "{question}" {options}']
)
def test_a_configuration_that_reaches_a_job_otherwise_than_it_was_given_ends_the_job_in_one_line(
    clone: Checkout, prompt
):
    """The plugin's shell takes $5 for a variable, keeps the two characters of a line end, and drops quotes."""
    given = f"reading={json.dumps({'question_prompt': prompt})}"
    target = ("--retries", "0", "--", "results/mini/fetch/notes")
    done = clone.snakemake("--profile", "slurm", "--configfile", MINI, "--config", given, *SOON, *ONE_THREAD, *target)
    assert done.returncode != 0
    line = "config: reading: not as the submitting Snakemake had it; --config does not reach jobs unchanged: write its values"
    assert line in done.stdout + done.stderr + last_log(clone)
    assert not (clone.folder / "results/mini/fetch/notes").exists()
    (clone.folder / "more.yaml").write_text(json.dumps({"reading": {"question_prompt": prompt}}))
    done = clone.snakemake("--profile", "slurm", "--configfile", MINI, "more.yaml", *SOON, *ONE_THREAD, *target)
    assert done.returncode == 0, f"{failure(done)}\n{last_log(clone)}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--default-resources", "slurm_partition=mian"),
            "no partition 'mian' (did you mean 'main'?); set slurm_partition",
        ),
        (
            ("--default-resources", "slurm_partition=urgent", "--set-resources", "train:gpu=3"),
            "train: 3 GPU(s) on a node, but partition 'urgent' has at most 2",
        ),
        (("--set-resources", "train:gpu=3"), "train: 3 GPU(s) on a node, but partition 'main' has at most 2; set gpu"),
        (("--set-resources", "train:mem_mb=99000"), "train: 99000 MB, but a node of partition 'main' has 16000"),
        (("--set-resources", "train:gpu_model=h100", "train:gpu=1"), "train: 1 GPU(s) of model 'h100' on a node"),
        (("--set-resources", "train:runtime=14401"), "train: 14401 minutes, but partition 'main' allows 14400"),
    ],
    ids=["partition", "hidden partition", "GPUs", "memory", "GPU model", "time"],
)
def test_what_the_cluster_cannot_give_is_one_line_before_the_first_job(clone: Checkout, arguments, line):
    done = clone.snakemake("--profile", "slurm", "--configfile", MINI, *ONE_THREAD, *arguments)
    assert done.returncode != 0
    assert line in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone.folder / "results").exists()
    assert not (clone.folder / ".snakemake/slurm_logs").exists()


def test_the_cores_of_the_login_node_do_not_bound_the_threads_of_jobs(clone: Checkout):
    """Three threads are asked for on a single core: the nodes, which have two, are what refuses them."""
    one_core = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    threads = ["train=3" if word == "train=1" else word for word in ONE_THREAD]
    done = clone.run(*one_core, "snakemake", "--profile", "slurm", "--configfile", MINI, *threads)
    assert done.returncode != 0
    line = "train: 3 threads, but a node of partition 'main' has 2 cores; set set-threads"
    assert line in done.stdout + done.stderr


def test_a_snakemake_that_is_asked_to_end_names_its_jobs_and_leaves_them(clone: Checkout):
    """Snakemake waits for them; killed, they go on, until `scancel` as it was offered ends them."""
    stage = clone.folder / "src/jmlr/stages/prepare.py"
    stage.write_text(
        stage.read_text().replace("    sources = {", "    __import__('time').sleep(600)\n    sources = {", 1)
    )
    other = clone.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").stdout.strip()
    command = ["snakemake", "--profile", "slurm", "--configfile", MINI, *SOON, "--", "results/mini/prepare"]
    with subprocess.Popen(
        command, cwd=clone.folder, env=clone.environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as running:
        late = threading.Timer(120, running.kill)
        late.start()
        said, offered, left = list[str](), list[str](), list[str]()
        assert running.stderr is not None
        for line in running.stderr:
            said.append(line)
            if "has been submitted with SLURM jobid" in line and "rule_prepare" in line:
                running.send_signal(signal.SIGTERM)
            if found := re.search(r"to end them now: (scancel( \d+)+)$", line):
                offered = found[1].split()
                left = clone.run("squeue", "--noheader", "--format=%i").stdout.split()
                running.kill()
        late.cancel()
    assert offered, "".join(said)[-3000:]
    [job] = offered[1:]
    assert sorted(left) == sorted([job, other])
    assert job in clone.run("squeue", "--noheader", "--format=%i").stdout.split(), "killed, it leaves them running"
    clone.run(*offered)
    clone.run("scancel", other)
    for _ in range(60):  # slurmctld hears of a cancelled job's end from its node
        if "CANCELLED" in (state := clone.run("scontrol", "show", "job", job).stdout):
            break
        time.sleep(0.5)
    assert "CANCELLED" in state
