"""Loading from a folder or the hub: quiet, from safetensors only, and with one line where there is nothing to load.

encoder = pretrained(AutoModel, "all-MiniLM-L6-v2", "retriever", dtype=torch.float32)
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from jmlr.runtime.errors import UserError
from jmlr.runtime.meter import watch


def pretrained(kind: Any, path: str, what: str, **settings: Any) -> Any:
    """Return `kind.from_pretrained(path, **settings)` for a class of transformers.

    Args:
        kind: AutoModel, AutoTokenizer, ...
        path: folder or hub name.
        what: how a message calls it, e.g. "retriever".
        settings: further arguments.

    Raises:
        UserError: there is no such model, its licence was not accepted, or it is of another kind.
    """
    quiet()
    try:
        return watch("llm" if what == "language model" else what, kind.from_pretrained(path, **settings))
    except (OSError, ValueError) as error:
        reason = str(error).strip() or type(error).__name__
        if "gated repo" in reason.lower():
            mend = f"accept its licence at https://huggingface.co/{path}, then `hf auth login` or set HF_TOKEN, and run again"
            raise UserError(f"{what} '{path}' is licence-gated: {mend}") from None
        raise UserError(f"{what} '{path}' cannot be loaded: {reason.splitlines()[0]}") from None


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


def read_gguf(path: str, precision: str, dtype: Any) -> Any:
    """Return the language model of a GGUF file with its weights restored.

    transformers cannot save a model that it read from GGUF, so it is made anew from its configuration.

    Raises:
        UserError: 4 bits are asked for, the package gguf is missing, or the file is none that transformers reads.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_gguf_available

    if precision == "4bit":
        raise UserError(f"language model '{path}': llm_precision 4bit; allowed for a GGUF file: float32, bfloat16")
    if not is_gguf_available():
        raise UserError(f"language model '{path}': a GGUF file needs the package gguf: pip install 'jmlr[gguf]'")
    folder, file = gguf_of(path)
    found = pretrained(AutoModelForCausalLM, folder, "language model", dtype=dtype, **file)
    config = copy.deepcopy(found.config)
    config.__dict__.pop("quantization_config", None)
    made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    made.load_state_dict(found.state_dict())
    made.generation_config = found.generation_config
    made.name_or_path = path
    return made.eval()


def quiet() -> None:
    """Silence progress bars of milliseconds, a report of weights that nobody asked for, and a warning nobody can act on."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # peft asks every model for a property that transformers 5 calls by a new name
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
