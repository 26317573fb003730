"""The loop around the joint step: learning rates, accumulation, ranks, clipping, figures, saves, signals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.models.sharded import finish, is_sharded, whole
from jmlr.options import TrainOptions
from jmlr.runtime import distributed, meter
from jmlr.runtime.devices import no_subnormals
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import Progress, say
from jmlr.runtime.seeds import seed_torch
from jmlr.runtime.signals import InterruptedTrainingError, StopSignal
from jmlr.training.boards import Boards
from jmlr.training.budget import steps_in_all, warmup_steps
from jmlr.training.optimiser import learning_rate_factor, set_learning_rates
from jmlr.training.order import batch_at, share
from jmlr.training.session import Session
from jmlr.training.state import load_state, save_state
from jmlr.training.step import joint_step
from jmlr.training.tally import Tally
from jmlr.training.watch import Watch

SHOWN = ("loss_lm", "loss_rank", "agreement", "hit", "questions_per_s")


class NotFiniteError(UserError):
    """A loss or a gradient is NaN or infinite; the step that would have used it was not made."""


@dataclass(frozen=True)
class Schedule:
    """The optimiser steps of one round: from `first` to before `last`, of `total` in all rounds; `warmup` begin the round."""

    first: int
    last: int
    total: int
    warmup: int

    @classmethod
    def of(cls, session: Session, number: int, rounds: int) -> Schedule:
        """Return a round's share of all steps; rounds count from 1."""
        total = steps_in_all(session.options, questions=len(session.questions), rounds=rounds)
        first, last = total * (number - 1) // rounds, total * number // rounds
        return cls(first, last, total, warmup_steps(session.options, steps=last - first))


def train_round(
    session: Session, number: int, rounds: int, *, scratch: Path, key: str, name: str
) -> list[dict[str, Any]]:
    """Train one round, on one learning-rate schedule over all rounds; return one record of figures per step.

    Args:
        session: what is trained, on what, and how.
        number: of the round, from 1.
        rounds: how many share the steps.
        scratch: where the state is saved, and looked for.
        key: digest of all that the training depends on; a state of another key is not taken.
        name: in messages.

    Raises:
        InterruptedTrainingError: one of `jmlr.runtime.signals` came; the state is in `scratch`.
        UserError: a loss or a gradient became NaN or infinite; the state before that step is in `scratch`.
    """
    steps, options = Schedule.of(session, number, rounds), session.options
    begin, history = _resume(session, steps.first, scratch, key, name)
    progress, watch = (
        Progress(name, steps.last - steps.first, done=begin - steps.first),
        Watch(name, steps.last - steps.first),
    )
    for record in history:
        watch.look(record)
    saved = time.monotonic()
    session.llm.train()
    boards = Boards(scratch, wandb=options.wandb, mlflow=options.mlflow, name=name)
    with boards, StopSignal() as stop, ReadAhead(session) as ahead, no_subnormals():
        for step in range(begin, steps.last):
            began = time.perf_counter()
            factor = learning_rate_factor(
                step, steps.total, warmup=steps.warmup, since=step - steps.first, floor=options.learning_rate_end
            )
            set_learning_rates(session.optimiser, factor)
            ahead.ready(step, steps.last)
            try:
                figures, stopping = one_step(session, step, stop)
            except NotFiniteError:
                _save(session, scratch, step, key, history)
                distributed.wait_for_all()
                raise
            figures["questions_per_s"] = round(options.batch / (time.perf_counter() - began), 3)
            history.append({"step": step + 1, **figures, "llm_learning_rate": session.optimiser.param_groups[0]["lr"]})
            watch.look(figures)
            if step == begin:
                watch.cut(session.passages.prompter, "so far")
            boards.write(step + 1, figures)
            progress.step(1, {k: v for k in SHOWN if (v := figures[k]) is not None})
            late = time.monotonic() - saved > 60 * options.checkpoint_min
            if is_sharded(session.llm):  # all save, so all must be late together
                (late,) = distributed.any_rank(next(session.llm.parameters()).device, late)
            if (late or stopping) and step + 1 < steps.last:
                _save(session, scratch, step + 1, key, history)
                saved = time.monotonic()
                if stopping:
                    distributed.wait_for_all()  # whoever leaves first must not take rank 0 down while it saves
                    raise InterruptedTrainingError(name, step + 1, scratch)
    watch.cut(session.passages.prompter, "in all")
    return history


