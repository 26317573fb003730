"""Next-token training of a language model on reading documents, from scratch or continued (the conventional road).

    documents, cut = tokenize_documents(tokenizer, records, max_tokens=512, context_weight=0.2)
    rows = pack(documents, 2048)                        # or the documents as they are, padded
    pretrain_llm(llm, rows, steps=steps_for(rows, batch, 0, epochs=1), ...)

A document may mark targets: the spans that carry full loss weight; the rest then weighs `context_weight`. Documents whose
answers are targets teach a small model to read in a minute, where plain text would take hours.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from jmlr.models.forward import causal, context_of, hidden_states, logits_of
from jmlr.models.parts import in_parts
from jmlr.models.sharded import finish, is_sharded, through, whole
from jmlr.models.tensors import pad_right
from jmlr.pretraining.muon import Muon
from jmlr.runtime import distributed, meter
from jmlr.runtime.devices import autocast, no_subnormals
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import Progress, say
from jmlr.runtime.seeds import seed_torch
from jmlr.runtime.signals import InterruptedTrainingError, StopSignal
from jmlr.training.budget import tokens_at_once
from jmlr.training.optimiser import learning_rate_factor, set_learning_rates
from jmlr.training.order import batch_at, share
from jmlr.training.state import load_state, save_state

FLOOR = 0.05
HEAD_GRAIN = 128  # tokens: the head computes multiples of it, so that its shapes come again (jmlr.models.parts)


@dataclass(frozen=True)
class Document:
    """Token ids (int32) and the loss weight of each (float32), as arrays of one length: 8 bytes a token."""

    ids: np.ndarray
    weights: np.ndarray


def tokenize_documents(
    tokenizer: Any, records: Iterable[dict[str, Any]], max_tokens: int, context_weight: float
) -> tuple[list[Document], int]:
    """Return the documents with their weights, and how many had to be cut to `max_tokens` (0: none); reads a stream of records."""
    documents: list[Document] = []
    cut, stream = 0, iter(records)
    bos = np.array([] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id], np.int32)
    eos = np.array([tokenizer.eos_token_id], np.int32)
    while chunk := list(itertools.islice(stream, 256)):
        encoded = tokenizer(
            [r["text"] for r in chunk],
            add_special_tokens=False,
            return_offsets_mapping=any(r["targets"] for r in chunk),
        )
        for i, record in enumerate(chunk):
            inner = np.array(encoded["input_ids"][i], np.int32)
            weights = np.ones(len(inner), np.float32)
            if record["targets"]:
                weights = _weights(record, encoded["offset_mapping"][i], context_weight)
            ids = np.concatenate([bos, inner, eos])
            weights = np.concatenate([np.zeros(len(bos), np.float32), weights, np.ones(1, np.float32)])
            most = max_tokens or len(ids)
            cut += len(ids) > most
            documents.append(Document(ids[:most].copy(), weights[:most].copy()))
    return documents, cut


def pack(documents: Sequence[Document], length: int) -> list[Document]:
    """Join documents in their order and cut the result into rows of `length` tokens; only the last row may be shorter.

    Each document begins and ends with its special tokens, and a row's tokens see all before them in the row, as is usual in
    pre-training (Brown et al. 2020, arXiv 2005.14165, section 2.2 and appendix B).
    """
    ids = np.concatenate([d.ids for d in documents]) if documents else np.zeros(0, np.int32)
    weights = np.concatenate([d.weights for d in documents]) if documents else np.zeros(0, np.float32)
    return [Document(ids[i : i + length], weights[i : i + length]) for i in range(0, len(ids), length)]


def steps_for(rows: Sequence[Document], batch: int, steps: int, *, epochs: float = 0.0, tokens: int = 0) -> int:
    """Return the number of steps: what `epochs` passes over the rows or a budget of `tokens` come to, else `steps`."""
    if epochs:
        return max(1, round(epochs * len(rows) / batch))
    if tokens and rows:
        return max(1, round(tokens * len(rows) / (batch * sum(len(r.ids) for r in rows))))
    return steps


def _weights(record: dict[str, Any], offsets: Sequence[tuple[int, int]], context_weight: float) -> np.ndarray:
    """Return 1 for tokens that touch a target, else `context_weight`, as float32; a token is the characters [begin, end)."""
    full = np.zeros(len(record["text"]) + 2, dtype=np.int32)
    for span in record["targets"]:
        full[1 + span["start"] : 1 + span["end"]] = 1
    before = np.cumsum(full)  # characters of targets before each place
    begins, ends = np.array(offsets, np.int64).reshape(-1, 2).T
    return np.where(before[ends] > before[begins], np.float32(1), np.float32(context_weight))


def optimisers(
    llm: nn.Module, learning_rate: float, matrix_learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Return AdamW, and Muon for the hidden matrices where `matrix_learning_rate` is above 0."""
    outside = {id(p) for m in (llm.get_input_embeddings(), llm.get_output_embeddings()) for p in m.parameters()}  # type: ignore[operator]
    matrices = [p for p in llm.parameters() if p.ndim == 2 and id(p) not in outside] if matrix_learning_rate else []
    inside = {id(p) for p in matrices}
    rest = [p for p in llm.parameters() if id(p) not in inside]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    ]
    if matrices:
        made.append(Muon(matrices, lr=matrix_learning_rate))
    for optimiser in made:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return made


