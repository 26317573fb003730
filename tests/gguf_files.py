"""GGUF files with a header and one small tensor: what is read of a model before anything runs."""

from __future__ import annotations

import struct
from pathlib import Path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: str, value: object) -> bytes:
    """Return a key with its value, whose kind is as `struct` writes it, or 's': a text."""
    numbers = {"B": 0, "i": 5, "I": 4, "f": 6, "?": 7, "s": 8, "Q": 10, "q": 11, "d": 12}
    written = text(str(value)) if kind == "s" else struct.pack(f"<{kind}", value)
    return text(name) + struct.pack("<I", numbers[kind]) + written


def write_gguf(
    path: Path,
    architecture: str = "llama",
    context: int = 2048,
    template: str = "",
    version: int = 3,
    more: bytes = b"",
    tensors: int = 1,
) -> Path:
    """Write a GGUF file; its vocabulary stands before the chat template, as llama.cpp's converter has it. `more`: one further key."""
    keys = [
        key("general.architecture", "s", architecture),
        key(f"{architecture}.context_length", "I", context),
        key(f"{architecture}.rope.freq_base", "f", 10000.0),
        key("tokenizer.ggml.add_bos_token", "?", True),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("<s>") + text("a") + text("\u00e9"),
        text("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 3, 1, 1),
    ]
    if template:
        keys.append(key("tokenizer.chat_template", "s", template))
    if more:
        keys.append(more)
    header = b"GGUF" + struct.pack("<IQQ", version, tensors, len(keys)) + b"".join(keys)
    for n in range(tensors):  # of Q4_0: two blocks of 18 bytes
        header += text(f"blk.{n}.weight") + struct.pack("<IQQIQ", 2, 32, 2, 2, 64 * n)
    path.write_bytes(header + b"\0" * (-len(header) % 32) + b"\1" * (64 * (tensors - 1) + 36) * bool(tensors))
    return path
