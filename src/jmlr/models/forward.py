"""What a causal language model is asked in training and answering: hidden states, logits, the loss of answers (docs/llm_rank.md, steps 5 and 7).

losses = answer_losses(llm, prompts, answers)        # [n], mean cross-entropy of each answer's tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.folder import POSITIONS
from jmlr.models.tensors import at_least_float32, pad_right


def causal(llm: nn.Module) -> Any:
    """Return the Hugging Face model itself, from under an adapter if there is one."""
    return llm.get_base_model() if hasattr(llm, "get_base_model") else llm  # type: ignore[operator]


def context_of(config: Any) -> int | None:
    """Return how many positions a model has; None where it has no bound. Models of several parts keep it with that for text."""
    text = config.get_text_config(decoder=True)
    known = (getattr(text, name, None) for name in POSITIONS)
    return next((most for most in known if isinstance(most, int) and most > 0), None)


def hidden_states(llm: nn.Module, ids: Tensor) -> Tensor:
    """Return the last hidden states [n, T, H] of a causal model without its head (adapters in place)."""
    return causal(llm).get_decoder()(input_ids=ids, use_cache=False).last_hidden_state


def head(llm: nn.Module) -> nn.Module:
    """Return the head that turns hidden states into logits."""
    return causal(llm).get_output_embeddings()


def logits_of(llm: nn.Module, states: Tensor) -> Tensor:
    """Return the logits [..., V] of hidden states [..., H]: the head's output, scaled or capped as the model's own forward does."""
    config, out = causal(llm).config, head(llm)(states)
    if times := getattr(config, "logit_scale", None):  # Cohere
        out = out * times
    if over := getattr(config, "logits_scaling", None):  # Granite
        out = out / over
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        out = cap * torch.tanh(out / cap)
    return out


def answer_token_losses(
    llm: nn.Module, prompts: Sequence[list[int]], answers: Sequence[list[int]]
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of every answer token, and the row it belongs to.

    The head is applied at the answers' positions only: [sum of answer lengths, V], never [n, T, V].

    Args:
        llm: a causal model, with or without an adapter.
        prompts: n token lists.
        answers: n token lists, each of at least one token.

    Returns:
        (losses float32 [tokens], rows int64 [tokens]).
    """
    where = next(llm.parameters()).device
    texts = [p + a for p, a in zip(prompts, answers, strict=True)]
    ids = pad_right(texts, where, context_of(causal(llm).config))
    rows = torch.tensor([i for i, a in enumerate(answers) for _ in a]).to(where, non_blocking=True)
    places = torch.tensor([len(p) + j for p, a in zip(prompts, answers, strict=True) for j in range(len(a))]).to(
        where, non_blocking=True
    )
    logits = logits_of(llm, hidden_states(llm, ids)[rows, places - 1])  # the token at t is predicted at t - 1
    return F.cross_entropy(at_least_float32(logits), ids[rows, places], reduction="none"), rows


def answer_losses(llm: nn.Module, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> Tensor:
    """Return the mean cross-entropy of each answer given its prompt: float32 [n] (docs/llm_rank.md, step 5)."""
    losses, rows = answer_token_losses(llm, prompts, answers)
    counts = torch.tensor([len(a) for a in answers]).to(losses.device, non_blocking=True)
    return torch.zeros(len(answers), device=losses.device, dtype=losses.dtype).index_add(0, rows, losses) / counts
