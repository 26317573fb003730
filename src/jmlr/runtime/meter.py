"""Tokens and FLOPs of a stage, counted where tokens enter a model: a hook on the embedding layer of every model loaded.

Whatever batches, packs, caches or repeats a stage makes, what goes through the embedding is what the hardware computes,
padding included. `jmlr.models` reports each model with `watch`; `stage_output` writes `counts()` into the manifest.

FLOPs by the rule 6 N T (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), taken apart: 2 N T forward; with gradient 2 N T
more for the activations and 2 N' T for the N' parameters that are trained (N' = N gives 6 N T; LoRA about 4 N T), and
2 N T once more where activations are recomputed. N leaves embeddings and the head out, as there; attention scores are not counted.
"""

from __future__ import annotations

from typing import Any

_watched: list[tuple[str, Any, dict[str, int]]] = []


def reset() -> None:
    """Forget all models: a stage begins."""
    _watched.clear()


def watch(what: str, model: Any) -> Any:
    """Count the tokens of a Hugging Face model from now on; return the model. One without an embedding of tokens is left alone."""
    try:
        layer = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return model
    tokens = {"forward": 0, "gradient": 0}

    def count(_: Any, inputs: tuple[Any, ...]) -> None:
        import torch

        if inputs:  # a closure over plain numbers: copies of the layer (peft's modules_to_save) go on counting here
            tokens["gradient" if torch.is_grad_enabled() else "forward"] += inputs[0].numel()

    layer.register_forward_pre_hook(count)
    _watched.append((what, model, tokens))
    return model


def counts() -> dict[str, dict[str, float]]:
    """Return {model: {parameters, trained, tokens_forward, tokens_gradient, flops}} of the models that computed something."""
    found: dict[str, dict[str, float]] = {}
    for what, model, tokens in _watched:
        if not any(tokens.values()):
            continue
        inner, trained = _parameters(model)
        again = 2 * inner if getattr(model, "is_gradient_checkpointing", False) else 0
        own = found.setdefault(
            what, {"parameters": inner, "trained": 0, "tokens_forward": 0, "tokens_gradient": 0, "flops": 0}
        )
        own["parameters"] = max(own["parameters"], inner)
        own["trained"] = max(own["trained"], trained if tokens["gradient"] else 0)
        own["tokens_forward"] += tokens["forward"]
        own["tokens_gradient"] += tokens["gradient"]
        own["flops"] += 2 * inner * tokens["forward"] + (4 * inner + 2 * trained + again) * tokens["gradient"]
    return found


def _parameters(model: Any) -> tuple[int, int]:
    """Return how many parameters each token passes, embeddings and head left out, and how many of them are trained."""
    outside = set()
    for layer in (model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()):
        outside |= {id(p) for p in layer.parameters()} if layer is not None else set()
    inner = [p for name, p in model.named_parameters() if id(p) not in outside and "position_embeddings" not in name]
    return sum(p.numel() for p in inner), sum(p.numel() for p in inner if p.requires_grad)
