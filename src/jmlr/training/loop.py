"""The loop around the joint step: learning rates, accumulation, clipping, figures, saves, signals."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jmlr.models.retriever import Retriever
from jmlr.runtime.devices import autocast
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import Progress, say
from jmlr.runtime.seeds import seed_torch
from jmlr.training.data import Passages, Question, batch_at
from jmlr.training.optimiser import learning_rate_factor, set_learning_rates
from jmlr.training.state import load_state, save_state
from jmlr.training.step import StepSettings, joint_step
from jmlr.training.watch import Watch


class InterruptedTrainingError(UserError):
    """Training was asked to stop; its state is saved, and the same command goes on from it."""


@dataclass(frozen=True)
class LoopSettings:
    """What of the configuration the loop needs; fields as in `jmlr.options.TrainOptions`, steps as absolute numbers."""

    first_step: int
    last_step: int
    total_steps: int
    batch: int
    micro_batch: int
    warmup_steps: int
    rank_weight: float
    rank_after_steps: int
    llm_clip_norm: float
    retriever_clip_norm: float
    train_bf16: bool
    checkpoint_min: float


def train_loop(
    llm: nn.Module,
    retriever: Retriever | None,
    passages: Passages,
    questions: Sequence[Question],
    optimiser: torch.optim.Optimizer,
    step_settings: StepSettings,
    settings: LoopSettings,
    *,
    seed: int,
    scratch: Path,
    key: str,
    name: str,
) -> list[dict[str, Any]]:
    """Train from `first_step` to `last_step` and return one record of figures per step.

    Raises:
        InterruptedTrainingError: SIGTERM or SIGUSR1 came; the state is in `scratch`.
        UserError: a loss became NaN or infinite; the last good state stays in `scratch`.
    """
    about = load_state(scratch, key, llm, retriever, optimiser)
    begin, history = (about["step"], about["history"]) if about else (settings.first_step, [])
    if about:
        say(f"{name}: goes on from step {begin}")
    progress = Progress(name, settings.last_step - settings.first_step, done=begin - settings.first_step)
    stop = _StopSignal()
    saved = time.monotonic()
    watch = Watch(name)
    llm.train()
    with stop:
        for step in range(begin, settings.last_step):
            factor = learning_rate_factor(
                step, settings.total_steps, warmup=settings.warmup_steps, since=step - settings.first_step
            )
            set_learning_rates(optimiser, factor)
            figures = one_step(llm, retriever, passages, questions, optimiser, step_settings, settings, seed, step)
            history.append({"step": step + 1, **figures, "llm_learning_rate": optimiser.param_groups[0]["lr"]})
            watch.look(figures)
            progress.step(1, {k: v for k, v in figures.items() if v is not None and k in SHOWN})
            late = time.monotonic() - saved > 60 * settings.checkpoint_min
            if (late or stop.asked) and step + 1 < settings.last_step:
                save_state(scratch, step + 1, llm, retriever, optimiser, {"key": key, "history": history})
                saved = time.monotonic()
                if stop.asked:
                    raise InterruptedTrainingError(
                        f"{name}: stopped at step {step + 1} by a signal; the state is saved in {scratch}"
                    )
    watch.cut(passages.prompter.cut)
    return history


SHOWN = ("loss_lm", "loss_rank", "agreement", "hit")


def one_step(
    llm: nn.Module,
    retriever: Retriever | None,
    passages: Passages,
    questions: Sequence[Question],
    optimiser: torch.optim.Optimizer,
    step_settings: StepSettings,
    settings: LoopSettings,
    seed: int,
    step: int,
) -> dict[str, float | None]:
    """Make one optimiser step over a batch, in micro-batches if asked, and return its figures."""
    began = time.perf_counter()
    batch = batch_at(questions, step, settings.batch, seed)
    size = settings.micro_batch or len(batch)
    rank = retriever is not None and step >= settings.rank_after_steps
    sums: dict[str, torch.Tensor] = {}
    where = next(llm.parameters()).device
    seed_torch(seed, "dropout", step)
    for i in range(0, len(batch), size):
        part = batch[i : i + size]
        with autocast(where, settings.train_bf16):
            result = joint_step(llm, retriever, passages, part, step_settings, seed, step, rank)
        loss = result.loss_lm if result.loss_rank is None else result.loss_lm + settings.rank_weight * result.loss_rank
        (loss * (len(part) / len(batch))).backward()
        shown = {
            "loss_lm": result.loss_lm,
            **({} if result.loss_rank is None else {"loss_rank": result.loss_rank}),
            **result.figures,
        }
        for k, v in shown.items():
            sums[k] = sums.get(k, torch.zeros(())) + v.detach().float().cpu() * (len(part) / len(batch))
    values = {k: float(v) for k, v in sums.items()}
    for k in ("loss_lm", "loss_rank"):
        if k in values and not torch.isfinite(sums[k]):
            raise UserError(
                f"train: {k} is {values[k]} at step {step + 1}; lower llm_learning_rate or retriever_learning_rate"
            )
    for model, most in ((llm, settings.llm_clip_norm), (retriever, settings.retriever_clip_norm)):
        if model is not None and most:
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], most)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    known: dict[str, float | None] = {"loss_lm": None, "loss_rank": None, "agreement": None, "hit": None}
    return {**known, **values, "questions_per_s": round(len(batch) / (time.perf_counter() - began), 3)}


def write_history(history: Sequence[dict[str, Any]], path: Path, round: int) -> None:
    """Write one JSON object per step."""
    path.write_text("".join(json.dumps({"round": round, **record}) + "\n" for record in history))


class _StopSignal:
    """Remembers SIGTERM and SIGUSR1 (SLURM's signal before the wall time) instead of dying in the middle of a step."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._before[number] = signal.signal(number, self._remember)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, *_: object) -> None:
        self.asked = True
