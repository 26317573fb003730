"""A key with nothing after it, one value for a list, a word for a mapping: YAML that is valid, and told in words what to write."""

from __future__ import annotations

from typing import Any

import pytest

from jmlr.config import Config, ConfigError

MODELS = {"llm": {"path": "org/llm"}, "retriever": {"path": "org/retriever"}}


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (
            {"models": {**MODELS, "words": {"bm25": None}}},
            "models.words: nothing stands after 'bm25:'; write `bm25: {}` for its defaults",
        ),
        ({"models": {**MODELS, "x": {"fusion": None}}}, "models.x: nothing stands after 'fusion:'; it needs of"),
        ({"models": {**MODELS, "x": {"rerank": None}}}, "models.x: nothing stands after 'rerank:'; it needs of, path"),
        (
            {"models": {**MODELS, "bm25": None}, "systems": {"a": {"title": "A", "retriever": "bm25"}}},
            "systems.a.retriever: no model 'bm25' (allowed: retriever); models.bm25 has nothing after it, which takes it away",
        ),
        (
            {"sources": {"documents": None, "questions": {"path": "exam.csv"}}, "models": MODELS},
            "`corpora: []` is a closed book; sources.documents has nothing after it, which takes it away",
        ),
        ({"train": None}, "train: nothing stands after it; leave it out, or write `train: {}`"),
        (
            {"systems": {"a": {"title": "A", "reading": None}}},
            "reading: nothing stands after it; leave it out, or write",
        ),
        ({"train": []}, "train: a mapping of keys is wanted (given: [])"),
        (
            {"models": {**MODELS, "x": {"bm25": "english"}}},
            "models.x.bm25: a mapping of keys is wanted (given: 'english')",
        ),
        ({"prepare": {"corpora": [None]}}, "prepare.corpora.0: a mapping of keys is wanted (given: nothing)"),
        ({"shards": None}, "shards: Input should be a valid integer (given: nothing)"),
        ({"seeds": 3}, "seeds: a list is wanted; write `seeds: [0, 1, 2]` (given: 3)"),
        ({"seeds": None}, "seeds: a list is wanted; write `seeds: [0, 1, 2]` (given: nothing)"),
        (
            {"evaluate": {"retrieval_k": 5}},
            "evaluate.retrieval_k: a list is wanted; write `retrieval_k: [5]` (given: 5)",
        ),
        (
            {"train": {"lora_targets": "q_proj,v_proj"}},
            "lora_targets: a list is wanted; write `lora_targets: [q_proj, v_proj]`",
        ),
        ({"train": {"lora_targets": "q_proj v_proj"}}, "lora_targets: a list is wanted (given: 'q_proj v_proj')"),
        ({"judge": {"judges": ["llm"], "pairs": ["rag", "jmlr"]}}, "judge.pairs.0: a list is wanted (given: 'rag')"),
    ],
)
def test_a_slip_is_one_line_that_tells_what_to_write(slip: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.load(slip)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_told_to_be_written_is_taken():
    models = {**MODELS, "words": {"bm25": {}}}
    assert Config.load({"models": models, "train": {}, "seeds": [0, 1, 2]}).models["words"].kind == "bm25"


def test_nothing_after_a_name_still_takes_it_away():
    """As a file over another does."""
    rows = {"rag": None, "jmlr": {"title": "J"}}
    assert list(Config.load({"models": {**MODELS, "bm25": None}, "systems": rows}).systems) == ["jmlr"]
    assert Config.load({"models": {**MODELS, "llm": {"path": "org/llm", "pretrain": None}}}).models["llm"].path
