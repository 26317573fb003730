"""The workflow as a part of another one: `module jmlr` with a prefix and a configuration of its own, and what snakedeploy writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from checkout import MINI, ROOT, failure, jobs_of

OUTER = """
configfile: "config/config.yaml"

{before}

module jmlr:
    snakefile: {snakefile}
    config: config["jmlr"]
    {prefix}

use rule * from jmlr as jmlr_*

rule all:
    default_target: True
    input:
        rules.jmlr_all.input,
        "own.txt",

rule own:
    output: "own.txt"
    message: "of the other workflow"
    shell: "echo mine > {{output}}"

{after}
"""


def other_workflow(folder: Path, prefix: str = "", *, before: str = "", after: str = "") -> Path:
    """Write a workflow that uses this one for the smallest run: one round of two systems, on a file beside its Snakefile."""
    run = yaml.safe_load((ROOT / MINI).read_text())
    rows = {"rag": {"title": "RAG"}, "jmlr": {"title": "JMLR", "rounds": 1, "train": {"target": "llm_rank"}}}
    run |= {"shards": 1, "systems": rows}
    run["sources"]["notes"]["path"] = "notes.jsonl"
    (folder / "config").mkdir(parents=True)
    (folder / "config/config.yaml").write_text(yaml.safe_dump({"jmlr": run}))
    shutil.copy(ROOT / "tests/workflow/notes.jsonl", folder)
    text = OUTER.format(
        snakefile=f'"{ROOT}/workflow/Snakefile"', prefix=prefix and f'prefix: "{prefix}"', before=before, after=after
    )
    (folder / "Snakefile").write_text(text)
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["snakemake", "--cores", "1", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


JOBS = {"fetch": 2, "prepare": 1, "pretrain": 2, "encode": 4, "index": 2, "search": 2, "train": 2, "answer": 2, "evaluate": 2, "report": 1}  # fmt: skip


def test_another_workflow_plans_all_jobs_under_its_names_and_its_prefix(tmp_path: Path) -> None:
    done = snakemake(other_workflow(tmp_path, "x"), "--dry-run", "--printshellcmds")
    text = done.stdout + done.stderr
    assert done.returncode == 0, failure(done)
    assert jobs_of(text) == {**{f"jmlr_{name}": n for name, n in JOBS.items()}, "own": 1}
    assert "Retrieval: for every question its best passages, C = 12 or more, by jmlr/seed0 after round 1" in text
    shells = [line for line in text.splitlines() if " jmlr " in line and "--out" in line]
    assert len(shells) == sum(JOBS.values())
    paths = [word for line in shells for word in line.split() if word.startswith(("results/", "logs/", "scratch/"))]
    assert not paths, "what the prefix does not reach"


def test_without_a_prefix_its_paths_are_those_of_this_workflow(tmp_path: Path) -> None:
    done = snakemake(other_workflow(tmp_path), "--dry-run", "--printshellcmds")
    assert done.returncode == 0, failure(done)
    assert "jmlr train --out results/mini/jmlr/seed0/r1/train --prepared results/mini/prepare" in done.stdout


def test_two_modules_with_a_run_each_go_into_one_workflow(tmp_path: Path) -> None:
    folder = other_workflow(tmp_path, "x")
    first, rest = (folder / "Snakefile").read_text().split("rule all:")
    second = (
        first[first.index("module jmlr") :]
        .replace("jmlr:", "again:")
        .replace("from jmlr as jmlr_", "from again as again_")
    )
    second = second.replace('prefix: "x"', 'prefix: "y"')
    rest = rest.replace("rules.jmlr_all.input,", "rules.jmlr_all.input, rules.again_all.input,")
    (folder / "Snakefile").write_text(f"{first}{second}rule all:{rest}")
    done = snakemake(folder, "--dry-run", "--printshellcmds")
    assert done.returncode == 0, failure(done)
    jobs = jobs_of(done.stdout + done.stderr)
    assert (jobs["jmlr_train"], jobs["again_train"]) == (JOBS["train"], JOBS["train"])
    assert "jmlr train --out y/results/mini/jmlr/seed0/r1/train --prepared y/results/mini/prepare" in done.stdout


@pytest.mark.parametrize("where", ["before", "after"])
def test_an_onstart_of_the_other_workflow_stands_before_the_module_or_calls_ours(tmp_path: Path, where: str) -> None:
    own = 'onstart:\n    open("begun", "w").close()' + "\n    jmlr.onstart()" * (where == "after")
    done = snakemake(other_workflow(tmp_path, "x", **{where: own}), "x/results/mini/fetch/notes")
    assert done.returncode == 0, failure(done)
    assert (tmp_path / "begun").exists()
    assert (tmp_path / "x/logs/mini/fetch/notes.options.yaml").is_file()


@pytest.mark.slow
def test_another_workflow_runs_it_and_all_lands_under_the_prefix(tmp_path: Path) -> None:
    folder = other_workflow(tmp_path, "x", before='onstart:\n    open("begun", "w").close()')
    done = snakemake(folder)
    assert done.returncode == 0, failure(done)
    assert (folder / "own.txt").read_text() == "mine\n"
    assert (folder / "x/results/mini/report/report.html").stat().st_size > 1000
    assert (folder / "x/logs/mini/jmlr/seed0/r1/train.options.yaml").is_file()
    assert {p.name for p in folder.iterdir()} == {
        "Snakefile", ".snakemake", "config", "notes.jsonl", "x", "own.txt", "begun"
    }  # fmt: skip
    again = snakemake(folder, "--dry-run")
    assert jobs_of(again.stdout + again.stderr) == {}
