"""Answering by option log-likelihood: which option does the LLM find likeliest after passages and question?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.corpus.prompt import Prompter
from jmlr.models.llm import answer_token_losses


@torch.no_grad()
def score_options(
    llm: nn.Module,
    prompter: Prompter,
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[list[int]]],
    *,
    room: int,
    mean: bool,
) -> list[list[float]]:
    """Return the log-likelihood of every option of every question, in nats.

    Args:
        llm: a causal model.
        prompter: of its tokenizer.
        records: questions with `question` and `options`.
        passages: for each question the token ids of its passages, best first; the best is put last, next to the question.
        room: tokens kept free for the answer.
        mean: divide by the number of tokens.
    """
    prompts, answers, owners = [], [], []
    for number, (record, read) in enumerate(zip(records, passages, strict=True)):
        prompt = prompter.prompt(prompter.question(record["question"], record["options"]), list(read)[::-1], room)
        for option in range(len(record["options"])):
            prompts.append(prompt)
            answers.append(prompter.answer(option, record["options"]))
            owners.append(number)
    losses, rows = answer_token_losses(llm, prompts, answers)
    totals = torch.zeros(len(prompts), device=losses.device).index_add(0, rows, losses)
    if mean:
        totals = totals / torch.tensor([len(a) for a in answers], device=losses.device)
    scores: list[list[float]] = [[] for _ in records]
    for owner, value in zip(owners, (-totals).tolist(), strict=True):
        scores[owner].append(value)
    return scores


def probabilities(scores: Sequence[float]) -> list[float]:
    """Return the softmax of option scores."""
    return Tensor(list(scores)).double().softmax(0).tolist() if scores else []
