"""The LLM's loss of an answer given one passage at a time: what the retriever learns from, and what tells whether the LLM reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jmlr.inference.questions import Passages, Question
from jmlr.models.forward import answer_losses
from jmlr.models.parts import computed_in_parts
from jmlr.models.sharded import through
from jmlr.runtime.devices import autocast
from jmlr.runtime.precision import Precision


@torch.no_grad()
def passage_losses(
    llm: nn.Module,
    passages: Passages,
    batch: Sequence[Question],
    columns: Tensor,
    *,
    answer_tokens: int,
    forward_tokens: int,
    precision: Precision,
) -> Tensor:
    """Return the loss of each question's answer given one passage at a time: [B, S], nats per token (docs/llm_rank.md, step 5).

    Without dropout, whatever mode the LLM is in: a loss measures the passage, not the mask.

    Args:
        llm: a causal model, with or without an adapter.
        passages: of which the candidates are rows.
        batch: B questions.
        columns: int64 [B, S], which of a question's candidates; places beyond their number get 0.
        answer_tokens: kept free for the answer where a prompt must be cut.
        forward_tokens: most tokens computed at once, padding included.
        precision: what is computed in; bfloat16 where the hardware has it.
    """
    training = llm.training
    llm.eval()
    jobs = [
        (b, s, q.candidates[c])
        for b, (q, cs) in enumerate(zip(batch, columns.tolist(), strict=True))
        for s, c in enumerate(cs)
        if c < len(q.candidates)
    ]
    prompts = [passages.prompter.prompt(batch[b].prompt, [passages.for_llm(row)], answer_tokens) for b, _, row in jobs]
    answers = [batch[b].answer for b, _, _ in jobs]
    where = next(llm.parameters()).device

    def compute(part: list[int]) -> Tensor:
        with autocast(where, precision):
            return through(llm, answer_losses, [prompts[i] for i in part], [answers[i] for i in part])

    lengths = [len(p) + len(a) for p, a in zip(prompts, answers, strict=True)]
    values = computed_in_parts(compute, lengths, forward_tokens, where)
    losses = torch.zeros(columns.numel(), device=where, dtype=values.dtype)
    places = torch.tensor([b * columns.shape[1] + s for b, s, _ in jobs]).to(where, non_blocking=True)
    llm.train(training)
    return losses.index_copy(0, places, values).view(columns.shape)
