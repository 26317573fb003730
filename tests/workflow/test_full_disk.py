"""A disk that is full, or a quota: every stage says so in one line and leaves nothing that looks like an output."""

from __future__ import annotations

import re
import resource
import subprocess

import pytest

from checkout import Checkout
from jmlr.__main__ import STAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(finished: Checkout) -> dict[str, str]:
    """Return one shell line of every stage of the finished run, without its log."""
    done = finished.snakemake("--dry-run", "--forceall", "--printshellcmds")
    found = re.findall(r"(OMP_NUM_THREADS=\d+ +jmlr (\w+) .*?) 2> >\(tee", done.stdout + done.stderr, re.S)
    return {stage: line for line, stage in found}


@pytest.mark.parametrize("stage", STAGES)
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
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1].startswith(f"jmlr {stage}: cannot write"), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert not list(out.parent.glob(f".{stage}.*"))
