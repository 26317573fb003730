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


def write_cross_encoder(folder: Path, tokenizer: Any, kind: str = "bert", labels: int = 1) -> Path:
    """Write a cross-encoder of random weights, as transformers saves it; its tokenizer reads up to 64 tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), max_position_embeddings=66, initializer_range=0.4, num_labels=labels,
        pad_token_id=0, **sizes,
    )  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder
