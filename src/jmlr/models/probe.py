"""Is a language model one whose losses and cache are understood here? A few tokens tell, when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.models.forward import answer_losses, causal, hidden_states, logits_of
from jmlr.models.prefix import option_losses
from jmlr.runtime.errors import UserError

PROMPTS, ANSWERS = [[0, 1, 2, 1], [2]], [[2, 1], [1, 0]]  # of two lengths, so that one is padded


@torch.no_grad()
def check_kind(llm: nn.Module, path: str) -> None:
    """Refuse a model that would fail later, or whose losses would be wrong without a word.

    Raises:
        UserError: its logits are not what `logits_of` makes of its hidden states, or a prompt that is read once for several
            answers does not give the losses of whole texts.
    """
    ids = torch.tensor([PROMPTS[0][:3]], device=next(llm.parameters()).device)
    training = llm.training
    llm.eval()
    own = _tried(llm, path, lambda: llm(input_ids=ids, use_cache=False).logits)
    ours = _tried(llm, path, lambda: logits_of(llm, hidden_states(llm, ids)))
    if own.shape != ours.shape or _apart(own, ours) > 0.02:
        raise UserError(f"{_kind(llm, path)} change what their head gives in a way that is not known here; {OTHER}")
    plain = answer_losses(llm, PROMPTS, ANSWERS)
    found = _tried(llm, path, lambda: option_losses(llm, PROMPTS, [[a] for a in ANSWERS]))
    shared = torch.tensor([loss / count for [(loss, count)] in found], device=plain.device, dtype=plain.dtype)
    if _apart(plain, shared) > (0.001 if next(llm.parameters()).dtype == torch.float32 else 0.05):
        raise UserError(f"{_kind(llm, path)} do not go on from a prompt as they read whole texts; {OTHER}")
    llm.train(training)


OTHER = "take one of another kind (docs/models.md)"


def _kind(llm: nn.Module, path: str) -> str:
    return f"language model '{path}': models of the kind '{causal(llm).config.model_type}'"


def _apart(a: Tensor, b: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((a - b).abs().max() / a.abs().max())


def _tried(llm: nn.Module, path: str, compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a kind of model does not take
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise UserError(f"{_kind(llm, path)} cannot be read here ({reason}); {OTHER}") from None
