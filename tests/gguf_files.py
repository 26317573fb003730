"""GGUF files of a header alone: what is read of a model before anything runs."""

from __future__ import annotations

import struct
from pathlib import Path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def write_gguf(
    path: Path, architecture: str = "llama", context: int = 2048, template: str = "", version: int = 3
) -> Path:
    """Write the header of a GGUF file; its vocabulary stands before the chat template, as llama.cpp's converter has it."""
    keys = [
        text("general.architecture") + struct.pack("<I", 8) + text(architecture),
        text(f"{architecture}.context_length") + struct.pack("<II", 4, context),
        text(f"{architecture}.rope.freq_base") + struct.pack("<If", 6, 10000.0),
        text("tokenizer.ggml.add_bos_token") + struct.pack("<I?", 7, True),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("<s>") + text("a") + text("\u00e9"),
        text("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 3, 1, 1),
    ]
    if template:
        keys.append(text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, len(keys)) + b"".join(keys))
    return path
