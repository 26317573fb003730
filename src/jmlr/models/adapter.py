"""LoRA layers computed in fewer passes over memory; values, parameters and files are peft's own.

    fuse_lora(llm)        # once, after the adapter was put on; then use the model as before

peft computes W x, A x, B (A x), times the scale, plus: five passes over memory. With gradient, two products and one that adds in place
do; without (judging), W + s B A is made once for the whole batch and the layer costs what it costs without an adapter. Quantised
layers, several adapters at once and variants of LoRA are left to peft.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fuse_lora(llm: nn.Module) -> int:
    """Let every plain LoRA layer of a model compute so; return how many there are."""
    from peft.tuners.lora import Linear

    layers = [m for m in llm.modules() if isinstance(m, Linear) and type(m.get_base_layer()) is nn.Linear]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)  # type: ignore[method-assign]
    return len(layers)


def _forward(layer: Any, plain: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return W x + s B A x: x [..., in] -> [..., out]."""
    base, active = layer.get_base_layer(), layer.active_adapters
    usual = len(active) == 1 and active[0] in layer.lora_A and active[0] not in layer.lora_variant
    if not usual or layer.disable_adapters or layer.merged or args or kwargs:
        return plain(x, *args, **kwargs)
    a, b = layer.lora_A[active[0]].weight, layer.lora_B[active[0]].weight
    scale, dropout = layer.scaling[active[0]], layer.lora_dropout[active[0]]
    if not x.dtype == base.weight.dtype == a.dtype or layer.lora_bias[active[0]]:
        return plain(x)
    rows, (outer, inner) = x.numel() // x.shape[-1], base.weight.shape
    exact = not torch.is_autocast_enabled(x.device.type)  # a bfloat16 sum of W and B A would lose most of B A
    still = not (layer.training and isinstance(dropout, nn.Dropout) and dropout.p > 0)
    if not torch.is_grad_enabled() and exact and still and rows * (inner + outer) > inner * outer:
        return F.linear(x, torch.addmm(base.weight, b, a, alpha=scale), base.bias)
    y, small = F.linear(x, base.weight, base.bias), F.linear(dropout(x), a)
    return torch.addmm(y.flatten(0, -2), small.flatten(0, -2), b.T, alpha=scale).view(y.shape)
