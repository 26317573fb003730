"""Loading from a folder or the hub: quiet, from safetensors only, and with one line where there is nothing to load.

encoder = pretrained(AutoModel, "all-MiniLM-L6-v2", "retriever", dtype=torch.float32)
"""

from __future__ import annotations

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


def quiet() -> None:
    """Silence progress bars of milliseconds, a report of weights that nobody asked for, and a warning nobody can act on."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # peft asks every model for a property that transformers 5 calls by a new name
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
