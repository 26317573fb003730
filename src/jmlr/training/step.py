"""One joint training step, readable from top to bottom (METHOD section 3; the paper's Algorithm).

    result = joint_step(llm, retriever, passages, batch, settings, noise, rank=True)
    (result.loss_lm + settings.rank_weight * result.loss_rank).backward()

Letters: B questions, C candidates, S judged passages, K passages read, T tokens. The gradient of loss_lm reaches the LLM
only, that of loss_rank the retriever only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jmlr.losses.emdr2 import emdr2
from jmlr.losses.llm_rank import agreement, llm_rank, sample, scale
from jmlr.losses.pdist import pdist
from jmlr.models.llm import answer_losses
from jmlr.models.retriever import Retriever
from jmlr.runtime.seeds import python_random, stream
from jmlr.training.data import Passages, Question


@dataclass(frozen=True)
class StepSettings:
    """What of the configuration the step needs; fields as in `jmlr.options.TrainOptions`."""

    target: str
    passages: int
    samples: int
    sampling: str
    sampling_temperature: float
    target_temperature: float
    score_temperature: float
    prior_weight: float
    shuffle_losses: bool
    passage_order: str
    llm_answer_tokens: int


@dataclass
class StepResult:
    """Losses with gradient, and figures for people."""

    loss_lm: Tensor
    loss_rank: Tensor | None
    figures: dict[str, Tensor]


def joint_step(
    llm: nn.Module,
    retriever: Retriever | None,
    passages: Passages,
    batch: Sequence[Question],
    settings: StepSettings,
    seed: int,
    step: int,
    rank: bool,
) -> StepResult:
    """Compute both losses of a batch, each the mean over its questions.

    Args:
        llm: the language model with its adapter.
        retriever: the retriever in training; None where it is frozen: the order of the candidates then stands.
        passages: token ids by row.
        batch: B questions with candidates.
        settings: see StepSettings.
        seed: of the run; with `step` and the question's number it fixes every draw, however the batch is split.
        step: number of the optimiser step.
        rank: whether the retriever's loss is due in this step.
    """
    figures: dict[str, Tensor] = {}
    order, loss_rank = [list(q.candidates) for q in batch], None
    if retriever is not None:
        with torch.no_grad():
            scores, mask = score_candidates(retriever, passages, batch)  # [B, C]
        order = by_score(scores, mask, batch)
        if rank:
            noise = (
                uniform_noise(batch, scores.shape[1], seed, step)
                if settings.sampling == "softmax"
                else torch.full(scores.shape, 0.5)
            )
            scaled = scale(scores, mask)
            columns, picked = sample(
                scaled, settings.samples, settings.sampling_temperature, noise.to(scores.device), mask
            )
            losses = judge(
                llm, passages, batch, columns, picked, settings.llm_answer_tokens
            )  # [B, S], without gradient
            if settings.shuffle_losses:
                losses = shuffled(losses, picked, batch, seed, step)
            learned = score_again(retriever, passages, batch, scores, mask, columns, picked)  # [B, S], with gradient
            trusted = losses - settings.prior_weight * index_scores(batch, columns, picked).to(losses)
            loss_rank = rank_loss(settings, *learned, trusted, picked)
            figures["agreement"] = agreement(scores.gather(1, columns), losses, picked)
            figures["score_spread"] = spread(scores, mask)
            figures["loss_spread"] = spread(losses, picked)
            figures["judged"] = (losses * picked).sum() / picked.sum()
    read = [
        arrange(o[: settings.passages], settings.passage_order, seed, step, q.number)
        for o, q in zip(order, batch, strict=True)
    ]
    loss_lm = read_and_answer(llm, passages, batch, read, settings.llm_answer_tokens).mean()
    graded = [o[0] in q.gold for o, q in zip(order, batch, strict=True) if o and q.gold]
    if graded:
        figures["hit"] = torch.tensor(graded, dtype=torch.float32).mean()
    return StepResult(loss_lm, loss_rank, figures)


def score_candidates(retriever: Retriever, passages: Passages, batch: Sequence[Question]) -> tuple[Tensor, Tensor]:
    """Return the scores [B, C] of all candidates and their mask (METHOD 3.2)."""
    most = max(len(q.candidates) for q in batch)
    columns = torch.arange(most).expand(len(batch), most)
    counts = torch.tensor([len(q.candidates) for q in batch])
    mask = columns < counts[:, None]
    scores = score_columns(retriever, passages, batch, torch.where(mask, columns, 0))
    return scores, mask.to(scores.device)


def score_columns(retriever: Retriever, passages: Passages, batch: Sequence[Question], columns: Tensor) -> Tensor:
    """Return the scores [B, n] of the candidates numbered `columns` [B, n]; a passage that several places hold is encoded once."""
    chosen = [[q.candidates[c] for c in cs] for q, cs in zip(batch, columns.tolist(), strict=True)]
    rows = sorted({row for held in chosen for row in held})
    place = {row: i for i, row in enumerate(rows)}
    places = torch.tensor([[place[row] for row in held] for held in chosen])
    if passages.kept is None:
        return retriever.scores([q.query for q in batch], [passages.for_retriever(r) for r in rows], places)
    encoder: Any = retriever  # what it encodes to depends on its kind, dense or ColBERT
    queries = encoder.encode([q.query for q in batch], "query")
    with torch.autocast(next(retriever.parameters()).device.type, enabled=False):  # bfloat16 scores would tie too often
        return encoder.interact(queries, passages.kept.take(rows, queries), places)


def score_again(
    retriever: Retriever,
    passages: Passages,
    batch: Sequence[Question],
    scores: Tensor,
    mask: Tensor,
    columns: Tensor,
    picked: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return (raw, scaled) scores [B, S] of the sampled candidates, with gradient.

    Of all C candidates only the sampled ones and the two that set the scale, the lowest and the highest, carry any: these S + 2
    are encoded again, and C - S - 2 backward passes are saved.
    """
    low = scores.masked_fill(~mask, float("inf")).argmin(1, keepdim=True)
    high = scores.masked_fill(~mask, float("-inf")).argmax(1, keepdim=True)
    needed = torch.cat([columns, low, high], 1)
    present = torch.cat([picked, torch.ones_like(low, dtype=torch.bool), torch.ones_like(low, dtype=torch.bool)], 1)
    raw = score_columns(retriever, passages, batch, torch.where(present, needed, low))
    return raw[:, :-2], scale(raw, present)[:, :-2]


