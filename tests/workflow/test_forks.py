"""Jobs with models are forked from one process that has the libraries; what they make is what fresh processes make."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from checkout import Checkout, failure, results

pytestmark = pytest.mark.slow

MODELS = ("pretrain", "encode", "train", "answer")
WITH_TORCH_MB = 150.0  # the process that waits has 25, torch alone 250


def memory_mb(folder: Path) -> dict[str, float]:
    """Return what Snakemake saw of each job with models: the memory of the process that it started, by the job's file."""
    files = [p for p in (folder / "benchmarks/rules").rglob("*.tsv") if set(p.with_suffix("").parts) & set(MODELS)]
    return {str(p): float(next(csv.DictReader(p.open(), delimiter="\t"))["max_rss"]) for p in files}


def test_a_run_forks_its_jobs_with_models_and_fresh_processes_make_the_same(finished: Checkout, tmp_path: Path) -> None:
    seen = memory_mb(finished.folder)
    assert len(seen) > 10
    assert min(seen.values()) < WITH_TORCH_MB, "none was forked"
    assert sum(mb < WITH_TORCH_MB for mb in seen.values()) > 0.7 * len(seen), seen
    copy = Checkout(tmp_path / "clone")
    done = copy.snakemake("--", "results/mini/rag/seed0/answer", JMLR_WARM="0")
    assert done.returncode == 0, failure(done)
    fresh = memory_mb(copy.folder)
    assert fresh
    assert min(fresh.values()) > WITH_TORCH_MB, fresh
    made = results(copy.folder)
    assert len(made) > 10
    assert made == {name: digest for name, digest in results(finished.folder).items() if name in made}
