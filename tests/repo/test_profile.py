"""The SLURM profile's lines for the paper's scale, which are comments, can be taken as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

from jmlr.__main__ import STAGES, main

ROOT = Path(__file__).resolve().parents[2]


def test_the_lines_for_the_papers_scale_ask_for_memory_and_time_of_rules_that_there_are():
    """Fix: Rename the rule in the commented block of profiles/slurm/config.yaml."""
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    [block] = re.findall(r"^# set-resources:\n(?:#.*\n)+", text, re.M)
    asked = yaml.safe_load(re.sub(r"^# ", "", block, flags=re.M))
    assert set(asked) == {"set-resources", "set-threads"}
    assert set(asked["set-resources"]) == set(STAGES) - {"evaluate", "report", "rerank"}  # the paper re-ranks nothing
    assert all({"mem_mb", "runtime"} <= set(lines) for lines in asked["set-resources"].values())
    assert set(asked["set-threads"]) <= set(asked["set-resources"])
    assert all(" # " in line for line in block.splitlines()[1:]), "each line says why"


def test_the_lines_for_the_papers_scale_are_those_that_the_plan_writes():
    """Fix: Run: python docs/slurm/update.py."""
    made = runpy.run_path(str(ROOT / "docs/slurm/update.py"))
    assert (ROOT / "profiles/slurm/config.yaml").read_text() == made["profile"]()
    assert f"jmlr plan {made['COMMAND']}" in re.sub(r"\n# ", " ", (ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.mark.parametrize(
    ("given", "train"),
    [
        ("--gpus-per-node 0", {}),
        ("--gpus-per-node 1 --card-gb 80", {"gpu": 1, "card_gb": 80}),
        ("--nodes 2", {"gpu": 8, "nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "'srun'"}),
    ],
)
def test_the_lines_that_the_plan_writes_are_a_profile_with_the_gpus_of_the_plan(capsys, given, train):
    """Fix: Write what Snakemake takes in src/jmlr/commands/profile.py."""
    sizes = "--corpus-passages 25000000 --all-questions 205878 --test-questions 5456 --llm Llama-2-7b-hf --profile"
    assert main(["plan", str(ROOT / "docs/slurm/paper.yaml"), *sizes.split(), *given.split()]) == 0
    asked = yaml.safe_load(capsys.readouterr().out)
    rules = asked["set-resources"]
    assert set(rules) == {"fetch", "prepare", "encode", "index", "search", "train", "answer"}
    processes = train.get("gpu", 1) // train.get("nodes", 1)
    assert rules["train"].pop("mem_mb") > processes * 4 * 6740 * 1.5  # each reads 7B in float32
    assert rules["train"].pop("runtime") % 60 == 0
    assert rules["train"] == train
    assert asked["set-threads"]["search"] == 32
