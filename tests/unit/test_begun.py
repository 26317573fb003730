"""What pre-training begins from, precisions and lengths: held against what runs, before anything does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_together import BERT, LLAMA, model, refused, run

from jmlr.checks import checked
from model_files import TOKENIZER


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("Gout is treated with colchicine.")
    (tmp_path / "exam.csv").write_text("id,question,a,b,key\nq1,Which?,x,y,A\n")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "files", "said"),
    [
        ({"init": "{folder}"}, {"config__json": BERT}, "BertModel is no causal language model"),
        ({"init": "{folder}"}, {"adapter_config__json": {}}, "an adapter, not a model"),
        ({"init": "{folder}"}, {"model__safetensors": None}, "it has no weights"),
        ({"init": "{folder}", "max_tokens": 2048}, {"config__json": LLAMA},
         r"models.llm.pretrain.max_tokens is 2,048, and '.*' reads at most 1,024 \(models.llm.pretrain.init\); allowed: up to 1024"),
        ({"init": "{folder}"}, {"config__json": LLAMA}, r"reading.llm_tokens is 2,048, and '.*' reads at most 1,024 \(models.llm.pretrain.init"),
        ({"init": "{folder}", "objective": "inverse_cloze"}, {"config__json": b""}, "its config.json is empty"),
        ({"init": "{folder}", "objective": "inverse_cloze"}, {"query___config__json": {}, "passage___config__json": {}},
         "it has no weights; allowed: query/model.safetensors"),
        ({"init": "{folder}/a.gguf"}, {"a__gguf": b"GGUF"}, "no GGUF file that can be read: it ends within its header; copy it again"),
        ({"init": "{folder}/a.gguf", "objective": "inverse_cloze"}, {"a__gguf": b"GGUF"}, "a GGUF file is a language model; allowed"),
        ({"architecture": {}}, {}, "pretrain.architecture: it names no model_type; allowed"),
        ({"architecture": {"model_type": "llamma"}}, {}, "pretrain.architecture: model_type 'llamma' is none that transformers knows"),
        ({"architecture": {"model_type": "llama", "max_position_embeddings": 64}}, {},
         r"pretrain.max_tokens is 512, and its architecture reads at most 64 \(models.llm.pretrain.architecture\)"),
        ({"architecture": {"model_type": "llama"}, "tokenizer": "{folder}"}, {"tokenizer__json": None}, "pretrain.tokenizer '.*': it has no tokenizer"),
        ({"architecture": {"model_type": "llama"}, "tokenizer": "{folder}/tokenizer.json"}, {"tokenizer__json": {"a": 1}},
         "pretrain.tokenizer '.*': it is no tokenizer"),
    ],
)  # fmt: skip
def test_what_pre_training_begins_from_is_held_to_the_same(
    mine: Path, options: dict[str, Any], files: dict[str, Any], said: str
) -> None:
    folder = model(mine, "begun", **files)
    role = "retriever" if options.get("objective") else "llm"
    own = {} if options.get("objective") else {"reads": "passages"}
    pretrain = json.loads(json.dumps({**own, **options}).replace("{folder}", folder))
    found = refused(mine, models={role: {"pretrain": pretrain}})
    assert re.search(said, found), found
    if "init" in options and "reading" not in found and "max_tokens" not in found:
        assert found.startswith(f"config: models.{role}.pretrain.init '{folder}")


def test_a_model_that_another_continues_has_the_role_of_that_one(mine: Path) -> None:
    base, bert = {"pretrain": {"init": "model:base", "reads": "passages"}}, model(mine, "base", config__json=BERT)
    found = refused(mine, models={"llm": base, "base": {"path": bert}})
    assert found.startswith(f"config: models.base.path '{bert}': BertModel is no causal language model")


def test_a_retriever_with_two_encoders_cannot_be_continued(mine: Path) -> None:
    for side in ("query", "passage"):
        model(mine / "two", side)
    pretrain = {"init": str(mine / "two"), "objective": "inverse_cloze"}
    assert "two encoders cannot be continued" in refused(mine, models={"retriever": {"pretrain": pretrain}})


def test_a_tokenizer_that_counts_passages_is_looked_into(mine: Path) -> None:
    (mine / "none").mkdir()
    chunks = {"chunk_tokens": 9, "tokenizer": str(mine / "none")}
    assert f"prepare.tokenizer '{mine / 'none'}': no tokenizer.json in it" in refused(mine, prepare=chunks)
    (mine / "none/tokenizer.json").write_text("{")
    assert "its tokenizer.json is no JSON" in refused(mine, prepare=chunks)
    (mine / "none/tokenizer.json").write_text(json.dumps(TOKENIZER))
    checked(run(mine, prepare=chunks))


def test_four_bits_without_their_packages_are_refused_before_anything_runs(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jmlr.together.find_spec", lambda name: None if name == "bitsandbytes" else True)
    found = refused(mine, reading={"llm_precision": "4bit"})
    assert "systems.closed_book: reading.llm_precision 4bit needs bitsandbytes: pip install -e '.[qlora]'" in found
    monkeypatch.setattr("jmlr.together.find_spec", lambda name: True)
    checked(run(mine, reading={"llm_precision": "4bit"}))


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"config__json": BERT}, 512),
        ({"config__json": BERT, "sentence_bert_config__json": {"max_seq_length": 256}}, 256),
        ({"config__json": BERT, "tokenizer_config__json": {"model_max_length": 384}}, 384),
        ({"config__json": BERT, "tokenizer_config__json": {"model_max_length": 1e30}}, 512),
        ({"config__json": {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}}, 512),
        ({"config__json": BERT, "sentence_bert_config__json": {"max_seq_length": 256},
          "config_sentence_transformers__json": {"model_type": "ColBERT"}}, 512),
    ],
)  # fmt: skip
def test_a_length_beyond_what_the_retriever_reads_is_told_with_what_it_reads(
    mine: Path, files: dict[str, Any], most: int
) -> None:
    models = {"retriever": {"path": model(mine, "short", **files)}}
    keys = ("retriever_passage_tokens", "retriever_query_tokens", "retriever_search_query_tokens")
    data = run(mine, models=models, retrieval=dict.fromkeys(keys, 4096), train={"retriever_train_passage_tokens": 4096})
    told = [
        line for line in checked(data).warnings if f"reads at most {most} tokens: what is longer is cut there" in line
    ]
    assert [line.split(" is ")[0].split(".")[1] for line in told] == [
        keys[1],
        keys[2],
        keys[0],
        "retriever_train_passage_tokens",
    ]
    within = run(mine, models=models, retrieval=dict.fromkeys(keys, most))
    assert checked(within).warnings == []
