"""What a private source holds stays where `fetch` and `prepare` put it: it is in no log, no manifest, no report and no export."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from checkout import Checkout, failure

pytestmark = pytest.mark.slow

MARK = b"velmorath"  # stands in every private note of tests/workflow/notes.jsonl, and nowhere else
COPIES = ("fetch", "prepare")  # results/mini/...: the texts themselves, for the stages that read them


def told(folder: Path, *parts: str) -> list[Path]:
    """Return all files that a finished run wrote, but for the copies of the texts."""
    files = [p for part in parts for p in sorted((folder / part).rglob("*")) if p.is_file()]
    copies = [folder / "results/mini" / name for name in COPIES]
    return [p for p in files if p.name == "manifest.json" or not any(c in p.parents for c in copies)]


def holding(files: list[Path], folder: Path) -> list[str]:
    """Return the names of the files whose content, or every column of whose table, holds the mark."""
    found = []
    for path in files:
        text = str(pq.read_table(path).to_pydict()).encode() if path.suffix == ".parquet" else path.read_bytes()
        found += [str(path.relative_to(folder))] if MARK in text.lower() else []
    return found


def test_private_texts_are_read_by_the_run_and_told_by_nothing_it_writes(finished: Checkout):
    run = finished.folder / "results/mini"
    passages = pq.read_table(run / "prepare/passages.parquet").to_pylist()
    private = {p["id"] for p in passages if MARK in f"{p['title']} {p['text']}".lower().encode()}
    assert len(private) == 3
    found = pq.read_table(run / "retriever/seed0/r0/search/candidates.parquet")["ids"].to_pylist()
    assert private & {i for ids in found for i in ids}, "no note was a candidate, so none could have been told"
    files = told(finished.folder, "logs", "results", "benchmarks/rules", ".snakemake/log")
    names = [p.relative_to(finished.folder).parts for p in files]
    assert {name[0] for name in names} == {"logs", "results", "benchmarks", ".snakemake"}
    assert sum(name[-1] == "manifest.json" for name in names) > 30
    assert sum("report" in name for name in names) >= 6
    assert holding(files, finished.folder) == []


def test_an_export_tells_no_private_text(finished: Checkout, tmp_path: Path):
    done = finished.run("jmlr", "export", "--out", str(tmp_path / "out"), "--run", "results/mini")
    assert done.returncode == 0, failure(done)
    assert MARK.decode() not in (done.stdout + done.stderr).lower()
    files = told(tmp_path, "out")
    assert {"llm", "retriever"} <= {p.relative_to(tmp_path).parts[1] for p in files}
    assert holding(files, tmp_path) == []


def test_the_search_for_the_mark_finds_it_in_texts_and_in_tables(finished: Checkout):
    run = finished.folder / "results/mini"
    copies = [*(run / "fetch/notes").glob("*.jsonl"), *(run / "prepare").glob("passages.*")]
    assert len(holding(copies, run)) == len(copies) == 3
