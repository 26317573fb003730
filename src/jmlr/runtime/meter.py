"""Tokens and FLOPs of a stage, counted where tokens enter a model: a hook on the embedding layer of every model loaded.

Whatever batches, packs, caches or repeats a stage makes, what goes through the embedding is what the hardware computes,
padding included. `jmlr.models` reports each model with `watch`; `stage_output` writes `counts()` into the manifest.

FLOPs by the rule 6 N T (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), taken apart: 2 N T forward; with gradient 2 N T
more for the activations and 2 N' T for the N' parameters that are trained (N' = N gives 6 N T; LoRA about 4 N T), and
2 N T once more where activations are recomputed. N leaves embeddings and the head out, as there; attention scores are not counted.
A stage that goes on after a kill adds what it spent before, and what it had warned of: `spent()` is saved with the state, and
given back with `add_earlier`.
Where several ranks share a training, this rank's tokens count for each: their shares are equal but for padding.
"""

from __future__ import annotations

import resource
import sys
import time
import weakref
from dataclasses import dataclass
from typing import Any

from jmlr.runtime.progress import forget_warnings, warned


@dataclass
class _Passes:
    """What went through a model with or without gradient; N, N' and recomputation are those of the first such pass."""

    tokens: int = 0
    inner: int = 0
    trained: int = 0
    again: bool = False


_watched: list[tuple[str, int, dict[bool, _Passes]]] = []
_begun: dict[str, float] = {"seconds": 0.0, "cpu_seconds": 0.0}
_carried: dict[str, Any] = {}


def reset() -> None:
    """Forget all models and warnings, and begin to count time: a stage begins."""
    forget_warnings()
    _watched.clear()
    _carried.clear()
    _begun.update(_clocks())


def spent() -> dict[str, Any]:
    """Return {seconds, cpu_seconds, models, warnings} of the stage so far, earlier attempts included."""
    now = _clocks()
    found: dict[str, Any] = {k: now[k] - _begun[k] + _carried.get(k, 0.0) for k in now}
    models = counts()
    for name, figures in _carried.get("models", {}).items():
        own = models.setdefault(name, dict.fromkeys(figures, 0))
        for k, v in figures.items():  # sizes are those of either attempt, the rest adds up
            own[k] = max(own[k], v) if k in ("size", "parameters", "trained") else own[k] + v
    return {**found, "models": models, "warnings": list(dict.fromkeys([*_carried.get("warnings", ()), *warned()]))}


def add_earlier(earlier: dict[str, Any]) -> None:
    """Take over what an earlier attempt had spent when it saved its state."""
    _carried.update(earlier)


def _clocks() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": time.perf_counter(), "cpu_seconds": used.ru_utime + used.ru_stime}


def watch(what: str, model: Any) -> None:
    """Count the tokens of a Hugging Face model from now on. One without an embedding of tokens is left alone.

    The model is not kept alive: a stage that drops one to make room for the next gets its memory back.
    """
    try:
        layer = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return
    whole = getattr(model, "num_parameters", None)  # of transformers: it knows what stands behind weights of 4 bits
    size = whole() if whole else sum(p.numel() for p in model.parameters())
    passes, alive = {False: _Passes(), True: _Passes()}, weakref.ref(model)

    def count(
        _: Any, inputs: tuple[Any, ...]
    ) -> None:  # a copy of the layer (peft's modules_to_save) goes on counting here
        import torch

        own, owner = passes[torch.is_grad_enabled()], alive()
        if not own.tokens and owner is not None:
            own.inner, own.trained = _parameters(owner)
            own.again = bool(getattr(owner, "is_gradient_checkpointing", False))
        own.tokens += inputs[0].numel() if inputs else 0

    layer.register_forward_pre_hook(count)
    _watched.append((what, size, passes))


def counts() -> dict[str, dict[str, int]]:
    """Return {model: {size, parameters, trained, tokens_forward, tokens_gradient, flops}} of the models that computed something.

    size: all parameters as loaded, embeddings and head included; parameters: those that each token passes (N).
    """
    found: dict[str, dict[str, int]] = {}
    ranks = _ranks()
    for what, size, passes in _watched:
        forward, gradient = passes[False], passes[True]
        if not forward.tokens + gradient.tokens:
            continue
        own = found.setdefault(
            what, {"size": 0, "parameters": 0, "trained": 0, "tokens_forward": 0, "tokens_gradient": 0, "flops": 0}
        )
        own["size"] = max(own["size"], size)
        own["parameters"] = max(own["parameters"], forward.inner, gradient.inner)
        own["trained"] = max(own["trained"], gradient.trained)
        own["tokens_forward"] += ranks * forward.tokens
        own["tokens_gradient"] += ranks * gradient.tokens
        times = (6 if gradient.again else 4) * gradient.inner + 2 * gradient.trained
        own["flops"] += ranks * (2 * forward.inner * forward.tokens + times * gradient.tokens)
    return found


def _ranks() -> int:
    torch = sys.modules.get("torch")
    shared = torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if torch is not None and shared else 1


def _parameters(model: Any) -> tuple[int, int]:
    """Return how many parameters each token passes, embeddings and head left out, and how many of them are trained."""
    outside = set()
    for layer in (model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()):
        outside |= {id(p) for p in layer.parameters()} if layer is not None else set()
    inner = [p for name, p in model.named_parameters() if id(p) not in outside and "position_embeddings" not in name]
    return sum(p.numel() for p in inner), sum(p.numel() for p in inner if p.requires_grad)
