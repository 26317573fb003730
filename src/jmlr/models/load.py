"""Loading from a folder or the hub: quiet, from safetensors only, and with one line where there is nothing to load.

encoder = pretrained(AutoModel, "all-MiniLM-L6-v2", "retriever", dtype=torch.float32)
"""

from __future__ import annotations

import copy
import json
import os
import struct
import warnings
from collections.abc import Collection
from typing import Any

from jmlr.models import attention
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import how_to_install
from jmlr.runtime.meter import watch


def pretrained(kind: Any, path: str, what: str, **settings: Any) -> Any:
    """Return `kind.from_pretrained(path, **settings)` for a class of transformers.

    Args:
        kind: AutoModel, AutoTokenizer, ...
        path: folder or hub name.
        what: how a message calls it, e.g. "retriever".
        settings: further arguments.

    Raises:
        UserError: there is no such model, its licence was not accepted, it is of another kind, or weights of it are missing or no
            numbers: transformers would draw the missing ones at random, and say so where nobody looks.
    """
    import torch
    from safetensors import SafetensorError

    quiet()
    attention.install()
    try:
        if not hasattr(kind, "from_config"):  # a tokenizer, a configuration
            found = kind.from_pretrained(path, **settings)
            if hasattr(found, "get_vocab"):
                _knows_words(found, f"{what} '{path}'")
            return found
        model, loading = kind.from_pretrained(path, output_loading_info=True, **settings)
        _whole(model, loading["missing_keys"], f"{what} '{path}'")
        watch("llm" if what == "language model" else what, model)
        return model
    except (torch.OutOfMemoryError, UserError):
        raise
    except (
        OSError,
        ValueError,
        LookupError,
        RuntimeError,
        SafetensorError,
        struct.error,
    ) as error:  # damaged files too
        reason = str(error).strip() or type(error).__name__
        if "gated repo" in reason.lower():
            fix = f"accept its licence at https://huggingface.co/{path}, then `hf auth login` or set HF_TOKEN, and run again"
            raise UserError(f"{what} '{path}' is licence-gated: {fix}") from None
        raise UserError(f"{what} '{path}' cannot be loaded: {reason.splitlines()[0]}") from None


def _whole(model: Any, missing: Collection[str], what: str) -> None:
    """Refuse a model of which weights are missing, or no finite numbers. A pooling head is none of what is used here."""
    import torch

    absent = sorted(name for name in missing if "pooler" not in name.split("."))
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UserError(
            f"{what}: its files have no weights for {absent[0]}{more}, which would be random; give a config.json and weights that "
            "belong together"
        )
    for name, p in model.named_parameters():
        if p.is_floating_point() and p.numel() and not torch.stack(p.detach().aminmax()).isfinite().all():
            raise UserError(f"{what}: its weights {name} are not all finite numbers; copy or save the model again")


def _knows_words(tokenizer: Any, what: str) -> None:
    """Refuse a tokenizer without a vocabulary: transformers makes one of special tokens alone where its files are missing."""
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise UserError(
            f"{what}: it knows no word; tokenizer.json, or the file of its vocabulary, is missing in the folder"
        )


def every_row_learns(model: Any) -> None:
    """Let the embedding of the padding token learn: in many models it is also the token that ends a text.

    Padding itself is never attended to and never scored, so it gives no gradient.
    """
    embedding = model.get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:
        embedding.padding_idx = None


def is_gguf(path: str) -> bool:
    """Tell whether a path names a GGUF file: on this machine, or NAME/MODEL/FILE.gguf on the hub."""
    return path.endswith(".gguf")


def gguf_of(path: str) -> tuple[str, dict[str, str]]:
    """Return the folder or hub name of a path, and what transformers is told besides where it is a GGUF file."""
    folder, _, name = path.rpartition("/")
    return (folder or ".", {"gguf_file": name}) if is_gguf(path) else (path, {})


def read_gguf(path: str, dtype: Any) -> Any:
    """Return the language model of a GGUF file with its weights restored.

    transformers cannot save a model that it read from GGUF, so it is made anew from its configuration.

    Raises:
        UserError: there is no such file, the package gguf is missing, or transformers cannot read the file.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_gguf_available

    if not is_gguf_available():
        raise UserError(f"language model '{path}': a GGUF file needs the package gguf: {how_to_install('gguf')}")
    folder, file = gguf_of(path)
    if os.path.isdir(folder) and not os.path.isfile(path):
        raise UserError(f"language model '{path}': there is no such file")
    found = pretrained(AutoModelForCausalLM, folder, "language model", dtype=dtype, **file)
    config = copy.deepcopy(found.config)
    config.__dict__.pop("quantization_config", None)
    made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    made.load_state_dict(found.state_dict())
    made.generation_config = found.generation_config
    made.name_or_path = path
    watch("llm", made)
    return made.eval()


def forget_tokens_beyond_the_file(tokenizer: Any) -> None:
    """Take out the special tokens that transformers gives a GGUF file's tokenizer by default: no row of the model stands for them."""
    from tokenizers import Tokenizer

    held = json.loads(tokenizer.backend_tokenizer.to_str())
    known = len(held["model"]["vocab"])
    foreign = {t["content"] for t in held["added_tokens"] if t["id"] >= known}
    if foreign:
        held["added_tokens"] = [t for t in held["added_tokens"] if t["id"] < known]
        for name, token in tokenizer.special_tokens_map.items():
            if token in foreign:
                setattr(tokenizer, name, None)
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(held))


def quiet() -> None:
    """Silence progress bars of milliseconds, a report of weights that nobody asked for, and a warning nobody can act on."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # peft asks every model for a property that transformers 5 calls by a new name
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
