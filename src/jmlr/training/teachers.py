"""Whose losses teach the retriever: the LLM's, or marks that stand in their place and show how much there is to learn.

    losses = teacher_losses("gold", llm, passages, batch, columns)    # [B, S]: 0 for a marked passage, 1 for another

As a row beside JMLR's, `train.teacher: gold` is supervised training of the same retriever on the same passages, in the same steps: what a
teacher that knows could have taught. `answer_text` is distant supervision (Karpukhin et al. 2020, arXiv 2004.04906, section 4.1): what the
answer's words alone could have. Both are limits to hold the LLM's losses to, not methods of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.inference.passage_losses import passage_losses
from jmlr.inference.questions import Passages, Question
from jmlr.metrics.answer_hit import answer_hit, countable
from jmlr.models.tensors import at_least_float32
from jmlr.runtime.errors import UserError


def teacher_losses(
    teacher: str, llm: nn.Module, passages: Passages, batch: Sequence[Question], columns: Tensor, **computing: Any
) -> Tensor:
    """Return the losses [B, S] of the candidates numbered `columns` [B, S], without gradient, at least float32, on the LLM's device.

    computing: how `passage_losses` reads and computes.
    """
    if teacher == "llm":
        return passage_losses(llm, passages, batch, columns, **computing)
    chosen = [[q.candidates[c] for c in cs] for q, cs in zip(batch, columns.tolist(), strict=True)]
    marks = [marked(q, rows, passages, teacher) for q, rows in zip(batch, chosen, strict=True)]
    weight = next(llm.parameters())
    return 1 - at_least_float32(torch.tensor(marks, dtype=weight.dtype, device=weight.device))


def marked(question: Question, rows: Sequence[int], passages: Passages, teacher: str) -> list[float]:
    """Return 1.0 for each passage that is gold (`gold`), or that holds the answer's words (`answer_text`); 0.0 for another."""
    if teacher == "gold":
        return [float(row in question.gold) for row in rows]
    if not countable(question.answer_text):
        return [0.0] * len(rows)
    return [answer_hit([text], question.answer_text, 1) for _, text in passages.titles_and_texts(rows)]


def taught(losses: Tensor, mask: Tensor, teacher: str) -> Tensor:
    """Return the numbers int64 [b] of the questions that a teacher says something of: marks that are all alike say nothing.

    losses, mask: [B, S].
    """
    if teacher == "llm":
        return torch.arange(len(losses), device=losses.device)
    high, low = (losses.masked_fill(~mask, end) for end in (float("-inf"), float("inf")))
    return (high.amax(1) > low.amin(1)).nonzero()[:, 0]


def check_teacher(questions: Sequence[Question], teacher: str) -> None:
    """Check that a teacher has something to say.

    Raises:
        UserError: no training question has what it goes by.
    """
    if teacher == "gold" and not any(q.gold for q in questions):
        raise UserError("train.teacher gold: no training question has gold passages; give them, or take 'answer_text'")
    if teacher == "answer_text" and not any(countable(q.answer_text) for q in questions):
        what = "no training question has an answer that says something where a passage holds it (yes, no, two letters do not)"
        raise UserError(f"train.teacher answer_text: {what}")
