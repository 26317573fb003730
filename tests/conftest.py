"""What several tests share: a tiny world, tiny models."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkout import Checkout, failure

# They are plugins; collected for examples in docstrings, two of one name would clash.
collect_ignore_glob = ["**/conftest.py"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Folders and files of tests that take minutes. They begin first, so that no process works on alone when the others are done.
LONG = ("slurm/", "native/", "repo/test_recipes", "invariants/", "workflow/", "unit/training/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; make hands files out in this order."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = os.path.relpath(item.path, here)
        return next((i for i, long in enumerate(LONG) if name.startswith(long)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of the real medical data; skip where there is none."""
    folder = os.environ.get("JMLR_DATA", "")
    if not folder or not (Path(folder) / "data").is_dir():
        pytest.skip("JMLR_DATA is not set to a folder with data/ and models/")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny world with a fresh LLM and retriever, as the stages would: raw/, prepare/, llm/, retriever/."""
    from jmlr.config import Config
    from jmlr.options import DemoOptions
    from jmlr.stages.fetch import fetch
    from jmlr.stages.prepare import prepare
    from jmlr.stages.pretrain import pretrain

    root = tmp_path_factory.mktemp("tiny")
    sizes = DemoOptions(train_entities=6, dev_entities=2, test_entities=4, attributes=4, test_questions=8, documents=64)
    config = Config.load({})
    fetch(root / "world", "world", config.sources["world"].model_copy(update={"demo": sizes}))
    prepare(root / "prepare", [root / "world"], config.prepare)
    for name in ("llm", "retriever"):
        options = config.models[name].pretrain
        assert options is not None
        pretrain(
            root / name, root / "prepare", 0, options.model_copy(update={"steps": 2, "batch": 8}), [root / "world"]
        )
    return root


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Run tests/workflow/mini.yaml to its end in a copy of the checkout. Who edits something there puts it back."""
    copy = Checkout(tmp_path_factory.mktemp("finished") / "clone")
    done = copy.snakemake("--quiet", "rules")
    assert done.returncode == 0, failure(done)
    return copy


@pytest.fixture(scope="session")
def candidates(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give every question of the tiny world eight candidates, its gold passage among them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("search")
    ids = {p: i for i, p in enumerate(pq.read_table(tiny / "prepare/passages.parquet")["id"].to_pylist())}
    questions = pq.read_table(tiny / "prepare/questions.parquet").to_pylist()
    rows = [
        sorted({ids[q["gold_ids"][0]], *((n * 5 + k * 3) % len(ids) for k in range(7))})
        for n, q in enumerate(questions)
    ]
    table = {
        "question_id": [q["id"] for q in questions],
        "passages": pa.array(rows, pa.list_(pa.int32())),
        "ids": [[list(ids)[i] for i in r] for r in rows],
        "scores": [[0.0] * len(r) for r in rows],
    }
    pq.write_table(pa.table(table), folder / "candidates.parquet")
    (folder / "manifest.json").write_text(json.dumps({"outputs": {}}))
    return folder


@pytest.fixture
def server() -> Iterator[Any]:
    """Start a chat-completions server on this machine; see chat_server.py."""
    from chat_server import Server

    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()
