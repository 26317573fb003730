"""Retrievers by words, of fused lists and re-ranked ones, as rows of a real run; a training that begins with the passages of one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model_files import write_cross_encoder

ROOT = Path(__file__).resolve().parents[2]
ROWS = """
models:
  bm25: {bm25: {language: none}}
  hybrid: {fusion: {of: [bm25, retriever], depth: 20}}
  reranked: {rerank: {of: hybrid, path: ./reader, depth: 15, pair_tokens: 48}}
  late: {fusion: {of: [reranked, jmlr]}}
systems:
  rag: {title: RAG}
  words: {title: BM25, retriever: bm25, rounds: 0}
  read: {title: Re-ranked, retriever: reranked}
  jmlr: {title: JMLR, candidates: hybrid, rounds: 2, train: {target: pdist}}
  mixed: {title: Mixed, retriever: late}
"""


def command(folder: Path, *words: str) -> str:
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=1500, env=environment, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def snakemake(folder: Path, *arguments: str) -> str:
    config = ["--configfile", str(ROOT / "tests/workflow/mini.yaml"), str(folder / "rows.yaml")]
    return command(folder, "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *config, *arguments)


def write_reader(folder: Path) -> None:
    """Write a cross-encoder that knows some words of the world."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "you",
        "review",
        "a",
        "woman",
        "man",
        "aged",
        "known",
        "for",
        "which",
        "is",
        "of",
        "the",
        "gene",
    ]
    held = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    write_cross_encoder(folder, PreTrainedTokenizerFast(tokenizer_object=held, unk_token="[UNK]", pad_token="[PAD]"))


@pytest.mark.slow
def test_rows_of_all_of_them_go_all_the_way_and_nothing_runs_again(tmp_path):
    (tmp_path / "rows.yaml").write_text(ROWS)
    (tmp_path / "tests/workflow").mkdir(parents=True)
    shutil.copy(ROOT / "tests/workflow/notes.jsonl", tmp_path / "tests/workflow")
    write_reader(tmp_path / "reader")
    snakemake(tmp_path, "--quiet", "rules")
    assert "Nothing to be done" in snakemake(tmp_path, "--dry-run")

    results = tmp_path / "results/mini"
    rows = list(csv.DictReader((results / "report/results.csv").open()))
    hits = {
        (r["system"], r["round"]): r["value"] for r in rows if (r["metric"], r["k"], r["seed"]) == ("hit", "3", "0")
    }
    assert {system for system, _ in hits} == {"rag", "words", "read", "jmlr", "mixed"}
    assert hits["jmlr", "0"] == hits["rag", "0"], "before training: its own retriever, not the passages it began with"

    def found(folder: str) -> list[list[int]]:
        return pq.read_table(results / folder / "candidates.parquet")["passages"].to_pylist()

    assert len(found("bm25/r0/search")[0]) == 12
    assert len(found("bm25/r0/search-top20")[0]) == 20
    assert [r[:12] for r in found("bm25/r0/search-top20")] == found("bm25/r0/search")
    fused, read = found("hybrid/seed0/r0/search-top15"), found("reranked/seed0/r0/rerank")
    assert {len(r) for r in read} == {12}
    assert all(set(r) <= set(f) and r != f[:12] for f, r in zip(fused, read, strict=True))
    notes = json.loads((results / "jmlr/seed0/r1/train/manifest.json").read_text())["notes"]
    assert notes["candidates"] == "hybrid/seed0/r0/search"
    notes = json.loads((results / "late/seed0/r0/search/manifest.json").read_text())["notes"]
    assert notes["fused"] == ["reranked/seed0/r0/rerank-top100", "jmlr/seed0/r2/search-top100"]
    said = command(
        tmp_path, "jmlr", "ask", "A man aged 40 with fever. Which gene?", "--run", "results/mini", "--system", "mixed"
    )
    assert said.count("passage ") == 3
