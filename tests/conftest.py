"""What several tests share: a tiny world, tiny models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


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
    config = Config()
    fetch(root / "world", "world", config.sources["world"].model_copy(update={"demo": sizes}))
    prepare(root / "prepare", [root / "world"], config.prepare)
    for name in ("llm", "retriever"):
        options = config.models[name].pretrain
        assert options is not None
        pretrain(
            root / name, root / "prepare", 0, options.model_copy(update={"steps": 2, "batch": 8}), [root / "world"]
        )
    return root


@pytest.fixture
def server() -> Iterator[Any]:
    """Start a chat-completions server on this machine; see chat_server.py."""
    from chat_server import Server

    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()
