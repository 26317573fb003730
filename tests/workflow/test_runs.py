"""Every committed run plans its whole DAG with stand-ins for local data, before anything is fetched or computed."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted(p.stem for p in (ROOT / "config/runs").glob("*.yaml"))
STAND_INS = {
    "JMLR_DATA": [
        "data/openstax/passages.jsonl.gz",
        "data/openstax/review_mcq.jsonl.gz",
        "data/openstax/glossary.jsonl.gz",
        "data/original/pubmedqa_ori_pqal.json.gz",
        "models/all-MiniLM-L6-v2/config.json",
    ],
    "CLINICAL_NOTES": ["notes.csv.gz"],
    "MEDQA_RATIONALES": ["rationales.jsonl"],
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make files of one line in the places that the variables of the runs name."""
    folder = tmp_path_factory.mktemp("data")
    for variable, names in STAND_INS.items():
        for name in names:
            (folder / variable / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / variable / name).write_bytes(gzip.compress(b"{}\n") if name.endswith(".gz") else b"{}\n")
    return {variable: str(folder / variable) for variable in STAND_INS}


def dry_run(run: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "-n", "--cores", "1", "--configfile", str(ROOT / f"config/runs/{run}.yaml")]
    known = {k: v for k, v in os.environ.items() if k not in STAND_INS}
    return subprocess.run(
        [*command, "--directory", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**known, **environment}, check=False,
    )  # fmt: skip


def test_the_runs_that_are_promised_are_there() -> None:
    assert {"paper-7b", "paper-13b", "llama3-8b", "pubmedqa", "openstax"} <= set(RUNS)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_plans_all_its_jobs(run: str, tmp_path: Path, stand_ins: dict[str, str]) -> None:
    done = dry_run(run, tmp_path, stand_ins)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", text.split("Job stats:")[1].split("total")[0], re.M))
    assert {"fetch", "prepare", "encode", "index", "search", "train", "answer", "evaluate", "report"} <= set(jobs)
    assert int(jobs["train"]) >= 3
    assert "{'" not in text.split("Job stats:")[0]


def test_a_variable_that_is_not_set_is_named_in_one_line(tmp_path: Path, stand_ins: dict[str, str]) -> None:
    left = {k: v for k, v in stand_ins.items() if k != "CLINICAL_NOTES"}
    done = dry_run("paper-7b", tmp_path, left)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "CLINICAL_NOTES" in line]
    assert done.returncode != 0
    assert len(said) == 1
    assert "sources.clinical_notes.path" in said[0]
    assert not (tmp_path / "results").exists()
