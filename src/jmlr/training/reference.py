"""The joint step's slow, obvious twin: docs/llm_rank.md line by line, one passage at a time, whole logits, plain loops.

Written to be believed, not to be used: tests compare `joint_step` with it, in both losses and in every gradient, and the
benchmark measures what batching saves. It shares with the fast step only the models, the prompt and the random draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.inference.questions import Passages, Question, reading_of
from jmlr.losses import target
from jmlr.models.retriever import Retriever
from jmlr.runtime.seeds import python_random, stream
from jmlr.training.step import StepResult, StepSettings
from jmlr.training.teachers import marked


def reference_step(
    llm: nn.Module,
    retriever: Retriever | None,
    passages: Passages,
    batch: Sequence[Question],
    settings: StepSettings,
    seed: int,
    step: int,
    rank_due: bool,
) -> StepResult:
    """Compute what `joint_step` computes, with the same arguments."""
    losses_lm, losses_rank = [], []
    for question in batch:
        scores = score_one_by_one(retriever, passages, question)
        if retriever is not None and rank_due:
            signal = rank_one_question(llm, passages, question, scores, settings, seed, step)
            if signal is not None:
                losses_rank.append(signal)
        # docs/llm_rank.md, step 7: the K passages with the highest scores; in the paper's order the best stands last.
        best = sorted(range(len(scores)), key=lambda c: (-scores[c].item(), c))[: settings.passages]
        order = list(best)
        if settings.passage_order == "best_last":
            order = best[::-1]
        elif settings.passage_order == "shuffled":
            order = python_random(seed, "order", step, question.number).sample(best, len(best))
        rows = [question.candidates[c] for c in best], [question.candidates[c] for c in order]
        losses_lm.append(token_loss(llm, *reading_of(passages, question, *rows, settings.llm_answer_tokens)))
    loss_rank = None
    if retriever is not None and rank_due:
        loss_rank = torch.stack(losses_rank).sum() / len(batch) if losses_rank else torch.zeros(())
    return StepResult(torch.stack(losses_lm).mean(), loss_rank, {})


def score_one_by_one(retriever: Retriever | None, passages: Passages, question: Question) -> list[Tensor]:
    """Return s_c for every candidate, each passage encoded and scored alone (docs/llm_rank.md, step 2)."""
    if retriever is None:
        return [torch.tensor(-float(c)) for c in range(len(question.candidates))]  # the index's order stands
    query = retriever.encode([question.query], "query")
    first = torch.tensor([[0]], device=query.device)
    return [
        retriever.interact(query, retriever.encode([passages.for_retriever(row)]), first)[0, 0]
        for row in question.candidates
    ]


def rank_one_question(
    llm: nn.Module,
    passages: Passages,
    question: Question,
    scores: list[Tensor],
    settings: StepSettings,
    seed: int,
    step: int,
) -> Tensor | None:
    """Return the retriever's loss of one question; None where no pair of sampled passages carries a signal (docs/llm_rank.md, steps 3 to 6)."""
    low, high = min(scores, key=Tensor.item), max(scores, key=Tensor.item)
    apart = low.item() < high.item()
    learns = target(settings.target)
    if learns.SCALED and not apart:
        return None
    scaled = [2 * (s - low) / (high - low) - 1 if apart else 0 * s for s in scores]

    # S without replacement with probabilities softmax(s' / temperature): add Gumbel noise, take the S largest.
    uniform = np.random.default_rng(stream(seed, "sample", step, question.number)).random(len(scores))
    if settings.sampling != "softmax":
        uniform[:] = 0.5
    keys = [
        s.item() / settings.sampling_temperature - math.log(-math.log(u)) for s, u in zip(scaled, uniform, strict=True)
    ]
    sampled = sorted(sorted(range(len(keys)), key=lambda c: -keys[c])[: settings.samples])

    prior = [settings.prior_weight * question.scores[c] for c in sampled]
    training = llm.training
    llm.eval()
    with torch.no_grad():
        thinks = [
            answer_loss(llm, passages, question, [question.candidates[c]], settings).item()
            if settings.teacher == "llm"
            else 1 - marked(question, [question.candidates[c]], passages, settings.teacher)[0]
            for c in sampled
        ]
    llm.train(training)
    if settings.teacher != "llm" and len(set(thinks)) == 1:
        return None
    thinks = [loss - known for loss, known in zip(thinks, prior, strict=True)]

    loss: Tensor | None = learns.reference(
        [(scaled if learns.SCALED else scores)[c] for c in sampled], thinks, **settings.target_options
    )
    return loss


def answer_loss(
    llm: nn.Module, passages: Passages, question: Question, rows: Sequence[int], settings: StepSettings
) -> Tensor:
    """Return the mean cross-entropy of the answer's tokens after "passages, question", from the whole [T, V] logits."""
    read = [passages.for_llm(row) for row in rows]
    return token_loss(llm, passages.prompter.prompt(question.prompt, read, settings.llm_answer_tokens), question.answer)


def token_loss(llm: nn.Module, prompt: list[int], answer: list[int]) -> Tensor:
    """Return the mean cross-entropy of the tokens that follow a prompt, from the whole [T, V] logits."""
    where = next(llm.parameters()).device
    ids = torch.tensor([prompt + answer], device=where)
    labels = torch.tensor([[-100] * len(prompt) + answer], device=where)
    logits = llm(input_ids=ids, use_cache=False).logits[0, :-1]
    return F.cross_entropy(logits, labels[0, 1:], ignore_index=-100)
