"""The shape of a ready-made model, from its files or the hub, before it is loaded.

shape_of("meta-llama/Llama-2-7b-hf")            # a folder, a hub name, or a GGUF file; a retriever's folder too
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jmlr.models.flops import Shape
from jmlr.models.folder import ModelFolder
from jmlr.models.kinds import kind_of

NAMED = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
    "tie_word_embeddings",
)  # fmt: skip
COLBERT_DEPTH = 128  # of ColBERTv2's checkpoints, where they do not say


def shape_of(path: str) -> Shape | None:
    """Return a model's shape, of a ColBERT with the depth of its vectors; None where its configuration does not tell.

    Raises:
        UserError: there is no such model.
    """
    from transformers import AutoConfig

    from jmlr.models.load import gguf_of, pretrained

    folder, file = gguf_of(path)
    about = retriever_folder(Path(folder))
    place = str(about.folder / about.place) if about.folder.is_dir() else folder
    found = pretrained(AutoConfig, place, "configuration of", **file)
    text = found.get_text_config(decoder=True)
    known = {
        k: v for k in NAMED if (v := getattr(text, k, None)) is not None
    }  # by any of the names that transformers knows
    return read_shape({**known, "model_type": text.model_type, "colbert_depth": colbert_depth(about)})


def shape_of_folder(path: Path) -> Shape | None:
    """Return the same of a folder on this machine from config.json alone, in no time; None where it does not tell."""
    about = retriever_folder(path)
    inner = ModelFolder(about.folder / about.place).config
    return read_shape({**inner, "colbert_depth": colbert_depth(about)})


def read_shape(config: dict[str, Any]) -> Shape | None:
    """Return the shape that a configuration tells, or None."""
    try:
        return Shape.of(config)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def retriever_folder(folder: Path) -> ModelFolder:
    """Return the folder of a model; of a retriever with two encoders, that of queries."""
    two = (folder / "query").is_dir() and (folder / "passage").is_dir()
    return ModelFolder(folder / "query" if two else folder)


def colbert_depth(about: ModelFolder) -> int:
    """Return the depth of a ColBERT's vectors; 0 for any other model."""
    if kind_of(about.folder) != "colbert":
        return 0
    dense = [place for kind, place in about.listed if kind == "Dense"]
    if dense:
        return int(ModelFolder(about.folder / dense[-1]).object("config.json").get("out_features", COLBERT_DEPTH))
    return int(about.object("artifact.metadata").get("dim") or COLBERT_DEPTH)
