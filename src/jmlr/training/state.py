"""The state of a training on disk: saved whole or not at all, safetensors and JSON only.

    scratch/.../step-00000120/state.safetensors   trainable parameters of the LLM and the retriever, moments of the optimisers
    scratch/.../step-00000120/state.json          the step, the digest of what is trained, the metrics so far

Draws depend on (seed, step, question or rank) alone (runtime.seeds), so no generator of any rank has to be saved, the position in the
data is the step, and a resumed run equals a straight one. Rank 0 writes, every rank reads;
of a sharded model rank 0 writes what all put together, tensor by tensor, so a state does not know how many saved it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from jmlr.models.sharded import part_like, whole
from jmlr.runtime.distributed import current
from jmlr.runtime.files import fresh_directory
from jmlr.runtime.progress import say

STATE_FILES = ("state.safetensors", "state.json")
PIECE_BYTES = 4 << 30  # a larger state goes on in state-1.safetensors ..., so that the host never holds all of it


def trainable_state(llm: nn.Module, retriever: nn.Module | None) -> dict[str, torch.Tensor]:
    """Return all trainable tensors by model and name."""
    models = {"llm": llm, "retriever": retriever}
    return {
        f"{owner}/{n}": p
        for owner, m in models.items()
        if m is not None
        for n, p in m.named_parameters()
        if p.requires_grad
    }


def save_state(
    scratch: Path,
    step: int,
    llm: nn.Module,
    retriever: nn.Module | None,
    optimisers: Sequence[torch.optim.Optimizer],
    about: dict[str, Any],
) -> None:
    """Save the state after `step` steps and drop older ones: the first rank alone, or all of them where the LLM is sharded."""
    first = current().rank == 0
    target = scratch / f"step-{step:08d}"
    with fresh_directory(target, _files) if first else nullcontext(target) as folder:
        for number, piece in enumerate(_pieces(_tensors(llm, retriever, optimisers), kept=first)):
            if first:
                save_file(piece, folder / (f"state-{number}.safetensors" if number else STATE_FILES[0]))
        if first:
            (folder / STATE_FILES[1]).write_text(json.dumps({"step": step, **about}))
    for old in _states(scratch) if first else []:
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def load_state(
    scratch: Path, key: str, llm: nn.Module, retriever: nn.Module | None, optimisers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Load the newest state made for the same training (`key`) into models and optimisers; return what was saved about it.

    A state of another configuration, data, model or code is left alone, and training begins anew. However many ranks saved it, each
    takes its part of a tensor that is cut.
    """
    for folder in reversed(_states(scratch)):
        about: dict[str, Any] = json.loads((folder / "state.json").read_text())
        if about["key"] != key:
            say(f"train: the state in {folder} belongs to another configuration, data, model or code; beginning anew")
            continue
        trained = trainable_state(llm, retriever)
        held = [dict(enumerate(p for group in o.param_groups for p in group["params"])) for o in optimisers]
        moments: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in optimisers]
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as stored, torch.no_grad():
                for name in stored.keys():  # noqa: SIM118 -- no dictionary
                    value = stored.get_tensor(name)
                    if not name.startswith("optimiser/"):
                        trained[name].copy_(part_like(value, trained[name]))
                        continue
                    _, i, number, moment = name.split("/")
                    like = held[int(i)][int(number)]
                    own = part_like(value, like).clone() if value.shape == like.shape else value.clone()
                    moments[int(i)].setdefault(int(number), {})[moment] = own
        for optimiser, state in zip(optimisers, moments, strict=True):
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return about
    return None


def _tensors(
    llm: nn.Module, retriever: nn.Module | None, optimisers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield names and tensors of a state, each put together from its parts when its turn comes."""
    for name, p in trainable_state(llm, retriever).items():
        yield name, whole(p.detach())
    for i, optimiser in enumerate(optimisers):
        for number, moments in optimiser.state_dict()["state"].items():
            for name, value in moments.items():
                yield f"optimiser/{i}/{number}/{name}", whole(torch.as_tensor(value).detach())


def _pieces(tensors: Iterable[tuple[str, torch.Tensor]], kept: bool) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the tensors on the host, in pieces of about PIECE_BYTES; nothing where they are not kept, but all are put together."""
    piece: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if not kept:
            continue
        piece[name] = tensor.cpu().contiguous()
        size += piece[name].nbytes
        if size >= PIECE_BYTES:
            yield piece
            piece, size = {}, 0
    if piece:
        yield piece


def _files(folder: Path) -> list[str]:
    return [*STATE_FILES, *(p.name for p in folder.glob("state-*.safetensors"))]


def drop_states(scratch: Path) -> None:
    """Remove the states of a finished training, and the folder if it holds nothing else."""
    for state in [*_states(scratch), *scratch.glob(".step-*.partial")]:
        shutil.rmtree(state, ignore_errors=True)
    for lock in scratch.glob(".step-*.lock"):
        lock.unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or not there
        scratch.rmdir()


def _states(scratch: Path) -> list[Path]:
    return sorted(p for p in scratch.glob("step-*") if (p / "state.json").is_file())
