"""A finished run, opened and served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="serve needs the extra `serve`")

from starlette.testclient import TestClient

from jmlr.options import AnswerOptions, EvaluateOptions
from jmlr.serving.app import application
from jmlr.serving.row import row_of, rows_of
from jmlr.serving.system import System
from jmlr.stages.answer import answer
from jmlr.stages.evaluate import evaluate
from small_run import READING, small_run


@pytest.fixture(scope="session")
def served_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of four rows: jmlr, whose trained retriever answers; plain; one that writes; a closed book."""
    run = small_run(tiny, tmp_path_factory.mktemp("served") / "results/tiny")
    prepared, llm, before = run / "prepare", str(tiny / "llm"), run / "retriever/seed0/r0/search"
    own = run / "jmlr/seed0"  # with a round to choose from, dev might choose the untrained one
    answer(own / "answer", prepared, AnswerOptions(), READING, llm, trained=[own / "r1/train"], searches=[own / "r1/search"], passages=2)  # fmt: skip
    writes = AnswerOptions(method="generate")
    answer(run / "written/seed0/answer", prepared, writes, READING, llm, searches=[before], passages=2)
    answer(run / "closed/seed0/answer", prepared, AnswerOptions(), READING, llm)
    for system, searches in (("jmlr", [before, run / "jmlr/seed0/r1/search"]), ("plain", [before])):
        own = run / system / "seed0"
        evaluate(own / "evaluate", prepared, own / "answer", "tiny", system, 0, EvaluateOptions(), searches)
    return run


@pytest.fixture(scope="session")
def asked(served_run: Path) -> dict[str, Any]:
    """Return a test question of the run, whose words its tokenizer knows."""
    import pyarrow.parquet as pq

    table = pq.read_table(served_run / "prepare/questions.parquet").to_pylist()
    return next(q for q in table if q["split"] == "test")


@pytest.fixture(scope="session")
def system(served_run: Path) -> System:
    """Return the row that was trained, opened."""
    return System.open(row_of(served_run, "jmlr", 0))


@pytest.fixture(scope="session")
def served(served_run: Path) -> Any:
    """Return the application."""
    rows = {name: row_of(served_run, name, seed) for name, seed in rows_of(served_run)}
    return application(served_run, {"jmlr": rows["jmlr"], **rows}, "jmlr")


@pytest.fixture(scope="session")
def client(served: Any) -> Iterator[TestClient]:
    """Return a client of the server."""
    with TestClient(served, base_url="http://127.0.0.1") as made:
        yield made
