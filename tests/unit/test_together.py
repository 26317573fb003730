"""What a stage would refuse hours later is refused before anything runs; what would waste the run is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gguf_files import write_gguf
from jmlr.checks import checked
from jmlr.commands.config import config as command
from jmlr.models import usable
from jmlr.runtime.errors import UserError
from model_files import TOKENIZER, safetensors, write_model


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("Gout is treated with colchicine.")
    (tmp_path / "exam.csv").write_text("id,question,a,b,key\nq1,Which?,x,y,A\n")
    return tmp_path


def model(folder: Path, name: str, **files: Any) -> str:
    return str(write_model(folder / name, **files))


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
        ({"models": {"x": {"rerank": {"of": "retriever", "path": "{bert}"}}}}, "models.x.rerank.path '.*bert': BertModel is no cross-encoder"),
        ({"models": {"x": {"rerank": {"of": "retriever", "path": "{two}"}}}}, "models.x.rerank.path '.*two': it has 2 labels; allowed: one for"),
        ({"models": {"x": {"rerank": {"of": "retriever", "path": "./none"}}}}, "models.x.rerank.path: there is no './none'"),
        ({"models": {"retriever": {"path": "{adapter}"}, "x": {"fusion": {"of": ["retriever", "y"]}}, "y": {"bm25": {}}},
          "systems": {"a": {"title": "A", "retriever": "x"}}}, "models.retriever.path '.*': an adapter, not a model"),
        ({"reading": {"llm_precision": "bfloat16"}, "train": {"train_modules": ["norm"], "train_precision": "float32"}}, "train_modules with"),
    ],
)  # fmt: skip
def test_what_a_stage_would_refuse_is_refused_by_the_check(mine: Path, changes: dict[str, Any], said: str) -> None:
    places = {
        "adapter": model(mine, "adapter", adapter_config__json={}),
        "bert": model(mine, "bert", config__json={"architectures": ["BertModel"], "max_position_embeddings": 512}),
        "two": model(mine, "two", config__json={"architectures": ["BertForSequenceClassification"]}),
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


def test_a_retriever_by_words_without_its_package_is_refused_with_how_to_install_it(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jmlr.together.find_spec", lambda name: None if name == "Stemmer" else True)
    with pytest.raises(UserError, match=r"models.x: bm25 needs the package Stemmer, .*pip install -e '\.\[bm25\]'"):
        checked(run(mine, models={"x": {"bm25": {}}}))


def test_a_cross_encoder_is_a_model_of_the_run_that_is_asked_for_on_the_hub(mine: Path) -> None:
    found = checked(run(mine, models={"x": {"rerank": {"of": "retriever", "path": "org/reader"}}}))
    assert found.models["models.x.rerank.path"] == found.rerankers["x"] == "org/reader"
    assert found.kinds == {"llm": "", "retriever": "", "x": "rerank", "closed_book": "", "rag": "", "jmlr": ""}


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
        ({"version": 1}, {}, "no GGUF file that can be read: version 1"),
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
    monkeypatch.setattr("jmlr.models.usable.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a GGUF file needs the package gguf: pip install"):
        checked(run(mine, models={"llm": {"path": str(file)}}))


def test_a_tokenizer_larger_than_the_embedding_is_refused_before_anything_runs(mine: Path) -> None:
    words = {"model": {"vocab": {"a": 0, "b": 99}}, "added_tokens": [{"id": 100, "content": "<s>"}]}
    folder = model(mine, "small", config__json={"vocab_size": 100}, tokenizer__json=words)
    with pytest.raises(UserError, match="its tokenizer has token numbers up to 100, its embedding 100 rows"):
        checked(run(mine, models={"llm": {"path": folder}}))
    model(mine, "small", config__json={"vocab_size": 101}, tokenizer__json=words)
    checked(run(mine, models={"llm": {"path": folder}}))


def test_files_are_checked_as_one_run_over_each_other(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `snakemake --configfile A B`, and as `jmlr plan A B`: an overlay alone is no run."""
    below, over = mine / "run.yaml", mine / "over.yaml"
    below.write_text(json.dumps({**run(mine), "run": "mine"}))
    over.write_text(json.dumps({"systems": {"more": {"title": "More", "train": {"passages": 99}}}}))
    with pytest.raises(UserError, match=r"run.yaml .*over.yaml: .*passages is 99"):
        command(check=[below, over])
    over.write_text(json.dumps({"seeds": [0, 1, 2]}))
    command(check=[below, over])
    assert re.search(r"run.yaml \S*over.yaml: a run 'mine' of \d+ systems and 3 seeds", capsys.readouterr().out)
    over.write_text(json.dumps({**run(mine), "run": "another"}))
    command(check=[below, over])
    said = capsys.readouterr()
    assert "its run 'another' takes the place of 'mine': files that are given together are one run" in said.err
    assert said.out.count("\n") == 1


