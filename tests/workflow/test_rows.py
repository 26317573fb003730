"""Ablations and controls are rows of the configuration: what each adds to the DAG, and what a real run of them gives."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = """
systems:
  rag: {title: RAG}
  jmlr: {title: JMLR, rounds: 2, train: {target: pdist, prior_weight: 10, retriever_encoders: query_only}}
  control: {title: Control, train: {target: pdist, shuffle_losses: true}}
  untouched: {title: Untouched LLM, retriever: jmlr, train: {steps: 0}}
"""


def snakemake(folder: Path, *arguments: str) -> str:
    (folder / "rows.yaml").write_text(ROWS)
    (folder / "tests/workflow").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests/workflow/notes.jsonl", folder / "tests/workflow")
    command = ["snakemake", "--cores", "2", "--directory", str(folder), *arguments]
    command += ["--configfile", str(ROOT / "tests/workflow/mini.yaml"), str(folder / "rows.yaml")]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, env=environment, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def test_rows_share_what_they_have_in_common(tmp_path):
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", snakemake(tmp_path, "--dry-run").split("Job stats:")[1], re.M))
    # two shards of passages for the base retriever and for the control's; questions at rounds 0, 1, 2 of jmlr and 1 of the control
    assert {k: int(jobs[k]) for k in ("encode", "index", "search")} == {"encode": 8, "index": 2, "search": 12}
    assert int(jobs["train"]) == 1 + 1 + 2 + 1 + 1  # the closed book of mini.yaml first


@pytest.mark.slow
def test_the_untouched_llm_reads_what_the_trained_retriever_finds(tmp_path):
    snakemake(tmp_path, "--quiet", "rules")
    rows = list(csv.DictReader((tmp_path / "results/mini/report/results.csv").open()))
    hits = {
        r["system"]: r["value"]
        for r in rows
        if (r["metric"], r["k"], r["seed"]) == ("hit", "1", "0") and r["round"] in "02"
    }
    first = next(
        r["value"]
        for r in rows
        if (r["system"], r["metric"], r["k"], r["round"], r["seed"]) == ("untouched", "hit", "1", "0", "0")
    )
    assert first == hits["jmlr"]
    assert {r["round"] for r in rows if r["system"] == "jmlr" and r["metric"] == "hit_change"} == {"1", "2"}
    assert (tmp_path / "results/mini/untouched/seed0/r1/train/metrics.jsonl").read_text() == ""
