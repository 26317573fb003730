"""Attention in training on a CPU: over short texts in float32, also where all else is computed in bfloat16.

    install()                                     # once; every model of transformers then attends by `attention`

Up to some 256 tokens PyTorch's backward pass of attention takes two to four times as long in bfloat16 as in float32
(findings/torch_cpu_attention.sh, docs/log.md); it was half of what a small model's training costs. Longer texts, other devices and passes
without gradient go the usual way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SHORT = 256  # tokens up to which float32 is the faster


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attend as transformers' "sdpa" does, with the same arguments, and return what it returns.

    Args:
        module: the layer that attends.
        query: [n, heads, T, D].
        key: [n, heads or fewer, T', D].
        value: as `key`.
        attention_mask: [n, 1, T, T'], bool (True: attended) or added to the products; None: causal, or all.
        settings: dropout, scaling, ...

    Returns:
        ([n, T, heads, D], None).
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not _slow_in_bfloat16(query, key):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        attended, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **settings
        )
    return attended.to(value.dtype), None


def _slow_in_bfloat16(query: Tensor, key: Tensor) -> bool:
    """Tell whether a backward pass in bfloat16 on a CPU would follow, over a short text."""
    half = query.dtype == torch.bfloat16 or (torch.is_autocast_enabled("cpu") and query.dtype == torch.float32)
    return half and query.device.type == "cpu" and query.requires_grad and key.shape[2] <= SHORT


def install() -> None:
    """Let the models of transformers attend by `attention` where they would by "sdpa"."""
    from transformers import AttentionInterface

    AttentionInterface.register("sdpa", attention)
