"""EMDR2: the answer's marginal likelihood over passages (Sachan et al., arXiv 2106.05346)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALED = False


def emdr2(scores: Tensor, losses: Tensor, mask: Tensor, *, score_temperature: float) -> Tensor:
    """Return -log sum_i softmax(s / score_temperature)_i exp(-L_i), averaged over questions.

    Args:
        scores: [B, S] raw retriever scores, with gradient.
        losses: [B, S] the LLM's losses; treated as constants.
        mask: bool [B, S], False for places without a passage.
        score_temperature: of the retriever.
    """
    prior = (scores / score_temperature).masked_fill(~mask, float("-inf")).log_softmax(1)
    return -(prior - losses.detach().to(scores.dtype)).logsumexp(1).mean()


def reference(scores: list[Tensor], losses: list[float], *, score_temperature: float) -> Tensor:
    """Return the same of one question: minus the logarithm of the answer's likelihood over all passages."""
    weights = [torch.exp(s / score_temperature) for s in scores]
    return -torch.log(
        torch.stack([w / sum(weights) * math.exp(-x) for w, x in zip(weights, losses, strict=True)]).sum()
    )
