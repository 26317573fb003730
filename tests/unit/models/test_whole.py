"""Weights and vocabularies that are missing: transformers would fill them up with chance, and say so where nobody looks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_loading import saved

from jmlr.models.llm import load_llm
from jmlr.models.retriever import load_retriever
from jmlr.runtime.errors import UserError


def changed(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without(part: str):
    return lambda tensors: {k: v for k, v in tensors.items() if part not in k}


def renamed(tensors):
    return {f"other.{k}": v for k, v in tensors.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without("layers.1.mlp"),
            r"no weights for model.layers.1.mlp.down_proj.weight and 2 more, which would be random",
        ),
        (without("norm.weight"), r"no weights for model.layers.0.input_layernorm.weight and 4 more"),
        (renamed, r"no weights for .* more, which would be random"),
        (
            lambda t: {k: v * float("nan") if "up_proj" in k else v for k, v in t.items()},
            r"up_proj.weight are not all finite",
        ),
        (lambda t: {k: v / 0 if "norm" in k else v for k, v in t.items()}, r"norm.weight are not all finite"),
    ],
)
def test_a_language_model_whose_weights_are_not_all_there_is_refused(tmp_path, change, said):
    folder = saved(tmp_path / "llm")
    load_llm(str(folder))
    changed(folder, change)
    with pytest.raises(UserError, match=said) as error:
        load_llm(str(folder))
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_a_configuration_of_more_layers_than_the_weights_have_is_refused(tmp_path):
    folder = saved(tmp_path / "llm")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(UserError, match=r"no weights for model\.layers\.2"):
        load_llm(str(folder))


def test_a_head_that_is_tied_need_not_be_in_the_file(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    folder = saved(tmp_path / "llm", **sizes, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    load_llm(str(folder))


@pytest.mark.parametrize("part", ["encoder.layer.0.attention", "embeddings.word"])
def test_a_retriever_whose_weights_are_not_all_there_is_refused(tiny, tmp_path, part):
    folder = tmp_path / "retriever"
    shutil.copytree(tiny / "retriever", folder)
    changed(folder, without(part))
    with pytest.raises(UserError, match=rf"no weights for {part}"):
        load_retriever(str(folder))


def test_a_pooling_head_is_none_of_what_is_used(tiny, tmp_path):
    folder = tmp_path / "retriever"
    shutil.copytree(tiny / "retriever", folder)
    changed(folder, without("pooler"))
    assert torch.equal(*(load_retriever(str(f)).encode([[1, 5, 6, 2]]) for f in (folder, tiny / "retriever")))


def test_a_retriever_without_the_files_of_its_tokenizer_would_read_no_word(tiny, tmp_path):
    folder = tmp_path / "retriever"
    shutil.copytree(tiny / "retriever", folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "bert"
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"tokenizer of retriever .*knows no word; tokenizer\.json"):
        load_retriever(str(folder))


def test_a_module_that_is_named_and_not_there_is_told(tiny, tmp_path):
    folder = tmp_path / "retriever"
    shutil.copytree(tiny / "retriever", folder)
    shutil.rmtree(folder / "1_Pooling")
    with pytest.raises(UserError, match=r"modules\.json names 1_Pooling, and .*1_Pooling/config\.json' is missing"):
        load_retriever(str(folder))
