"""A disk that is full, or a quota: every stage says so in one line and leaves nothing that looks like an output."""

from __future__ import annotations

import os
import re
import resource
import subprocess

import pytest

from checkout import Checkout
from jmlr.__main__ import STAGES

pytestmark = pytest.mark.slow


HERE = sorted({*STAGES} - {"judge", "rerank"})  # mini.yaml asks no judge, and has no cross-encoder


@pytest.fixture(scope="module")
def commands(finished: Checkout) -> dict[str, str]:
    """Return one shell line of every stage of the finished run, without its log."""
    done = finished.snakemake("--dry-run", "--forceall", "--printshellcmds")
    found = re.findall(r"(OMP_NUM_THREADS=\d+ +jmlr (\w+) .*?) 2> >\(tee", done.stdout + done.stderr, re.S)
    return {stage: line for line, stage in found}


@pytest.mark.parametrize("stage", HERE)
def test_a_stage_without_room_for_its_output_fails_in_one_line_and_leaves_nothing(finished: Checkout, commands, stage):
    line = commands[stage]
    made = finished.folder / re.search(r"--out (\S+)", line)[1]
    largest = max(p.stat().st_size for p in made.rglob("*") if p.is_file())
    out = finished.folder / "full" / stage
    line = re.sub(r"--out \S+", f"--out {out}", line).replace(
        "--scratch ", f"--scratch {finished.folder}/full/scratch/"
    )
    done = subprocess.run(
        ["bash", "-c", line], cwd=finished.folder, env=finished.environment, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1].startswith(f"jmlr {stage}: cannot write"), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert not list(out.parent.glob(f".{stage}.*"))


# In a mount namespace of its own, so that the small disk goes with the process; who is not root becomes it in there.
APART = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command before one that mounts disks of its own."""
    if subprocess.run(
        [*APART, "mount", "-t", "tmpfs", "none", tmp_path_factory.mktemp("mount")], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    return APART


@pytest.mark.parametrize("stage", HERE)
def test_a_stage_on_a_disk_that_fills_up_says_so_and_leaves_nothing(finished: Checkout, commands, apart, stage):
    line = commands[stage]
    made = finished.folder / re.search(r"--out (\S+)", line)[1]
    pages = sum(-(-p.stat().st_size // 4096) for p in made.rglob("*") if p.is_file())
    disk = finished.folder / "small" / stage
    disk.mkdir(parents=True)
    line = re.sub(r"--out \S+", f"--out {disk}/{stage}", line).replace("--scratch ", f"--scratch {disk}/scratch/")
    script = (
        f"mount -t tmpfs -o size={4 * max(1, pages // 2)}k none {disk}; {line}; ended=$?; ls -A {disk}; exit $ended"
    )
    done = subprocess.run(
        [*apart, "bash", "-c", script], cwd=finished.folder, env=finished.environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1].startswith(f"jmlr {stage}: cannot write"), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert set(done.stdout.split()) <= {"scratch"}
