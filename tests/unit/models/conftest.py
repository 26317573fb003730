"""Folders as the libraries publish them, with tiny encoders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_encoders import bert, wordpiece, write_pylate


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory) -> Path:
    """Return a plain Hugging Face encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = wordpiece()
    bert(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stanford_folder(tmp_path_factory) -> Path:
    """Return a checkpoint as ColBERTv2 is published: BertModel under `bert.`, linear.weight, artifact.metadata."""
    folder = tmp_path_factory.mktemp("colbertv2")
    tokenizer = wordpiece()
    model = bert(tokenizer, seed=1)
    weights = {f"bert.{k}": v.contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    weights["linear.weight"] = torch.randn(16, 32, generator=torch.Generator().manual_seed(2)) / 5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_dict(), "architectures": ["HF_ColBERT"]}
    (folder / "config.json").write_text(json.dumps(config))
    metadata = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]",
                "dim": 16, "query_maxlen": 12, "doc_maxlen": 20, "mask_punctuation": True, "attend_to_mask_tokens": False,
                "similarity": "cosine"}  # fmt: skip
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pylate_folder(tmp_path_factory) -> Path:
    return write_pylate(tmp_path_factory.mktemp("pylate") / "model")
