"""The workflow with a ColBERT whose query encoder alone is trained, from raw text to models that others load."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from jmlr.topk import MaxSimIndex

ROOT = Path(__file__).resolve().parents[2]
CONFIG = [str(ROOT / f"tests/workflow/{name}.yaml") for name in ("mini", "colbert")]


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600, env=environment, check=False)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tests/workflow").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests/workflow/notes.jsonl", folder / "tests/workflow")
    words = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--configfile", *CONFIG]
    return command(ROOT, *words, "--directory", str(folder), *arguments)


def test_passages_are_encoded_and_indexed_once_where_only_the_query_encoder_moves(tmp_path):
    done = snakemake(tmp_path, "--dry-run")
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", (done.stdout + done.stderr).split("Job stats:")[1], re.M))
    # two shards of passages once; questions before training and after each of two rounds, searched in two shards and put together;
    # trainings: closed book, RAG, two rounds
    assert {k: int(jobs[k]) for k in ("encode", "index", "search", "train")} == {
        "encode": 5,
        "index": 1,
        "search": 9,
        "train": 4,
    }


@pytest.mark.slow
def test_a_colbert_goes_all_the_way_to_models_that_others_load(tmp_path):
    done = snakemake(tmp_path, "--quiet", "rules")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    results = tmp_path / "results/mini"
    offsets = np.load(results / "retriever/seed0/r0/encode/questions/offsets.npy")
    assert set(np.diff(offsets)) == {40}  # every query is filled up
    index = MaxSimIndex.open(results / "retriever/seed0/r0/index/index", verify=True)
    encoded = sorted((results / "retriever/seed0/r0/encode").glob("passages-*"))
    assert index.vectors.tobytes() == b"".join(np.load(part / "vectors.npy").tobytes() for part in encoded)
    rows = json.loads((results / "jmlr/seed0/r2/search/manifest.json").read_text())["notes"]
    assert rows["index"].endswith("retriever/seed0/r0/index")

    trained = results / "jmlr/seed0/r2/train"
    for part in ("adapter", "retriever/query", "retriever/passage"):
        card = (trained / part / "README.md").read_text()
        assert "passages.parquet (SHA-256)" in card
        assert '| `target` | `"llm_rank"` |' in card
    frozen = [p / "model.safetensors" for p in (results / "retriever/seed0/pretrain", trained / "retriever/passage")]
    assert frozen[0].read_bytes() == frozen[1].read_bytes()

    asked = command(
        tmp_path, "jmlr", "ask", "A man aged 40 with fever. What bug would culture grow?", "--run", "results/mini"
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("passage ") == 3
    exported = command(
        tmp_path, "jmlr", "export", "--run", "results/mini", "--out", "out", "--llm-precision", "bfloat16"
    )
    assert exported.returncode == 0, exported.stderr

    from transformers import AutoModelForCausalLM, AutoTokenizer

    llm = AutoModelForCausalLM.from_pretrained(tmp_path / "out/llm")
    assert llm.get_input_embeddings().num_embeddings >= len(AutoTokenizer.from_pretrained(tmp_path / "out/llm"))
    assert str(llm.dtype) == "torch.bfloat16"
    assert "SHA-256" in (tmp_path / "out/llm/README.md").read_text()
    library = pytest.importorskip("sentence_transformers")
    if hasattr(library, "MultiVectorEncoder"):
        model = library.MultiVectorEncoder(str(tmp_path / "out/retriever/query"), device="cpu")
        assert model.encode_query(["fever"])[0].shape == (40, 16)