def shuffled(losses: Tensor, picked: Tensor, batch: Sequence[Question], seed: int, step: int) -> Tensor:
    """Return the losses [B, S] of each question in another order: a control that keeps their values and says nothing of passages."""
    rows = losses.tolist()
    for row, present, q in zip(rows, picked.tolist(), batch, strict=True):
        places = [s for s, p in enumerate(present) if p]
        values = [row[s] for s in places]
        python_random(seed, "control", step, q.number).shuffle(values)
        for s, value in zip(places, values, strict=True):
            row[s] = value
    return torch.tensor(rows, dtype=losses.dtype, device=losses.device)


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over questions of highest less lowest value: values [B, n], mask bool [B, n]."""
    high = values.masked_fill(~mask, float("-inf")).amax(1)
    return (high - values.masked_fill(~mask, float("inf")).amin(1)).mean()


def index_scores(batch: Sequence[Question], columns: Tensor, picked: Tensor) -> Tensor:
    """Return the scores [B, S] that the round's index gave to the sampled candidates; masked places get 0.

    They are what the retriever knew before: taken off the losses, they are a prior. Targets then weigh both: with pdist,
    softmax((prior_weight * s0 - L) / target_temperature); LLM-Rank orders by L - prior_weight * s0.
    """
    rows = zip(batch, columns.tolist(), picked.tolist(), strict=True)
    return torch.tensor([[q.scores[c] if p else 0.0 for c, p in zip(cs, ps, strict=True)] for q, cs, ps in rows])


def by_score(scores: Tensor, mask: Tensor, batch: Sequence[Question]) -> list[list[int]]:
    """Return each question's candidates in descending order of score; equal scores keep the order of the index."""
    columns = scores.masked_fill(~mask, float("-inf")).argsort(dim=1, descending=True, stable=True).tolist()
    return [[q.candidates[c] for c in cs if c < len(q.candidates)] for q, cs in zip(batch, columns, strict=True)]


def uniform_noise(batch: Sequence[Question], width: int, seed: int, step: int) -> Tensor:
    """Return noise [B, C] in (0, 1) that depends on the seed, the step and the question only."""
    rows = [np.random.default_rng(stream(seed, "sample", step, q.number)).random(width) for q in batch]
    return torch.from_numpy(np.stack(rows)).float()


@torch.no_grad()
def judge(
    llm: nn.Module, passages: Passages, batch: Sequence[Question], columns: Tensor, picked: Tensor, room: int
) -> Tensor:
    """Return the LLM's loss of each question's answer given one passage at a time: [B, S] (METHOD 3.5).

    Judged without dropout: a loss measures the passage, not the mask. Masked places get 0.
    """
    training = llm.training
    llm.eval()
    jobs = [
        (b, s, q.candidates[c])
        for b, (q, cs) in enumerate(zip(batch, columns.tolist(), strict=True))
        for s, c in enumerate(cs)
        if c < len(q.candidates)
    ]
    prompts = [passages.prompter.prompt(batch[b].prompt, [passages.for_llm(row)], room) for b, _, row in jobs]
    values = answer_losses(llm, prompts, [batch[b].answer for b, _, _ in jobs])
    losses = torch.zeros(picked.shape, device=values.device, dtype=values.dtype)
    losses[[b for b, _, _ in jobs], [s for _, s, _ in jobs]] = values
    llm.train(training)
    return losses


def rank_loss(settings: StepSettings, scores: Tensor, scaled: Tensor, losses: Tensor, mask: Tensor) -> Tensor:
    """Return the retriever's loss under the chosen target (METHOD 3.6 and section 6)."""
    if settings.target == "llm_rank":
        return llm_rank(scaled, losses, mask)
    if settings.target == "pdist":
        return pdist(
            scores,
            losses,
            mask,
            target_temperature=settings.target_temperature,
            score_temperature=settings.score_temperature,
        )
    if settings.target == "emdr2":
        return emdr2(scores, losses, mask, score_temperature=settings.score_temperature)
    raise ValueError(f"target '{settings.target}' trains no retriever")


def arrange(rows: list[int], order: str, seed: int, step: int, number: int) -> list[int]:
    """Put the K best passages (best first) in the order of the prompt: by default the best stands last, next to the question."""
    if order == "best_last":
        return rows[::-1]
    if order == "shuffled":
        return python_random(seed, "order", step, number).sample(rows, len(rows))
    return rows


def read_and_answer(
    llm: nn.Module, passages: Passages, batch: Sequence[Question], read: Sequence[Sequence[int]], room: int
) -> Tensor:
    """Return the loss of each question's answer given its K passages: [B], with gradient to the LLM (METHOD 3.7)."""
    prompts = [
        passages.prompter.prompt(q.prompt, [passages.for_llm(r) for r in rows], room)
        for q, rows in zip(batch, read, strict=True)
    ]
    return answer_losses(llm, prompts, [q.answer for q in batch])