def test_a_run_given_over_its_overlay_says_what_it_replaces(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    below, over = mine / "run.yaml", mine / "over.yaml"
    below.write_text(json.dumps({**run(mine), "run": "mine", "search": {"candidates": 10}}))
    over.write_text(json.dumps({"search": {"candidates": 12}}))
    command(check=[over, below])
    assert (
        "run.yaml: warning: it is a run of its own, and replaces 1 values of the files before it, search.candidates"
        in (capsys.readouterr().err)
    )
    command(check=[below, over])
    assert "replaces" not in capsys.readouterr().err


def test_a_row_that_a_file_sets_to_null_is_taken_away(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    below, over = mine / "run.yaml", mine / "over.yaml"
    two = {"one": {"title": "One"}, "two": {"title": "Two"}}
    below.write_text(json.dumps({**run(mine), "run": "mine", "systems": two}))
    over.write_text(json.dumps({"systems": {"two": None}}))
    command(check=[below, over])
    assert "a run 'mine' of 1 system and 1 seed\n" in capsys.readouterr().out
    over.write_text(json.dumps({"systems": {"too": None}}))
    with pytest.raises(UserError, match=r"over.yaml: systems.too: null takes it away, and it is not there \(did you"):
        command(check=[below, over])
    with pytest.raises(UserError, match=r"systems.too: null takes it away, .* in a file after the run's own"):
        command(check=[over, below])


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
        ({"evaluate": {"concepts": "my_umls:find"}}, "no module 'my_umls' here; it must be where `evaluate` runs"),
        ({"models": {"retriever": {"path": "{llama}"}}}, "a causal language model without a head for retrieval"),
    ],
)
def test_what_would_waste_the_run_is_told(mine: Path, changes: dict[str, Any], said: str) -> None:
    llama = model(mine, "llama", config__json={"architectures": ["LlamaForCausalLM"]})
    data = json.loads(json.dumps(run(mine, **changes)).replace("{llama}", llama))
    assert any(said in line for line in checked(data).warnings)


def test_a_run_at_the_defaults_has_nothing_to_be_warned_of(mine: Path) -> None:
    assert checked(run(mine)).warnings == []
    assert checked(run(mine, evaluate={"concepts": "json:loads"})).warnings == []
    assert checked({}).warnings == [], "nor has the demo, whose models are made from scratch"


# ------------------------------------------------------------------------------------------------ the files of a model
def refused(mine: Path, **changes: Any) -> str:
    """Return the one line that refuses a run."""
    with pytest.raises(UserError) as caught:
        checked(run(mine, **changes))
    said = str(caught.value)
    assert "\n" not in said
    return said


