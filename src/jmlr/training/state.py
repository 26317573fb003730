"""The state of a training on disk: saved whole or not at all, safetensors and JSON only.

    scratch/.../step-00000120/state.safetensors   trainable parameters of the LLM and the retriever, moments of the optimisers
    scratch/.../step-00000120/state.json          the step, the digest of what is trained, the metrics so far

Draws depend on (seed, step, question or rank) alone (runtime.seeds), so no generator of any rank has to be saved, the position in the
data is the step, and a resumed run equals a straight one. Rank 0 writes, every rank reads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from jmlr.runtime.files import fresh_directory
from jmlr.runtime.progress import say

STATE_FILES = ("state.safetensors", "state.json")


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
    """Save the state after `step` steps and drop older ones."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in trainable_state(llm, retriever).items()}
    for i, optimiser in enumerate(optimisers):
        for number, moments in optimiser.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimiser/{i}/{number}/{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    target = scratch / f"step-{step:08d}"
    with fresh_directory(target, lambda _: STATE_FILES) as folder:
        save_file(tensors, folder / STATE_FILES[0])
        (folder / STATE_FILES[1]).write_text(json.dumps({"step": step, **about}))
    for old in _states(scratch):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def load_state(
    scratch: Path, key: str, llm: nn.Module, retriever: nn.Module | None, optimisers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Load the newest state made for the same training (`key`) into models and optimisers; return what was saved about it.

    A state of another configuration, data, model or code is left alone, and training begins anew.
    """
    for folder in reversed(_states(scratch)):
        about: dict[str, Any] = json.loads((folder / "state.json").read_text())
        if about["key"] != key:
            say(f"train: the state in {folder} belongs to another configuration, data, model or code; beginning anew")
            continue
        tensors = load_file(folder / "state.safetensors")
        with torch.no_grad():
            for name, parameter in trainable_state(llm, retriever).items():
                parameter.copy_(tensors[name])
        moments: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in optimisers]
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, i, number, moment = name.split("/")
                moments[int(i)].setdefault(int(number), {})[moment] = value
        for optimiser, state in zip(optimisers, moments, strict=True):
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return about
    return None


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
