"""What a GGUF file says of its model is known before anything runs, and a damaged one is told in one line."""

from __future__ import annotations

import struct

import pytest

from gguf_files import text, write_gguf
from jmlr.models.gguf import ARCHITECTURES, GgufFile


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
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60), "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2) + b"\xff\xff", "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 99), "header is damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1), "header is damaged"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 9) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 40),
            "ends within its header",
        ),
    ],
)
def test_what_is_no_gguf_file_is_told(tmp_path, content, said):
    (tmp_path / "bad.gguf").write_bytes(content)
    about = GgufFile(tmp_path / "bad.gguf")
    assert said in about.fault
    assert (about.architecture, about.context) == ("", 0)


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
    others = {"general", "tokenizer", "t5", "umt5"}  # no model, or none that reads from left to right
    assert set(ARCHITECTURES) == set(ggml.GGUF_CONFIG_MAPPING) - others


@pytest.mark.real
def test_a_real_file_says_what_it_is(data):
    found = sorted((data / "models").rglob("SmolLM2-135M-Instruct*.gguf"))
    if not found:
        pytest.skip(f"{data / 'models'} has no SmolLM2-135M-Instruct GGUF file (its get-smollm2.sh brings it)")
    about = GgufFile(found[0])
    assert (about.architecture, about.context, about.has_chat_template) == ("llama", 8192, True)
