"""Folders of models as small as they can be: what is read of a model before anything runs is whole, and nothing more."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

TOKENIZER: dict[str, Any] = {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": []}


def safetensors(size: int = 4) -> bytes:
    """Return a safetensors file of one tensor of `size` bytes."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def write_model(folder: Path, **files: Any) -> Path:
    """Write files by their names with `__` for a dot and `___` for a slash: objects as JSON, None: none; the rest as a model has it."""
    content = {"config__json": {}, "tokenizer__json": TOKENIZER, "model__safetensors": safetensors(), **files}
    for name, held in content.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        if held is not None:
            path.write_bytes(held if isinstance(held, bytes) else json.dumps(held).encode())
    return folder
