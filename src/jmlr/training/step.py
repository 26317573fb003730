"""One joint training step, readable from top to bottom (docs/llm_rank.md; the paper's Algorithm).

    result = joint_step(llm, retriever, passages, batch, settings, seed, step, rank_due=True)
    (result.loss_lm + settings.rank_weight * result.loss_rank).backward()

Letters: B questions, C candidates, S sampled passages, K passages read, T tokens. The gradient of loss_lm reaches the LLM
only, that of loss_rank the retriever only. What makes it fast: texts are computed together, with others of their length
(`parts`); the head sees the answers' positions only; a passage of several questions is encoded once; only S + 2 candidates are
encoded with gradient; the LLM's graphs are freed part by part; and the host waits for results once, to choose passages (tables of
numbers are copied besides).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jmlr.inference.questions import Passages, Question, reading_of
from jmlr.losses import options_of, target
from jmlr.losses.llm_rank import agreement, sample, scale
from jmlr.models.forward import answer_losses
from jmlr.models.parts import computed_in_parts, in_parts
from jmlr.models.retriever import Retriever
from jmlr.models.sharded import through
from jmlr.models.tensors import at_least_float32
from jmlr.runtime.devices import autocast
from jmlr.runtime.precision import Precision
from jmlr.runtime.seeds import python_random, stream
from jmlr.training.teachers import taught, teacher_losses

Backward = Callable[[Tensor], None]
Figures = dict[str, tuple[Tensor, int]]  # name -> (sum over questions, how many), so that parts and ranks add up


@dataclass(frozen=True)
class StepSettings:
    """What of the configuration the step needs; fields as in `jmlr.options.TrainOptions`, `target_options`: those of its target alone."""

    target: str
    target_options: dict[str, float]
    teacher: str
    passages: int
    samples: int
    sampling: str
    sampling_temperature: float
    rank_weight: float
    prior_weight: float
    shuffle_losses: bool
    passage_order: str
    llm_answer_tokens: int
    forward_tokens: int
    train_precision: Precision

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> StepSettings:
        """Take what is needed out of a training's options, those for reading among them."""
        names = options_of(options["target"]) if options["target"] != "frozen" else []
        rest = {f.name: options[f.name] for f in fields(cls) if f.name != "target_options"}
        return cls(target_options={k: options[k] for k in names}, **rest)

    @property
    def computing(self) -> dict[str, Any]:
        """How `passage_losses` reads and computes."""
        return {
            "answer_tokens": self.llm_answer_tokens,
            "forward_tokens": self.forward_tokens,
            "precision": self.train_precision,
        }


@dataclass
class StepResult:
    """Losses, and figures for people."""

    loss_lm: Tensor
    loss_rank: Tensor | None
    figures: Figures


