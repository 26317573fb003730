"""LoRA layers computed in fewer passes over memory; values, parameters and files are peft's own.

    fuse_lora(llm)        # once, after the adapter was put on; then use the model as before

peft computes W x, A x, B (A x), times the scale, plus: five passes over memory. With gradient, two products and one that adds in place
do; without (judging), W + s B A is made once for the whole batch and the layer costs what it costs without an adapter. Quantised
layers, several adapters at once and variants of LoRA are left to peft.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fuse_lora(llm: nn.Module) -> int:
    """Let every plain LoRA layer of a model compute so; return how many there are."""
    from peft.tuners.lora import Linear

    layers = [m for m in llm.modules() if type(m) is Linear and type(m.get_base_layer()) is nn.Linear]
    for layer in layers:
        layer.__class__ = _fused()
    return len(layers)


def fuse_for_answering(llm: nn.Module) -> None:
    """The same for a model that trains no further: adapters take the precision of their layers, so that no input is cast for them.

    What autocast does in training, once. An adapter of a bfloat16 layer is rounded as a bfloat16 product rounds it.
    """
    from peft.tuners.lora import Linear

    fuse_lora(llm)
    for layer in llm.modules():
        if isinstance(layer, Linear) and type(layer.get_base_layer()) is nn.Linear:
            for name in layer.active_adapters:
                if name in layer.lora_A:
                    dtype = layer.get_base_layer().get_parameter("weight").dtype
                    layer.lora_A[name].to(dtype)
                    layer.lora_B[name].to(dtype)


@cache
def _fused() -> type:
    """Return peft's LoRA layer with another forward pass."""
    from peft.tuners.lora import Linear

    class FusedLinear(Linear):
        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if args or kwargs or not _usual(self, x):
                return super().forward(x, *args, **kwargs)
            return _forward(self, x)

    return FusedLinear


def _usual(layer: Any, x: Tensor) -> bool:
    """Tell whether a layer has one plain adapter, and all is of one type or becomes so by autocast."""
    active = layer.active_adapters
    if len(active) != 1 or active[0] not in layer.lora_A or active[0] in layer.lora_variant:
        return False
    if layer.disable_adapters or layer.merged or layer.lora_bias[active[0]]:
        return False
    one_type = x.dtype == layer.get_base_layer().weight.dtype == layer.lora_A[active[0]].weight.dtype
    return one_type or torch.is_autocast_enabled(x.device.type)


def _forward(layer: Any, x: Tensor) -> Tensor:
    """Return W x + s B A x: x [..., in] -> [..., out]."""
    base, name = layer.get_base_layer(), layer.active_adapters[0]
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    scale, dropout = layer.scaling[name], layer.lora_dropout[name]
    rows, (outer, inner) = x.numel() // x.shape[-1], base.weight.shape
    half = (
        torch.is_autocast_enabled(x.device.type) or x.dtype.itemsize < 4
    )  # its sum of W and B A would lose most of B A
    still = not (layer.training and isinstance(dropout, nn.Dropout) and dropout.p > 0)
    if not torch.is_grad_enabled() and not half and still and rows * (inner + outer) > inner * outer:
        return F.linear(x, torch.addmm(base.weight, b, a, alpha=scale), base.bias)
    flat = x.flatten(0, -2)
    small = F.linear(dropout(flat), a)
    return (
        F.linear(flat, base.weight, base.bias)
        .addmm_(small, b.T.to(small.dtype), alpha=scale)
        .view(*x.shape[:-1], outer)
    )