def pretrain_llm(
    llm: nn.Module,
    documents: Sequence[Document],
    *,
    seed: int,
    steps: int,
    batch: int,
    learning_rate: float,
    matrix_learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    shuffle: bool,
    precision: Precision,
    checkpoint_min: float = 10.0,
    scratch: Path | None = None,
    key: str = "",
) -> dict[str, float]:
    """Train in place; return the mean loss on targets over the last tenth (nats per token).

    Where there is a `scratch`, the state is saved there every `checkpoint_min` minutes and on SIGTERM or Ctrl-C, and training goes
    on from it if it was made for the same `key`. Several ranks share every batch; the first saves, all read.

    Raises:
        InterruptedTrainingError: one of the signals came, to whichever rank.
        UserError: there are no documents, fewer in a batch than ranks, or the loss is NaN or infinite.
    """
    if not documents:
        raise UserError("pretrain: there are no documents; see prepare.documents")
    ranks, where = distributed.current(), next(llm.parameters()).device
    made = optimisers(llm, learning_rate, matrix_learning_rate, weight_decay)
    begin, tail = _resume(llm, made, batch, scratch, key)
    progress, saved = Progress("pretrain llm", steps, done=begin), time.monotonic()
    llm.train()
    with StopSignal() as stop, no_subnormals():
        for step in range(begin, steps):
            seed_torch(seed, "pretrain", step, *([ranks.rank] if ranks.rank else []))
            factor = learning_rate_factor(step, steps, warmup=warmup_steps, since=step, floor=FLOOR)
            rows = batch_at(documents, step, batch, seed if shuffle else None)
            loss, target_loss = one_step(llm, rows, made, factor, precision)
            if not math.isfinite(loss):
                raise UserError(
                    f"pretrain: the loss is {loss} at step {step + 1}; lower learning_rate or matrix_learning_rate"
                )
            progress.step(1, {"loss": loss, "target_loss": target_loss})
            if step >= int(steps * 0.9):
                tail.append(target_loss)
            if step + 1 == steps:
                break
            late = time.monotonic() - saved > 60 * checkpoint_min
            late, asked = distributed.any_rank(where, late, stop.asked)
            if scratch and (late or asked):
                if ranks.rank == 0 or is_sharded(llm):
                    save_state(scratch, step + 1, llm, None, made, {"key": key, "tail": tail, "spent": meter.spent()})
                saved = time.monotonic()
            if asked:
                distributed.wait_for_all()  # whoever leaves first must not take rank 0 down while it saves
                raise InterruptedTrainingError("pretrain", step + 1, scratch)
    llm.eval()
    return {"target_loss": float(np.mean(tail))}


def _resume(
    llm: nn.Module, made: Sequence[torch.optim.Optimizer], batch: int, scratch: Path | None, key: str
) -> tuple[int, list[float]]:
    """Load the newest state, if there is one, on every rank; return the step to go on from, and the losses of the tail so far."""
    if batch < distributed.current().size:
        raise UserError(f"pretrain: batch {batch} is less than the {distributed.current().size} ranks that share it")
    about = load_state(scratch, key, llm, None, made) if scratch else None
    begin, tail = (about["step"], about["tail"]) if about else (0, [])
    if about:
        meter.add_earlier(about["spent"])
        say(f"pretrain llm: goes on from step {begin}")
    distributed.same_everywhere(begin, "the step to go on from", f"is '{scratch}' on a file system that all nodes see?")
    return begin, tail


def one_step(
    llm: nn.Module, rows: Sequence[Document], made: Sequence[torch.optim.Optimizer], factor: float, precision: Precision
) -> tuple[float, float]:
    """Make one optimiser step at `factor` times the peak learning rates; return the loss, and that on targets.

    The loss is the weighted mean over the batch's tokens. Its gradient is added up over parts of alike length: little padding, and
    memory for a part alone; and over the ranks, each of which computes its share of the documents.
    """
    for optimiser in made:
        set_learning_rates(optimiser, factor)
    where = next(llm.parameters()).device
    weight = sum(float(d.weights[1:].sum(dtype=np.float64)) for d in rows)
    targets = sum(int((d.weights[1:] == 1).sum()) for d in rows)
    loss = target_loss = torch.zeros((), device=where)
    mine = share(list(rows), distributed.current())
    for part in in_parts([len(d.ids) for d in mine], tokens_at_once(where.type)):
        summed, on_targets = through(llm, loss_sums, [mine[i] for i in part], where, precision)
        (summed / weight).backward()
        loss, target_loss = loss + summed.detach(), target_loss + on_targets
    finish(llm)
    loss, target_loss = distributed.add_up(torch.stack([loss, target_loss]))
    distributed.add_up_gradients(llm.parameters())
    moved = [p for p in llm.parameters() if p.grad is not None]
    nn.utils.clip_grads_with_norm_(moved, 1.0, whole(nn.utils.get_total_norm([p.grad for p in moved])))  # type: ignore[misc]
    for optimiser in made:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return loss.item() / weight if weight else math.nan, target_loss.item() / max(targets, 1)


def loss_sums(
    llm: nn.Module, rows: Sequence[Document], where: torch.device, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the tokens' losses, and the sum over tokens of full weight; the head sees only weighted tokens."""
    ids = pad_right([d.ids.tolist() for d in rows], where, context_of(causal(llm).config))
    weights = torch.zeros(ids.shape)
    for i, d in enumerate(rows):
        weights[i, : len(d.weights)] = torch.from_numpy(d.weights)
    weights = weights[:, 1:].flatten()
    places = weights.nonzero()[:, 0]
    kept = weights[places]
    surplus = (0, -len(places) % HEAD_GRAIN)  # place 0 once more, with weight 0
    places, kept = F.pad(places, surplus).to(where), F.pad(kept, surplus).to(where)
    with autocast(where, precision):
        logits = logits_of(llm, hidden_states(llm, ids)[:, :-1].flatten(0, 1)[places])
    losses = F.cross_entropy(logits.float(), ids[:, 1:].flatten()[places], reduction="none")
    return (losses * kept).sum(), (losses.detach() * (kept == 1)).sum()
