"""Perplexity distillation: the retriever's distribution follows the LLM's (REPLUG LSR, arXiv 2301.12652; Atlas, arXiv 2208.03299)."""

from __future__ import annotations

from torch import Tensor


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
