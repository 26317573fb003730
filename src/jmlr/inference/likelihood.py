"""Answering by option log-likelihood: which option does the LLM find likeliest after passages and question?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.corpus.prompt import Prompter
from jmlr.inference.shares import put_together, shares
from jmlr.models.forward import answer_token_losses
from jmlr.models.prefix import option_losses


def score_options(
    llm: nn.Module,
    prompter: Prompter,
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[Sequence[int]]],
    *,
    room: int,
    mean: bool,
    batch: int = 32,
    done: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """Return the log-likelihood of every option of every question, in nats.

    A question's prompt is read once for all its options; questions of like length are read together. Several ranks share the
    questions, and each returns the scores of all.

    Args:
        llm: a causal model in evaluation mode.
        prompter: of its tokenizer.
        records: questions with `question` and `options`.
        passages: for each question the token ids of its passages, best first; the best is put last, next to the question.
        room: tokens kept free for the answer.
        mean: divide by the number of tokens.
        batch: questions at a time.
        done: called with the number of questions of each batch, on all ranks together, when they are scored.
    """
    prompts = [_prompt(prompter, r, read, room) for r, read in zip(records, passages, strict=True)]
    scores: dict[int, list[float]] = {}
    for numbers in shares(llm, prompts, batch, done or (lambda _: None)):
        options = [
            [prompter.answer(o, records[i]["options"]) for o in range(len(records[i]["options"]))] for i in numbers
        ]
        for i, losses in zip(numbers, option_losses(llm, [prompts[i] for i in numbers], options), strict=True):
            scores[i] = [-total / count if mean else -total for total, count in losses]
    return put_together(llm, scores)


@torch.no_grad()
def score_options_plainly(
    llm: nn.Module,
    prompter: Prompter,
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[Sequence[int]]],
    *,
    room: int,
    mean: bool,
) -> list[list[float]]:
    """Return what `score_options` returns, without a cache: every option reads the whole prompt. For tests and benchmarks."""
    prompts, answers, owners = [], [], []
    for number, (record, read) in enumerate(zip(records, passages, strict=True)):
        prompt = _prompt(prompter, record, read, room)
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


def _prompt(prompter: Prompter, record: dict[str, Any], read: Sequence[Sequence[int]], room: int) -> list[int]:
    return prompter.prompt(prompter.question(record["question"], record["options"]), list(read)[::-1], room)


def probabilities(scores: Sequence[float]) -> list[float]:
    """Return the softmax of option scores."""
    return Tensor(list(scores)).double().softmax(0).tolist() if scores else []