BERT = {"architectures": ["BertModel"], "model_type": "bert", "max_position_embeddings": 512}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 1024}
POOLED = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
]
OLD = [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}, *POOLED[1:]]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
DEEP = b"[" * 100_000 + b"]" * 100_000
INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
FAULTS = [
    ({"model__safetensors": safetensors()[:-1]}, r"its model.safetensors has \d+ bytes, and \d+ by its header; copy it again"),
    ({"model__safetensors": safetensors() + b"x"}, "by its header; copy it again"),
    ({"model__safetensors": safetensors()[:20]}, "its model.safetensors is cut within its header; copy it again"),
    ({"model__safetensors": b""}, "its model.safetensors is empty"),
    ({"model__safetensors": LFS}, "its model.safetensors is a pointer of git-lfs, not the file itself; fetch it: git lfs pull"),
    ({"model__safetensors": b"<!DOCTYPE html><html>"}, "its model.safetensors is no safetensors file, or damaged"),
    ({"model__safetensors": b"\x02" + bytes(7) + b"{}"}, "its model.safetensors holds no tensor"),
    ({"model__safetensors": b"\x02" + bytes(7) + b"[]"}, "its model.safetensors is no safetensors file, or damaged"),
    ({"model__safetensors": None}, "it has no weights; allowed: model.safetensors, or parts of it with model.safetensors.index.json"),
    ({"model__safetensors": None, "pytorch_model__bin": b"x"}, r"its weights are in pytorch_model.bin; allowed: model.safetensors, .*save_pretrained"),
    ({"model__safetensors": None, "model__safetensors__index__json": INDEX, "model-1__safetensors": safetensors()},
     "its model-2.safetensors is missing; copy it again"),
    ({"model__safetensors": None, "model__safetensors__index__json": {"weight_map": 5}}, "its model.safetensors.index.json has no weight_map"),
    ({"model__safetensors": None, "model__safetensors__index__json": b"{"}, "its model.safetensors.index.json is no JSON"),
    ({"config__json": b""}, "its config.json is empty; copy it again"),
    ({"config__json": b"{'a': 1}"}, "its config.json is no JSON: cut or damaged; copy it again"),
    ({"config__json": b"\xff\xfe{}"}, "its config.json is not in UTF-8"),
    ({"config__json": b"[]"}, "its config.json is no JSON object"),
    ({"config__json": DEEP}, "its config.json is nested too deep"),
    ({"config__json": LFS}, "its config.json is a pointer of git-lfs"),
    ({"config__json": None, "config__json___a": b""}, "its config.json is a folder; allowed: a JSON file"),
    ({"config__json": None}, "it has weights and no config.json, which says what they are of"),
    ({"config__json": {"model_type": "llamma"}}, r"its config.json: model_type 'llamma' is none that transformers knows \(did you mean 'llama'"),
    ({"config__json": {"dtype": "float17"}}, "its config.json: dtype 'float17'; allowed: bfloat16, float16"),
    ({"config__json": {"torch_dtype": "torch.float16"}}, "its config.json: torch_dtype 'torch.float16'; allowed: bfloat16, float16"),
    ({"config__json": {"quantization_config": {"quant_method": "gptq"}}}, r"its weights are quantised \(gptq\), which is not supported; allowed"),
    ({"config__json": {"quantization_config": {"quant_method": "awq"}}}, r"its weights are quantised \(awq\)"),
    ({"generation_config__json": b""}, "its generation_config.json is empty"),
    ({"tokenizer__json": None}, "it has no tokenizer; allowed: tokenizer.json, or the vocabulary of its kind"),
    ({"tokenizer__json": {**TOKENIZER, "added_tokens": 5}}, "its tokenizer.json is no tokenizer"),
    ({"tokenizer__json": {}}, "its tokenizer.json is no tokenizer"),
    ({"tokenizer__json": DEEP}, "its tokenizer.json is nested too deep"),
    ({"tokenizer_config__json": b"{"}, "its tokenizer_config.json is no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "said"), FAULTS)
@pytest.mark.parametrize("role", ["llm", "retriever"])
def test_a_folder_whose_files_are_damaged_or_missing_is_one_line(
    mine: Path, role: str, files: dict[str, Any], said: str
) -> None:
    folder = model(mine, "ready", **files)
    found = refused(mine, models={role: {"path": folder}})
    assert found.startswith(f"config: models.{role}.path '{folder}': ")
    assert re.search(said, found), found


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"modules__json": POOLED}, "its modules.json names the folder '1_Pooling', which is not there"),
        ({"modules__json": POOLED, "1_Pooling___x": b""}, "its 1_Pooling/config.json is missing"),
        ({"modules__json": POOLED, "1_Pooling___config__json": b""}, "its 1_Pooling/config.json is empty"),
        ({"modules__json": {"a": 1}}, "its modules.json is no JSON list"),
        ({"modules__json": [{"type": None}, 5]}, "its modules.json is no list of modules with type and path"),
        ({"modules__json": []}, "its modules.json is no list of modules with type and path"),
        ({"modules__json": [{"type": "sentence_transformers.models.Pooling", "path": "../x"}]}, "its modules.json names '../x'; allowed"),
        ({"modules__json": OLD, "1_Pooling___config__json": {}}, "its modules.json names the folder '0_Transformer'"),
        ({"modules__json": OLD, "1_Pooling___config__json": {}, "0_Transformer___config__json": {}}, "no weights; allowed: 0_Transformer/model.safetensors"),
        ({"modules__json": [*POOLED, {"type": "x.Dense", "path": "3_Dense"}], "1_Pooling___config__json": {}, "3_Dense___config__json": {},
          "3_Dense___pytorch_model__bin": b"x"}, "its weights are in 3_Dense/pytorch_model.bin"),
        ({"config_sentence_transformers__json": b"{"}, "its config_sentence_transformers.json is no JSON"),
        ({"sentence_bert_config__json": b"{"}, "its sentence_bert_config.json is no JSON"),
        ({"adapter_config__json": {}}, "an adapter, not a model; merge it into its base model first"),
        ({"config__json": None, "query___config__json": {}}, "it has query/ alone; allowed: both query/ and passage/, or one retriever"),
        ({"query___config__json": b"{", "passage___config__json": {}}, "its query/config.json is no JSON"),
    ],
)  # fmt: skip
def test_a_retriever_whose_modules_are_not_there_is_one_line(mine: Path, files: dict[str, Any], said: str) -> None:
    found = refused(mine, models={"retriever": {"path": model(mine, "ready", **files)}})
    assert said in found


