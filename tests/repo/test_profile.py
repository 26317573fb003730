"""The SLURM profile's lines for the paper's scale, which are comments, can be taken as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import yaml

from jmlr.__main__ import STAGES

ROOT = Path(__file__).resolve().parents[2]


def test_the_lines_for_the_papers_scale_ask_for_memory_and_time_of_rules_that_there_are():
    """Fix: Rename the rule in the commented block of profiles/slurm/config.yaml."""
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    [block] = re.findall(r"^# set-resources:\n(?:#.*\n)+", text, re.M)
    asked = yaml.safe_load(re.sub(r"^# ", "", block, flags=re.M))
    assert set(asked) == {"set-resources", "set-threads"}
    assert set(asked["set-resources"]) == set(STAGES) - {"evaluate", "report"}
    assert all({"mem_mb", "runtime"} <= set(lines) for lines in asked["set-resources"].values())
    assert set(asked["set-threads"]) <= set(asked["set-resources"])
    assert all(" # " in line for line in block.splitlines()[1:]), "each line says why"


def test_the_lines_for_the_papers_scale_are_those_that_the_plan_writes():
    """Fix: Run: python docs/slurm/update.py."""
    made = runpy.run_path(str(ROOT / "docs/slurm/update.py"))
    assert (ROOT / "profiles/slurm/config.yaml").read_text() == made["profile"]()
    assert f"jmlr plan {made['COMMAND']}" in re.sub(r"\n# ", " ", (ROOT / "profiles/slurm/config.yaml").read_text())
