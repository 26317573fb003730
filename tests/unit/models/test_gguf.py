"""What a GGUF file says of its model is known before anything runs, and a damaged one is told in one line."""

from __future__ import annotations

import re
import struct

import pytest

from gguf_files import key, text, write_gguf
from jmlr.models.gguf import ARCHITECTURES, BLOCKS, GgufFile


def test_architecture_context_and_chat_template_are_read_from_the_header(tmp_path):
    about = GgufFile(write_gguf(tmp_path / "a.gguf", "qwen2", 4096, "{{ messages }}"))
    assert (about.fault, about.architecture, about.context, about.has_chat_template) == ("", "qwen2", 4096, True)
    assert not GgufFile(write_gguf(tmp_path / "b.gguf")).has_chat_template


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin as a GGUF file"),
        (b"<!DOCTYPE html>", "does not begin as a GGUF file"),
        (b"GGUF", "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1 of the format; read are 2 and 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "its numbers are big-endian; allowed: little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60), "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2) + b"\xff\xff", "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 99), "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1), "header is damaged"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 9) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 40),
            "ends within its header; copy it again",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 63),
            "ends within its header",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs, .*: git lfs pull"),
    ],
)
def test_what_is_no_gguf_file_is_told(tmp_path, content, said):
    (tmp_path / "bad.gguf").write_bytes(content)
    about = GgufFile(tmp_path / "bad.gguf")
    assert re.search(said, about.fault)
    assert (about.architecture, about.context) == ("", 0)


@pytest.mark.parametrize(
    ("name", "kind", "value", "said"),
    [
        ("llama.context_length", "s", "4096", "llama.context_length is '4096', no whole number"),
        ("llama.context_length", "f", 512.0, "is '512.0', no whole number"),
        ("llama.context_length", "f", float("inf"), "is 'inf', no whole number"),
        ("llama.context_length", "d", float("nan"), "is 'nan', no whole number"),
        ("llama.context_length", "i", -5, "is '-5', no whole number"),
        ("llama.context_length", "?", True, "is 'True', no whole number"),
        ("general.alignment", "f", 0.5, "general.alignment is '0.5', no whole number"),
        ("general.architecture", "I", 7, "general.architecture is '7', no text"),
        ("tokenizer.chat_template", "B", 1, "tokenizer.chat_template is '1', no text"),
    ],
)
def test_a_value_of_a_wrong_type_is_damage(tmp_path, name, kind, value, said):
    about = GgufFile(write_gguf(tmp_path / "a.gguf", more=key(name, kind, value)))
    assert f"its header is damaged: {name} is" in about.fault
    assert said in about.fault
    assert about.context == 0


def test_a_file_without_tensors_or_with_a_part_of_them_is_told(tmp_path):
    assert "holds no tensors" in GgufFile(write_gguf(tmp_path / "a.gguf", tensors=0)).fault
    part = write_gguf(tmp_path / "b.gguf", more=key("split.count", "I", 3))
    assert "one of 3 parts of a model; join them: llama-gguf-split --merge" in GgufFile(part).fault
    assert GgufFile(write_gguf(tmp_path / "c.gguf", more=key("split.count", "I", 1), tensors=3)).fault == ""


def test_a_file_shorter_than_its_last_tensor_is_told_with_both_sizes(tmp_path):
    whole = write_gguf(tmp_path / "a.gguf", tensors=2).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-1])
    said = f"it has {len(whole) - 1:,} bytes, and {len(whole):,} by its header; copy it again"
    assert GgufFile(tmp_path / "cut.gguf").fault == said


def test_sizes_of_tensors_are_those_of_the_package():
    """Fix: gguf knows others now; copy its GGML_QUANT_SIZES into BLOCKS of src/jmlr/models/gguf.py."""
    gguf = pytest.importorskip("gguf")
    assert {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()} == BLOCKS


def test_every_cut_of_a_file_is_told(tmp_path):
    whole = write_gguf(tmp_path / "a.gguf", template="{{ messages }}").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        assert GgufFile(tmp_path / "cut.gguf").fault, length


def test_a_file_that_is_not_there_is_told(tmp_path):
    assert "No such file" in GgufFile(tmp_path / "none.gguf").fault


def test_the_architectures_are_those_that_transformers_restores_from_such_a_file():
    """Fix: transformers reads others now; put the causal ones into ARCHITECTURES of src/jmlr/models/gguf.py."""
    ggml = pytest.importorskip("transformers.integrations.ggml")
    others = {
        "general",
        "tokenizer",
        "t5",
        "umt5",
        "mamba",
    }  # no model, one that reads both ways, or keeps no cache of its tokens

    def plain(names):
        return {name.replace("-", "").replace("_", "") for name in names}

    assert plain(ARCHITECTURES) == plain(set(ggml.GGUF_CONFIG_MAPPING) - others)


def test_the_architectures_are_called_as_files_call_them():
    """Fix: write the name in ARCHITECTURES of src/jmlr/models/gguf.py as llama.cpp does: qwen2moe, not qwen2_moe."""
    gguf = pytest.importorskip("gguf")
    assert set(ARCHITECTURES) - {"mistral"} <= set(gguf.MODEL_ARCH_NAMES.values())  # Mistral's files say llama


@pytest.mark.real
def test_a_real_file_says_what_it_is(data):
    found = sorted((data / "models").rglob("SmolLM2-135M-Instruct*.gguf"))
    if not found:
        pytest.skip(f"{data / 'models'} has no SmolLM2-135M-Instruct GGUF file (its get-smollm2.sh brings it)")
    about = GgufFile(found[0])
    assert (about.architecture, about.context, about.has_chat_template) == ("llama", 8192, True)
