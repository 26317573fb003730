"""What a stage would refuse hours later is refused before anything runs; what would waste the run is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gguf_files import write_gguf
from jmlr.checks import checked
from jmlr.commands.config import config as command
from jmlr.runtime.errors import UserError


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("Gout is treated with colchicine.")
    (tmp_path / "exam.csv").write_text("id,question,a,b,key\nq1,Which?,x,y,A\n")
    return tmp_path


def model(folder: Path, name: str, **files: Any) -> str:
    (folder / name).mkdir(exist_ok=True)
    for file, content in files.items():
        (folder / name / file.replace("__", ".")).write_text(json.dumps(content))
    return str(folder / name)


def run(mine: Path, **changes: Any) -> dict[str, Any]:
    models = {"llm": {"path": "org/llm"}, "retriever": {"path": "org/encoder"}}
    sources = {"documents": {"path": str(mine / "notes.txt")}, "questions": {"path": str(mine / "exam.csv")}}
    entry = {"source": "questions", "split": "hash", "fields": {"answer": "key", "options": "a, b"}}
    entry |= changes.pop("entry", {})
    prepare = {"questions": [entry], **changes.pop("prepare", {})}
    return {"sources": sources, "prepare": prepare, "models": {**models, **changes.pop("models", {})}, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entry": {"shares": {"train": 0.6, "test": 0.3}}}, r"prepare.questions\[0\]: shares .* sum to 1"),
        ({"entry": {"adapter": "nowhere:at_all"}}, r"prepare.questions\[0\]: adapter 'nowhere:at_all'"),
        ({"prepare": {"chunk_tokens": 128}}, "prepare.chunk_tokens is 128; allowed: with a prepare.tokenizer"),
        ({"prepare": {"chunk_tokens": 9, "tokenizer": "./none"}}, "prepare.tokenizer: there is no './none'"),
        ({"models": {"llm": {"path": "{adapter}"}}}, "models.llm.path '.*': an adapter, not a model"),
        ({"models": {"llm": {"path": "{bert}"}}}, "models.llm.path '.*bert': BertModel is no causal language model"),
        ({"run": "own/.."}, "run: a name has letters, digits, '_', '-' and '.'"),
        ({"models": {"llm": {"path": "{short}"}}}, "reading.llm_tokens is 2,048, and '.*short' reads at most 1,024"),
        ({"models": {"llm": {"path": "{long}"}}, "answer": {"chat": True}}, "answer.chat: '.*long' has no chat template"),
        ({"models": {"retriever": {"path": "{far}"}}}, "models.retriever.path '.*': its similarity_fn_name is 'euclidean'"),
        ({"reading": {"llm_precision": "bfloat16"}, "train": {"train_modules": ["norm"], "train_precision": "float32"}}, "train_modules with"),
    ],
)  # fmt: skip
def test_what_a_stage_would_refuse_is_refused_by_the_check(mine: Path, changes: dict[str, Any], said: str) -> None:
    places = {
        "adapter": model(mine, "adapter", adapter_config__json={}),
        "bert": model(mine, "bert", config__json={"architectures": ["BertModel"], "max_position_embeddings": 512}),
        "short": model(mine, "short", config__json={"n_positions": 1024}),
        "long": model(mine, "long", config__json={"max_position_embeddings": 4096}),
        "far": model(
            mine, "far", config__json={}, config_sentence_transformers__json={"similarity_fn_name": "euclidean"}
        ),
    }
    text = json.dumps(run(mine, **changes))
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", path)
    (mine / "run.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        command(check=[mine / "run.yaml"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("role", "path", "said"),
    [
        ("llm", "weights", r"models.llm.path '.*weights': no model; it has tiny.gguf: give the file"),
        ("retriever", "weights/tiny.gguf", "models.retriever.path '.*': a GGUF file is a language model"),
        ("retriever", "notes.txt", "models.retriever.path '.*': a file; allowed: the folder of a model"),
        ("llm", "empty", "models.llm.path '.*empty': no model; a model's folder has a config.json"),
    ],
)
def test_what_is_no_model_is_refused_before_anything_runs(mine: Path, role: str, path: str, said: str) -> None:
    for name in ("weights", "empty"):
        (mine / name).mkdir()
    write_gguf(mine / "weights/tiny.gguf")
    with pytest.raises(UserError, match=said):
        checked(run(mine, models={role: {"path": str(mine / path)}}))
    checked(run(mine, models={"llm": {"path": str(mine / "weights/tiny.gguf")}}))


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({"architecture": "clip"}, {}, "architecture 'clip'; allowed in a GGUF file: bloom, .*llama"),
        ({"context": 128}, {}, r"reading.llm_tokens is [\d,]+, and '.*' reads at most 128"),
        ({}, {"answer": {"chat": True}}, "answer.chat: '.*' has no chat template; say false"),
        ({"version": 1}, {}, "no GGUF file: version 1"),
    ],
)
def test_a_gguf_file_that_a_job_would_refuse_is_refused_before_anything_runs(
    mine: Path, changes: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    file = write_gguf(mine / "model.gguf", **changes)
    with pytest.raises(UserError, match=said) as caught:
        checked(run(mine, models={"llm": {"path": str(file)}}, **more))
    assert "\n" not in str(caught.value)


def test_a_gguf_file_without_its_package_is_refused_before_anything_runs(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(mine / "model.gguf")
    monkeypatch.setattr("jmlr.together.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a GGUF file needs the package gguf: pip install"):
        checked(run(mine, models={"llm": {"path": str(file)}}))


def test_a_tokenizer_larger_than_the_embedding_is_refused_before_anything_runs(mine: Path) -> None:
    words = {"model": {"vocab": {"a": 0, "b": 99}}, "added_tokens": [{"id": 100, "content": "<s>"}]}
    folder = model(mine, "small", config__json={"vocab_size": 100}, tokenizer__json=words)
    with pytest.raises(UserError, match="its tokenizer has token numbers up to 100, its embedding 100 rows"):
        checked(run(mine, models={"llm": {"path": folder}}))
    model(mine, "small", config__json={"vocab_size": 101}, tokenizer__json=words)
    checked(run(mine, models={"llm": {"path": folder}}))


def test_a_key_of_a_server_that_is_not_set_is_refused_by_the_check(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JMLR_NO_KEY", raising=False)
    gpt = {"base_url": "https://host/v1", "model": "m", "key_env": "JMLR_NO_KEY"}
    systems = {"gpt": {"title": "G", "llm": "gpt", "rounds": 0, "train": {"passages": 0}}}
    (mine / "run.yaml").write_text(json.dumps(run(mine, endpoints={"gpt": gpt}, systems=systems)))
    with pytest.raises(UserError, match=r"endpoints\.gpt\.key_env: the environment variable JMLR_NO_KEY is not set"):
        command(check=[mine / "run.yaml"])
    monkeypatch.setenv("JMLR_NO_KEY", "x")
    command(check=[mine / "run.yaml"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"train": {"retriever_learning_rate": 0.002}},
            "retriever_learning_rate is 0.002, at which a pretrained model forgets",
        ),
        ({"train": {"llm_learning_rate": 0.002}}, "llm_learning_rate is 0.002"),
        ({"train": {"passages": 7, "samples": 4}}, "it reads K = 7 passages, and S = 4 one by one; usual: K <= S <= C"),
        ({"entry": {"shares": {"train": 0.5, "test": 0.5}}}, "keep_best has no dev split to go by"),
        ({"models": {"retriever": {"path": "{llama}"}}}, "a causal language model without a head for retrieval"),
    ],
)
def test_what_would_waste_the_run_is_told(mine: Path, changes: dict[str, Any], said: str) -> None:
    llama = model(mine, "llama", config__json={"architectures": ["LlamaForCausalLM"]})
    data = json.loads(json.dumps(run(mine, **changes)).replace("{llama}", llama))
    assert any(said in line for line in checked(data).warnings)


def test_a_run_at_the_defaults_has_nothing_to_be_warned_of(mine: Path) -> None:
    assert checked(run(mine)).warnings == []
    assert checked({}).warnings == [], "nor has the demo, whose models are made from scratch"
