"""How a run ends before its time: Ctrl-C and SIGTERM save a training's state, and a job that fails says why once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading

import pytest
import yaml

from checkout import MINI, ROOT, Checkout, failure

pytestmark = pytest.mark.slow

TARGET = "results/mini/llm/seed0/pretrain"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a copy of the checkout with the data prepared, and a file that makes the pre-training long."""
    copy = Checkout(tmp_path_factory.mktemp("ending") / "clone")
    models = yaml.safe_load((ROOT / MINI).read_text())["models"]
    models["llm"]["pretrain"]["steps"] = 100_000
    (copy.folder / "long.yaml").write_text(yaml.safe_dump({"models": models}))
    done = copy.snakemake("--", "results/mini/prepare")
    assert done.returncode == 0, failure(done)
    return copy


def stopped(clone: Checkout, number: signal.Signals, *, group: bool) -> tuple[int, str]:
    """Start the pre-training, send a signal once it has begun its steps, to Snakemake alone or to all; return code and words."""
    command = ["snakemake", "--cores", "2", "--configfile", MINI, "long.yaml", "--", TARGET]
    with subprocess.Popen(
        command, cwd=clone.folder, env={**clone.environment, "JMLR_PROGRESS_S": "0"}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:  # fmt: skip
        late = threading.Timer(300, lambda: os.killpg(running.pid, signal.SIGKILL))
        late.start()
        said, sent = list[str](), False
        assert running.stderr is not None
        for line in running.stderr:
            said.append(line)
            if "pretrain llm: 2/" in line and not sent:
                sent = True
                (os.killpg if group else os.kill)(running.pid, number)
        late.cancel()
    return running.returncode, "".join(said)


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM to Snakemake", "SIGTERM to all"],
)  # fmt: skip
def test_a_run_that_is_stopped_leaves_its_trainings_state(clone: Checkout, number: signal.Signals, group: bool) -> None:
    shutil.rmtree(clone.folder / "scratch", ignore_errors=True)
    code, said = stopped(clone, number, group=group)
    assert code != 0, said[-3000:]
    states = list((clone.folder / "scratch/mini/llm/seed0/pretrain").glob("step-*"))
    assert states, said[-3000:]
    assert "Traceback" not in said
    if number == signal.SIGINT or not group:
        assert "by a signal; the state is saved in scratch/mini/llm/seed0/pretrain" in said
    if number == signal.SIGTERM:
        assert "asked to end, and 1 job with it; a training saves its state first" in said
    assert not (clone.folder / TARGET).exists()


def test_a_failed_job_says_why_once_and_not_in_a_heap_of_flags(clone: Checkout) -> None:
    overlay = {"prepare": {"corpora": [{"source": "notes", "fields": {"text": "nothing"}}]}}
    (clone.folder / "wrong.yaml").write_text(yaml.safe_dump(overlay))
    done = clone.snakemake("--configfile", MINI, "wrong.yaml", "--", "results/mini/prepare")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    [line] = [line for line in told.splitlines() if line.startswith("jmlr prepare: ")]
    assert told.count(line.removeprefix("jmlr prepare: ")) == 1, told
    assert (clone.folder / "logs/mini/prepare.log").read_text().count(line) == 1
    failed = told.partition("Error in rule prepare")[2]
    assert failed
    assert len(failed) < 2000, failed
    assert "--corpora" not in told
    assert "fields:" in (clone.folder / "logs/mini/prepare.options.yaml").read_text()
