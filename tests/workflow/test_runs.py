"""Every committed run plans its whole DAG with stand-ins for local data, before anything is fetched or computed."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from jmlr.config import Config
from model_files import write_model

ROOT = Path(__file__).resolve().parents[2]
FILES = {p.stem: yaml.safe_load(p.read_text()) for p in sorted((ROOT / "config/runs").glob("*.yaml"))}
ADDED = {
    "openstax-retrievers": ["openstax"],
    "pubmedqa-retrievers": ["pubmedqa"],
    "paper-others": ["paper-7b", "paper-13b"],
    "paper-released": ["paper-13b"],
}  # given after a run
RUNS = [[name] for name in FILES if name not in ADDED] + [[base, name] for name in ADDED for base in ADDED[name]]
STAND_INS = {
    "JMLR_DATA": [
        "data/openstax_raw/osbooks-all.tar.gz",
        "data/original/pubmedqa_ori_pqal.json.gz",
        "data/original/pubmedqa_test_ground_truth.json.gz",
    ],
    "JMLR_LLM": [],
    "CLINICAL_NOTES": ["notes.csv.gz"],
    "MEDQA_RATIONALES": ["rationales.jsonl"],
    "CASIMEDICOS": ["questions.jsonl"],
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make files of one line, and models of a few bytes, in the places that the variables of the runs name."""
    folder = tmp_path_factory.mktemp("data")
    for variable, names in STAND_INS.items():
        for name in names:
            (folder / variable / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / variable / name).write_bytes(gzip.compress(b"{}\n") if name.endswith(".gz") else b"{}\n")
    write_model(folder / "JMLR_DATA/models/all-MiniLM-L6-v2")
    write_model(folder / "JMLR_LLM")
    return {variable: str(folder / variable) for variable in STAND_INS}


def dry_run(files: list[str | Path], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / f"config/runs/{f}.yaml") if isinstance(f, str) else str(f) for f in files]
    command = ["snakemake", "-n", "--cores", "1", "--configfile", *paths]
    known = {k: v for k, v in os.environ.items() if k not in STAND_INS}
    return subprocess.run(
        [*command, "--directory", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**known, **environment}, check=False,
    )  # fmt: skip


def jobs_of(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    table = text.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.M)}


def test_the_runs_that_are_promised_are_there() -> None:
    assert {"paper-7b", "paper-13b", "llama3-8b", "pubmedqa", "openstax"} <= set(FILES)
    assert set(ADDED) - {"paper-released"} == {name for name, run in FILES.items() if "run" not in run}


@pytest.mark.parametrize("files", RUNS, ids="+".join)
def test_a_run_plans_all_its_jobs(files: list[str], tmp_path: Path, stand_ins: dict[str, str]) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # whose documents are those of the run `own`
    done = dry_run(files, tmp_path, stand_ins)
    jobs = jobs_of(done)
    assert {"fetch", "prepare", "encode", "index", "search", "train", "answer", "evaluate", "report"} <= set(jobs)
    assert jobs["train"] >= 2
    assert jobs["answer"] == sum(
        len(FILES[f].get("systems") or (Config.load(FILES[f]).systems if f not in ADDED else ())) for f in files
    )
    assert "{'" not in (done.stdout + done.stderr).split("Job stats:")[0]


def test_the_run_on_public_text_needs_no_folder_and_with_one_no_network(
    tmp_path: Path, stand_ins: dict[str, str]
) -> None:
    public = dry_run(["openstax"], tmp_path / "public", {})
    offline = dry_run(["openstax", ROOT / "config/offline/openstax.yaml"], tmp_path / "offline", stand_ins)
    assert jobs_of(public) == jobs_of(offline)
    without = dry_run(["openstax", ROOT / "config/offline/openstax.yaml"], tmp_path / "without", {})
    assert without.returncode != 0
    assert "JMLR_DATA" in without.stdout + without.stderr


@pytest.mark.parametrize("name", ["paper-7b", "paper-13b", "llama3-8b"])
def test_large_models_are_held_in_bfloat16_and_no_documents_are_made_that_nobody_reads(name: str) -> None:
    run = Config.load(FILES[name])
    assert run.reading.llm_precision == "bfloat16"
    assert not [m for m in run.models.values() if m.pretrain]
    assert run.prepare.documents == []


def test_every_row_of_the_papers_table_is_in_a_run() -> None:
    rows = {k: v for name in ("paper-13b", "paper-others") for k, v in FILES[name]["systems"].items()}
    assert {"gpt4", "chatgpt", "meditron_70b", "pretrain", "rag", "jmlr"} <= set(rows)
    assert {v.get("train", {}).get("target") for v in rows.values()} >= {"llm_rank", "pdist", "emdr2"}
    hosted = [e for e in FILES["paper-others"]["endpoints"].values() if "localhost" not in e["base_url"]]
    assert len(hosted) == 2
    assert all(e["most_cost"] > 0 for e in hosted)


def test_a_variable_that_is_not_set_is_named_in_one_line(tmp_path: Path, stand_ins: dict[str, str]) -> None:
    left = {k: v for k, v in stand_ins.items() if k != "CLINICAL_NOTES"}
    done = dry_run(["paper-7b"], tmp_path, left)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "CLINICAL_NOTES" in line]
    assert done.returncode != 0
    assert len(said) == 1
    assert "sources.clinical_notes.path" in said[0]
    assert not (tmp_path / "results").exists()


def test_who_has_no_local_data_takes_two_lines_out_of_a_run(tmp_path: Path) -> None:
    text = (ROOT / "config/runs/paper-7b.yaml").read_text()
    for line in ("    - corpus: clinical_notes\n", "    - corpus: medqa_rationales\n"):
        assert line in text
        text = text.replace(line, "")
    (tmp_path / "mine.yaml").write_text(text)
    assert jobs_of(dry_run([tmp_path / "mine.yaml"], tmp_path, {}))["fetch"] == 7