def test_whole_retrievers_of_every_form_pass(mine: Path) -> None:
    one = {"modules__json": POOLED, "1_Pooling___config__json": {}}
    old = {"modules__json": OLD, "1_Pooling___config__json": {}, "0_Transformer___config__json": {}}
    old |= {
        "0_Transformer___model__safetensors": safetensors(),
        "0_Transformer___vocab__txt": b"a",
        "config__json": None,
    }
    parts = {"model__safetensors": None, "model__safetensors__index__json": INDEX}
    parts |= {f"model-{n}__safetensors": safetensors() for n in (1, 2)}
    for name, files in {"one": one, "old": {**old, "model__safetensors": None}, "parts": parts}.items():
        checked(run(mine, models={"retriever": {"path": model(mine, name, **files)}}))
    for side in ("query", "passage"):
        model(mine / "two", side, **one)
    checked(run(mine, models={"retriever": {"path": str(mine / "two")}}))


def test_a_model_that_no_system_uses_is_not_looked_into(mine: Path) -> None:
    checked(run(mine, models={"spare": {"path": model(mine, "spare", model__safetensors=None)}}))


def test_what_a_configuration_calls_itself_is_shown_on_one_short_line(mine: Path) -> None:
    folder = model(mine, "odd", config__json={"architectures": ["Bert\n\x1b[2J" + "x" * 5000]})
    assert len(refused(mine, models={"llm": {"path": folder}})) < len(folder) + 250
    file = write_gguf(mine / "odd.gguf", "a\n\x1b[2J" + "x" * 5000)
    found = refused(mine, models={"llm": {"path": str(file)}})
    assert "architecture 'a [2Jxxx" in found
    assert len(found) < len(str(file)) + 500


def test_a_gguf_file_in_capitals_says_to_rename_it(mine: Path) -> None:
    file = write_gguf(mine / "tiny.GGUF")
    assert "its name ends with .GGUF; rename it to 'tiny.gguf'" in refused(mine, models={"llm": {"path": str(file)}})


def test_a_folder_that_is_called_like_a_gguf_file_says_to_rename_it(mine: Path) -> None:
    assert "is read as a file; rename it" in refused(mine, models={"llm": {"path": model(mine, "a.gguf")}})


def test_real_names_of_mixture_models_are_allowed_and_mamba_is_not(mine: Path) -> None:
    for name in ("qwen2moe", "qwen3moe", "gpt-oss", "minimax-m2"):
        checked(run(mine, models={"llm": {"path": str(write_gguf(mine / f"{name}.gguf", name))}}))
    assert "architecture 'mamba'" in refused(mine, models={"llm": {"path": str(write_gguf(mine / "m.gguf", "mamba"))}})


def test_the_lists_of_usable_models_are_the_libraries() -> None:
    """Fix: the library knows others now; put them into src/jmlr/models/usable.py, or into what is left to loading here."""
    torch = pytest.importorskip("torch")
    auto = pytest.importorskip("transformers.quantizers.auto")
    types = pytest.importorskip("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    known = {
        n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype) and getattr(torch, n).is_floating_point
    }
    assert {n for n in known if not n.startswith(("float8_", "float4_"))} == set(usable.DTYPES)
    left = {
        "bitsandbytes_4bit",
        "bitsandbytes_8bit",
        "fbgemm_fp8",
        "bitnet",
        "fp8",
        "gguf",
        "nvfp4",
        "mxfp8",
        "mxfp4",
        "metal",
        "sinq",
        "gemma",
    }
    assert set(auto.AUTO_QUANTIZER_MAPPING) - left == set(usable.QUANTISED)
    assert set(types) <= usable.model_types()


# ------------------------------------------------------------------------------------------------ what pre-training begins from
