"""Token vectors of real passages and questions, which benchmarks of late interaction read.

    tokens, offsets, queries = token_vectors(Path("results/openstax/prepare"), "all-MiniLM-L6-v2", Path("scratch/vectors"))

A sentence encoder's last hidden states, projected to 128 dimensions by a fixed random matrix, as an untrained ColBERT has
them; length 1, without punctuation, questions (with their options) filled up with [MASK] to 32 tokens.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from jmlr.corpus.prompt import passage_text, query_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.models.colbert import ColbertRetriever
from jmlr.models.encoder import load_encoder, local_folder
from jmlr.topk.vectors import StoredVectors

DIM = 128
PAGE = Path(__file__).resolve().parent.parent / "docs" / "topk.md"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `given_vectors` reads."""
    parser.add_argument("--prepared", type=Path, default=Path("results/openstax/prepare"), help="output of `prepare`")
    parser.add_argument(
        "--encoder", default="sentence-transformers/all-MiniLM-L6-v2", help="a folder, or a name of the hub"
    )
    parser.add_argument("--kept", type=Path, default=Path("scratch/token_vectors"), help="where vectors are kept")
    parser.add_argument("--questions", type=int, default=200)


def given_vectors(given: argparse.Namespace, passages: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `token_vectors` by a script's arguments; end it with a line where there is nothing to make them from."""
    if not (given.kept / "queries").is_dir() and not given.prepared.is_dir():
        raise SystemExit(
            f"--prepared '{given.prepared}' is not there: config/runs/openstax.yaml makes it, or give another"
        )
    return token_vectors(given.prepared, given.encoder, given.kept, passages, given.questions)


def token_vectors(
    prepared: Path, encoder: str, kept: Path, passages: int = 0, questions: int = 200
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (tokens [M, D], offsets [N + 1], queries [B, 32, D]), float32 and int64, from `kept` or made into it.

    prepared: output of `prepare`; passages: so many, evenly over the corpus; 0: all; questions: the same.
    """
    if not (kept / "queries").is_dir():
        table = read_table(prepared / "questions.parquet").to_pylist()
        stored = StoredPassages.open(prepared)
        asked = [table[i] for i in spread(len(table), questions)]
        torch.manual_seed(0)
        model = ColbertRetriever.fresh(*load_encoder(local_folder(encoder)), DIM).eval()
        rows = spread(len(stored), passages or len(stored))
        texts = {
            "passage": [passage_text(title, text) for title, text in stored.take(rows.tolist(), ("title", "text"))],
            "query": [query_text(q["question"], q["options"], True) for q in asked],
        }
        for side, name in (("passage", "passages"), ("query", "queries")):
            vectors, offsets = model.encode_all(
                model.tokenize(texts[side], side=side), side, batch_tokens=8192, precision="bfloat16", name=name
            )
            (kept / name).mkdir(parents=True)
            StoredVectors(vectors.numpy(), offsets.numpy()).save(kept / name)
    held, asked = (StoredVectors.open(kept / name) for name in ("passages", "queries"))
    return held.vectors, held.offsets, np.asarray(asked.vectors).reshape(len(asked), -1, DIM)


def machine() -> str:
    """Return the processor's name, family and model, and how many processors this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    told = f"{facts.get('model name', 'unknown')} (family {facts.get('cpu family')}, model {facts.get('model')})"
    return f"{told}, {len(os.sched_getaffinity(0))} processors"


def put(mark: str, text: str) -> None:
    """Put figures into docs/topk.md, between the lines that name them."""
    head, _, rest = PAGE.read_text().partition(f"<!-- {mark} begin -->")
    PAGE.write_text(
        f"{head}<!-- {mark} begin -->\n{text}\n<!-- {mark} end -->{rest.partition(f'<!-- {mark} end -->')[2]}"
    )


def spread(total: int, wanted: int) -> np.ndarray:
    """Return at most `wanted` of the numbers below `total`, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(wanted, total)).astype(int))
