"""Perplexity distillation: the retriever's distribution follows the LLM's (REPLUG LSR, arXiv 2301.12652; Atlas, arXiv 2208.03299)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALED = False


def pdist(
    scores: Tensor, losses: Tensor, mask: Tensor, *, target_temperature: float, score_temperature: float
) -> Tensor:
    """Return KL(softmax(-L / target_temperature) || softmax(s / score_temperature)), averaged over questions.

    Args:
        scores: [B, S] raw retriever scores, with gradient.
        losses: [B, S] the LLM's losses; treated as constants.
        mask: bool [B, S], False for places without a passage.
        target_temperature: of the target.
        score_temperature: of the retriever.
    """
    target = (-losses.detach().to(scores.dtype) / target_temperature).masked_fill(~mask, float("-inf")).log_softmax(1)
    student = (scores / score_temperature).masked_fill(~mask, float("-inf")).log_softmax(1)
    terms = (target.exp() * (target.masked_fill(~mask, 0) - student.masked_fill(~mask, 0))).masked_fill(~mask, 0)
    return terms.sum(1).mean()


def reference(
    scores: list[Tensor], losses: list[float], *, target_temperature: float, score_temperature: float
) -> Tensor:
    """Return the same of one question, term by term."""
    weights = [torch.exp(s / score_temperature) for s in scores]
    powers = [math.exp(-x / target_temperature) for x in losses]
    shares = [(t / sum(powers), w / sum(weights)) for t, w in zip(powers, weights, strict=True)]
    return torch.stack([t * torch.log(t / p) for t, p in shares]).sum()
