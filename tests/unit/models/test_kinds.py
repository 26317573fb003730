"""A kind of retriever is one file: what tells it apart, loads it and describes it is found by the folder's listing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jmlr.models import dense
from jmlr.models.kinds import kind_of, kinds, of_kind, similarities
from jmlr.models.one_encoder import OneEncoder
from jmlr.models.retriever import load_retriever


@pytest.mark.parametrize("name", kinds())
def test_a_kind_has_what_the_rest_of_the_project_asks_of_it(name):
    """Fix: give src/jmlr/models/kinds/NAME.py what the docstring of that folder lists."""
    found = of_kind(name)
    assert set(found.CARD) == {"title", "library", "load"}
    assert "{name}" in found.CARD["load"]
    assert found.SIMILARITIES
    assert callable(found.load)
    assert name == "dense" or callable(found.recognised)


def test_what_dense_retrievers_are_compared_by_is_said_once_for_reading_and_for_checking():
    assert of_kind("dense").SIMILARITIES == dense.SIMILARITIES
    assert similarities() == ("cosine", "dot", "MaxSim")


def test_kinds_are_told_apart_without_torch(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["HF_ColBERT"]}))
    code = (
        "import sys; from pathlib import Path; from jmlr.models.kinds import kind_of\n"
        f"print(kind_of(Path({str(tmp_path)!r})), 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "colbert False\n"


@pytest.mark.parametrize("listed", [["HF_ColBERT"], "HF_ColBERT", None, 3])
def test_a_configuration_that_names_no_list_of_architectures_is_a_dense_retriever(tmp_path, listed):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": listed}))
    assert kind_of(tmp_path) == ("colbert" if listed == ["HF_ColBERT"] else "dense")


def test_a_retriever_is_of_the_class_that_its_kind_loads(tiny):
    loaded = load_retriever(str(tiny / "retriever"))
    assert isinstance(loaded, OneEncoder)
    assert isinstance(loaded, dense.DenseRetriever)
    assert not loaded.tokens