def joint_step(
    llm: nn.Module,
    retriever: Retriever | None,
    passages: Passages,
    batch: Sequence[Question],
    settings: StepSettings,
    seed: int,
    step: int,
    rank_due: bool,
    backward: Backward | None = None,
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
        rank_due: whether the retriever's loss is due in this step.
        backward: called with every part of loss_lm + rank_weight * loss_rank as soon as it is known; its graph is then freed, and the
            losses come back without one. None: they come back with their graphs.
    """
    figures: Figures = {}
    order, loss_rank = [list(q.candidates) for q in batch], None
    if retriever is not None:
        with torch.no_grad():
            scores, mask = score_candidates(retriever, passages, batch, settings)  # [B, C], on the host
        order = by_score(scores, mask, batch)
        if rank_due:
            loss_rank, seen = ranking_loss(
                llm, retriever, passages, batch, settings, scores=scores, mask=mask, seed=seed, step=step
            )
            figures |= seen
            if backward is not None:
                backward(settings.rank_weight * loss_rank)
                loss_rank = loss_rank.detach()
    best = [o[: settings.passages] for o in order]
    read = [arrange(b, settings.passage_order, seed, step, q.number) for b, q in zip(best, batch, strict=True)]
    readings = [
        reading_of(passages, q, b, r, settings.llm_answer_tokens) for q, b, r in zip(batch, best, read, strict=True)
    ]
    loss_lm = read_and_answer(llm, readings, settings, backward)
    graded = [o[0] in q.gold for o, q in zip(order, batch, strict=True) if o and q.gold]
    if graded:
        figures["hit"] = torch.tensor(float(sum(graded))), len(graded)
    return StepResult(loss_lm, loss_rank, figures)


def ranking_loss(
    llm: nn.Module,
    retriever: Retriever,
    passages: Passages,
    batch: Sequence[Question],
    settings: StepSettings,
    *,
    scores: Tensor,
    mask: Tensor,
    seed: int,
    step: int,
) -> tuple[Tensor, Figures]:
    """Return the retriever's loss of a batch, and figures for people: sample, read, compare (docs/llm_rank.md, steps 3 to 6).

    Args:
        scores: [B, C] of the candidates, without gradient, on the host.
        mask: bool [B, C], on the host.
        seed: of the run, and
        step: number of the optimiser step: what the sampling draws from.
    """
    drawn = noise(batch, settings, seed, step)  # [B, C]
    columns, picked = sample(scale(scores, mask), settings.samples, settings.sampling_temperature, drawn, mask)
    losses = teacher_losses(
        settings.teacher, llm, passages, batch, columns, **settings.computing
    )  # [B, S], without gradient
    if settings.shuffle_losses:
        losses = shuffled(losses, picked, batch, seed, step)
    where = losses.device
    raw, scaled = score_again(  # with gradient
        retriever, passages, batch, settings, scores=scores, mask=mask, columns=columns, picked=picked
    )
    trusted = losses - settings.prior_weight * index_scores(batch, columns, picked).to(losses)
    # All scores of a question equal: no scale, no signal.
    apart = (scores.masked_fill(~mask, float("-inf")).amax(1) > scores.masked_fill(~mask, float("inf")).amin(1))[
        :, None
    ]
    there = picked.to(where, non_blocking=True)
    learns = target(settings.target)
    counted = (picked & apart).to(where, non_blocking=True) if learns.SCALED else there
    n = len(batch)
    figures: Figures = {
        "agreement": (agreement(scores.gather(1, columns).to(where), losses, there) * n, n),
        "score_spread": (spread(scores, mask) * n, n),
        "loss_spread": (spread(losses, there) * n, n),
        "passage_loss": ((losses * there).sum(), int(picked.sum())),
    }
    said = taught(losses, there, settings.teacher)
    if not len(said):
        return (raw.masked_fill(~there, 0) * 0).sum(), figures
    loss = getattr(learns, settings.target)(
        (scaled if learns.SCALED else raw)[said], trusted[said], counted[said], **settings.target_options
    )
    return loss * (len(said) / n), figures


def score_candidates(
    retriever: Retriever, passages: Passages, batch: Sequence[Question], settings: StepSettings
) -> tuple[Tensor, Tensor]:
    """Return the scores [B, C] of all candidates and their mask, on the host: passages are chosen there (docs/llm_rank.md, step 2)."""
    most = max(len(q.candidates) for q in batch)
    columns = torch.arange(most).expand(len(batch), most)
    counts = torch.tensor([len(q.candidates) for q in batch])
    mask = columns < counts[:, None]
    return score_columns(retriever, passages, batch, torch.where(mask, columns, 0), settings).cpu(), mask


def score_columns(
    retriever: Retriever, passages: Passages, batch: Sequence[Question], columns: Tensor, settings: StepSettings
) -> Tensor:
    """Return the scores [B, n] of the candidates numbered `columns` [B, n]; a passage that several places hold is encoded once."""
    chosen = [[q.candidates[c] for c in cs] for q, cs in zip(batch, columns.tolist(), strict=True)]
    rows = sorted({row for held in chosen for row in held})
    place = {row: i for i, row in enumerate(rows)}
    places = torch.tensor([[place[row] for row in held] for held in chosen])
    queries = encode(retriever, [q.query for q in batch], settings, "query")
    kept = passages.kept
    texts = [] if kept else [passages.for_retriever(r) for r in rows]
    encoded = kept.take(rows, queries) if kept else encode(retriever, texts, settings)
    return retriever.interact(queries, encoded, places.to(queries.device, non_blocking=True))


def encode(
    retriever: Retriever, texts: Sequence[Sequence[int]], settings: StepSettings, side: str = "passage"
) -> Tensor:
    """Return the vectors [n, D] of texts (of their tokens [n, T, D]), at least float32, computed with others of their length."""
    where = next(retriever.parameters()).device
    lengths = [len(t) for t in texts]

    def compute(part: list[int]) -> Tensor:
        with autocast(where, settings.train_precision):
            return at_least_float32(retriever.encode([texts[i] for i in part], side, max(lengths)))

    return computed_in_parts(compute, lengths, settings.forward_tokens, where)


def score_again(
    retriever: Retriever,
    passages: Passages,
    batch: Sequence[Question],
    settings: StepSettings,
    *,
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
    raw = score_columns(retriever, passages, batch, torch.where(present, needed, low), settings)
    return raw[:, :-2], scale(raw, present.to(raw.device, non_blocking=True))[:, :-2]


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
    """Return the scores float64 [B, S] that the round's index gave to the sampled candidates; masked places get 0.

    They are what the retriever knew before: taken off the losses, they are a prior. Targets then weigh both: with pdist,
    softmax((prior_weight * s0 - L) / target_temperature); LLM-Rank orders by L - prior_weight * s0.
    """
    rows = zip(batch, columns.tolist(), picked.tolist(), strict=True)
    known = [[q.scores[c] if p else 0.0 for c, p in zip(cs, ps, strict=True)] for q, cs, ps in rows]
    return torch.tensor(known, dtype=torch.float64)


def by_score(scores: Tensor, mask: Tensor, batch: Sequence[Question]) -> list[list[int]]:
    """Return each question's candidates in descending order of score; equal scores keep the order of the index."""
    columns = scores.masked_fill(~mask, float("-inf")).argsort(dim=1, descending=True, stable=True).tolist()
    return [[q.candidates[c] for c in cs if c < len(q.candidates)] for q, cs in zip(batch, columns, strict=True)]


def noise(batch: Sequence[Question], settings: StepSettings, seed: int, step: int) -> Tensor:
    """Return noise [B, C] in (0, 1) that depends on the seed, the step and the question only; 0.5 where the best are taken."""
    width = max(len(q.candidates) for q in batch)
    if settings.sampling != "softmax":
        return torch.full((len(batch), width), 0.5)
    rows = [np.random.default_rng(stream(seed, "sample", step, q.number)).random(width) for q in batch]
    return torch.from_numpy(np.stack(rows)).float()


def arrange(rows: list[int], order: str, seed: int, step: int, number: int) -> list[int]:
    """Put the K best passages (best first) in the order of the prompt: by default the best stands last, next to the question."""
    if order == "best_last":
        return rows[::-1]
    if order == "shuffled":
        return python_random(seed, "order", step, number).sample(rows, len(rows))
    return rows


def read_and_answer(
    llm: nn.Module, readings: Sequence[tuple[list[int], list[int]]], settings: StepSettings, backward: Backward | None
) -> Tensor:
    """Return the mean loss of answers, each behind its question with K passages, with gradient to the LLM (docs/llm_rank.md, step 7).

    readings: for each question the tokens of its prompt and of its answer.
    """
    where = next(llm.parameters()).device
    total = torch.zeros((), device=where)
    for part in in_parts([len(prompt) + len(answer) for prompt, answer in readings], settings.forward_tokens):
        with autocast(where, settings.train_precision):
            losses = through(llm, answer_losses, *zip(*(readings[i] for i in part), strict=True))
        loss = losses.sum() / len(readings)
        if backward is not None:
            backward(loss)
            loss = loss.detach()
        total = total + loss
    return total
