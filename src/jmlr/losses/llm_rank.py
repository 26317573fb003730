"""LLM-Rank: the retriever's scores learn the order of the LLM's losses (JMLR, arXiv 2402.17887; docs/llm_rank.md, steps 3, 4, 6).

scaled = scale(scores)                                    # [B, C] in [-1, 1]
picked = sample(scaled, S, temperature, noise)            # [B, S] column numbers
loss = llm_rank(scaled.gather(1, picked), losses, mask)   # losses [B, S]: the LLM's, without gradient
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALED = True


def scale(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scale each question's scores to [-1, 1]: 2 (s - min) / (max - min) - 1 (docs/llm_rank.md, step 3).

    Args:
        scores: [B, C].
        mask: bool [B, C], False for places without a passage; these become 0.

    Returns:
        [B, C]; all zeros, without gradient, for a question whose scores are all equal.
    """
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    low = scores.masked_fill(~mask, float("inf")).amin(1, keepdim=True)
    high = scores.masked_fill(~mask, float("-inf")).amax(1, keepdim=True)
    spread = high - low
    usable = mask & (spread > 0) & torch.isfinite(spread)
    safe = torch.where(usable, spread.expand_as(scores), torch.ones_like(scores))
    base = torch.where(usable, scores - low, torch.full_like(scores, 0.5))
    return torch.where(usable, 2 * base / safe - 1, torch.zeros_like(scores))


def sample(
    scaled: Tensor, samples: int, temperature: float, noise: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw S of C passages without replacement with probabilities softmax(scaled / temperature) (docs/llm_rank.md, step 4).

    Adding Gumbel noise and taking the S largest is the same as drawing one after another (Vieira 2014; Kool et al. 2019).

    Args:
        scaled: [B, C] scores in [-1, 1].
        samples: S; fewer are returned where there are fewer passages.
        temperature: of the softmax; small values come close to the S best.
        noise: [B, C] uniform in (0, 1); all 0.5 takes the S best.
        mask: bool [B, C], False for places without a passage.

    Returns:
        (columns int64 [B, S'], mask bool [B, S']), S' = min(S, C), in ascending order of column.
    """
    keys = scaled.detach().float() / temperature - torch.log(-torch.log(noise.clamp(1e-12, 1 - 1e-7)))
    if mask is not None:
        keys = keys.masked_fill(~mask, float("-inf"))
    columns = keys.topk(min(samples, scaled.shape[1]), dim=1).indices.sort(1).values
    return columns, torch.ones_like(columns, dtype=torch.bool) if mask is None else mask.gather(1, columns)


def llm_rank(scores: Tensor, losses: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over pairs of BCE(sigmoid(s_i - s_j), [L_i < L_j]) (docs/llm_rank.md, step 6).

    A pair with equal losses carries no signal and is left out; the mean is taken over the pairs of each question, then over all
    questions, where one without a signal counts as 0: so the loss of a batch is the mean of the losses of its parts.

    Args:
        scores: [B, S] scaled scores, with gradient.
        losses: [B, S] the LLM's losses; treated as constants.
        mask: bool [B, S], False for places without a passage.

    Returns:
        A scalar; 0 (with zero gradient) if no pair carries a signal.
    """
    i, j = torch.triu_indices(scores.shape[1], scores.shape[1], 1, device=scores.device)
    losses = losses.detach().to(scores.dtype)
    difference, better = scores[:, i] - scores[:, j], losses[:, i] < losses[:, j]
    counted = mask[:, i] & mask[:, j] & (losses[:, i] != losses[:, j])
    pair = F.softplus(torch.where(better, -difference, difference))  # BCE of sigmoid(difference), computed stably
    pairs = counted.sum(1)
    per_question = (pair * counted).sum(1) / pairs.clamp(min=1)
    return per_question.mean()


def reference(scores: list[Tensor], losses: list[float]) -> Tensor | None:
    """Return the same of one question, pair by pair; None where no pair carries a signal."""
    pairs = []
    for i in range(len(scores)):
        for j in range(i + 1, len(scores)):
            if losses[i] == losses[j]:
                continue
            probability = torch.sigmoid(scores[i] - scores[j])
            better = torch.ones_like(probability) if losses[i] < losses[j] else torch.zeros_like(probability)
            pairs.append(F.binary_cross_entropy(probability, better))
    return torch.stack(pairs).mean() if pairs else None


def agreement(scores: Tensor, losses: Tensor, mask: Tensor) -> Tensor:
    """Return Kendall's tau-a between scores and -losses, averaged over questions: how far the retriever ranks as the LLM does."""
    i, j = torch.triu_indices(scores.shape[1], scores.shape[1], 1, device=scores.device)
    same = torch.sign(scores[:, i] - scores[:, j]) * torch.sign(losses[:, j] - losses[:, i])
    counted = mask[:, i] & mask[:, j]
    return ((same * counted).sum(1) / counted.sum(1).clamp(min=1)).mean().detach()