def one_step(session: Session, step: int, stop: StopSignal) -> tuple[dict[str, float | None], bool]:
    """Make one optimiser step over a batch, shared among ranks, in micro-batches if asked; return its figures, and whether to stop."""
    llm, retriever, options, seed = session.llm, session.retriever, session.options, session.seed
    batch, settings = batch_at(session.questions, step, options.batch, seed), session.step_settings
    mine = share(batch, distributed.current())
    size = options.micro_batch or len(mine)
    rank_due = retriever is not None and step >= options.rank_after_steps
    tally = Tally(next(llm.parameters()).device)
    seed_torch(seed, "dropout", step, distributed.current().rank)
    for i in range(0, len(mine), size):
        part = mine[i : i + size]
        if session.live is not None:
            part = session.live.renew(part, settings)
        result = joint_step(
            llm, retriever, session.passages, part, settings, seed, step, rank_due,
            backward=_backward(len(part) / len(batch)),
        )  # fmt: skip
        losses = {"loss_lm": result.loss_lm, "loss_rank": result.loss_rank}
        tally.add({k: (v * len(part), len(part)) for k, v in losses.items() if v is not None})
        tally.add(result.figures)
    finish(llm)
    trained = {"llm": llm, **({"retriever": retriever} if retriever is not None else {})}
    norms = {f"{name}_gradient_norm": norm for name, norm in gather_and_clip(trained, options).items()}
    values, stopping = tally.read(norms, stop.asked)
    _check_finite(values, step)
    session.optimiser.step()
    session.optimiser.zero_grad(set_to_none=True)
    known: dict[str, float | None] = {"loss_lm": None, "loss_rank": None, "agreement": None, "hit": None}
    return {**known, **values}, stopping


def gather_and_clip(models: dict[str, nn.Module], options: TrainOptions) -> dict[str, Tensor]:
    """Add up the gradients of models over the ranks, clip them to their norms (0: not at all), and return the norms before."""
    norms, moved = {}, {}
    for name, model in models.items():
        distributed.add_up_gradients(model.parameters())
        moved[name] = [p for p in model.parameters() if p.grad is not None]
        gradients = [p.grad for p in moved[name] if p.grad is not None]
        none = torch.zeros((), device=next(model.parameters()).device)
        norms[name] = whole(nn.utils.get_total_norm(gradients)) if gradients else none
    for name, parameters in moved.items():
        most = options.llm_clip_norm if name == "llm" or options.clip_together else options.retriever_clip_norm
        norm = torch.stack(list(norms.values())).norm() if options.clip_together else norms[name]
        nn.utils.clip_grads_with_norm_(parameters, most or math.inf, norm)
    return norms


def _backward(weight: float) -> Callable[[Tensor], None]:
    def backward(loss: Tensor) -> None:
        (loss * weight).backward()

    return backward


def _check_finite(values: dict[str, float], step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            rate = (
                "llm_learning_rate"
                if name in ("loss_lm", "passage_loss", "llm_gradient_norm")
                else "retriever_learning_rate"
            )
            raise NotFiniteError(
                f"train: {name} is {value} at step {step + 1}; nothing was changed by this step, and the state before it is saved; "
                f"lower {rate}"
            )


def _resume(session: Session, first: int, scratch: Path, key: str, name: str) -> tuple[int, list[dict[str, Any]]]:
    """Load the newest state, if there is one, on every rank; return the step to go on from and the figures so far."""
    if session.options.batch < distributed.current().size:
        raise UserError(
            f"batch {session.options.batch} is less than the {distributed.current().size} ranks that share it"
        )
    about = load_state(scratch, key, session.llm, session.retriever, [session.optimiser])
    begin, history = (about["step"], about["history"]) if about else (first, [])
    meter.add_earlier(about["spent"] if about else {})
    hint = f"is '{scratch}' on a file system that all nodes see?"
    distributed.same_everywhere(begin, "the step to go on from", hint)
    if about:
        say(f"{name}: goes on from step {begin}")
    return begin, history


def _save(session: Session, scratch: Path, step: int, key: str, history: list[dict[str, Any]]) -> None:
    if distributed.current().rank == 0 or is_sharded(session.llm):
        about = {"key": key, "history": history, "spent": meter.spent()}
        save_state(scratch, step, session.llm, session.retriever, [session.optimiser], about)


class ReadAhead:
    """Tokenises the candidates of the next step in a thread while the device computes this one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pool = ThreadPoolExecutor(1)
        self._waiting: Any = None

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def ready(self, step: int, last: int) -> None:
        """Wait until the passages of a step are tokenised, and begin with those of the next."""
        if self._session.live is not None:  # which they will be, only the search of the step can tell
            return
        if self._waiting is None:
            self._waiting = self._pool.submit(self._read, step)
        self._waiting.result()
        if step + 1 < last:
            self._waiting = self._pool.submit(self._read, step + 1)

    def _read(self, step: int) -> None:
        batch = batch_at(self._session.questions, step, self._session.options.batch, self._session.seed)
        mine = share(batch, distributed.current())
        self._session.passages.read_ahead(row for q in mine for row in q.candidates)
