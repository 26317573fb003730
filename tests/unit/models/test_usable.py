"""Folders as the libraries write them pass the checks of headers, and each cut or missing file of them does not."""

from __future__ import annotations

import json
import shutil

import pytest
from tiny_encoders import bert, wordpiece

from jmlr.models import usable


def causal(folder, shards="1GB"):
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = wordpiece()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder, max_shard_size=shards)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["llm", "parts", "encoder", "colbertv2", "pylate", "sentence", "two"])
def written(request, tmp_path, encoder_folder, stanford_folder, pylate_folder):
    """Return a copy of a folder, and its role."""
    kind, folder = request.param, tmp_path / "model"
    ready = {"encoder": encoder_folder, "colbertv2": stanford_folder, "pylate": pylate_folder}
    if kind in ready:
        shutil.copytree(ready[kind], folder)
    elif kind in ("llm", "parts"):
        causal(folder, "20KB" if kind == "parts" else "1GB")
    else:
        from sentence_transformers import SentenceTransformer

        made = SentenceTransformer(str(encoder_folder))
        for place in (folder,) if kind == "sentence" else (folder / "query", folder / "passage"):
            made.save(str(place))
    return folder, "llm" if kind in ("llm", "parts") else "retriever"


def test_what_the_libraries_write_is_usable(written):
    folder, role = written
    assert usable.fault_of(folder, role) == ""


def test_every_cut_file_of_weights_and_settings_is_told_and_every_shard_that_is_gone(written):
    folder, role = written
    checked = [
        p
        for p in sorted(folder.rglob("*"))
        if p.suffix == ".safetensors" or p.name in ("config.json", "modules.json", "tokenizer.json")
    ]
    assert len(checked) >= 3
    for file in checked:
        content = file.read_bytes()
        for cut in (content[:-1].rstrip(b"}]\n "), content[: len(content) // 2], b""):
            file.write_bytes(cut)
            assert file.name in usable.fault_of(folder, role), (file, len(cut))
        file.unlink()
        gone = usable.fault_of(folder, role)
        assert gone or file.name in ("modules.json", "tokenizer.json", "config.json"), file
        file.write_bytes(content)


def test_a_file_that_gguf_wrote_is_usable(tmp_path):
    """Its package writes what a model has; test_loading reads one with its weights."""
    gguf = pytest.importorskip("gguf")
    import numpy as np

    out = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    out.add_context_length(64)
    out.add_token_list(["a", "b"])
    for n in range(3):
        out.add_tensor(f"blk.{n}.attn_q.weight", np.ones((32, 33), np.float32))
    out.add_tensor("last", np.ones(7, np.float16))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    assert usable.fault_of(tmp_path / "a.gguf", "llm") == ""
    content = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "a.gguf").write_bytes(content[: -len(content) // 3])
    assert "by its header; copy it again" in usable.fault_of(tmp_path / "a.gguf", "llm")


def test_a_tokenizer_is_a_file_or_folder_as_the_library_writes_it(tmp_path):
    wordpiece().save_pretrained(tmp_path / "words")
    for path in (tmp_path / "words", tmp_path / "words/tokenizer.json"):
        assert usable.tokenizer_fault(path) == usable.tokenizer_fault(path, alone=True) == ""
    (tmp_path / "notes.txt").write_text("x")
    assert "a file; allowed: a tokenizer.json, or the folder of a tokenizer" in usable.tokenizer_fault(
        tmp_path / "notes.txt"
    )
    (tmp_path / "empty").mkdir()
    assert "it has no tokenizer" in usable.tokenizer_fault(tmp_path / "empty")
    (tmp_path / "empty/tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    assert usable.tokenizer_fault(tmp_path / "empty") == "", "bytes need no vocabulary"


def test_a_retriever_reads_as_far_as_it_is_loaded_to_read(tmp_path, encoder_folder):
    from jmlr.models.folder import ModelFolder
    from jmlr.models.retriever import load_retriever

    shutil.copytree(encoder_folder, tmp_path / "one")
    assert ModelFolder(tmp_path / "one").longest(tokens=False) == load_retriever(str(tmp_path / "one")).limit("passage")
    (tmp_path / "one/sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 23}))
    assert (
        ModelFolder(tmp_path / "one").longest(tokens=False)
        == load_retriever(str(tmp_path / "one")).limit("passage")
        == 23
    )
    assert bert(wordpiece()).config.max_position_embeddings == ModelFolder(tmp_path / "one").longest(tokens=True)
