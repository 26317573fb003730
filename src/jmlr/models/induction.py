"""Heads that begin as a copying circuit, for a small Llama-like model from scratch (Olsson et al. 2022, arXiv 2209.11895).

    prepare_induction(fresh_model(architecture, tokenizer, 0.02, causal=True))

The model then continues "... A B ... A" with B before it has seen any text. Why: the joint step asks an LLM how likely the
answer is after a passage. The cheapest way to use a passage is to copy from it, and gradient descent finds the two layers
that do so late, by a sudden change; a model of a few million parameters trained for minutes may not have reached it, and
the order of its losses is then noise (docs/llm_rank.md).

The residual stream [H] is halved: `content`, where embeddings stand and are read by the head, and `memory`, left free. In
layer 0 half of the heads look at the previous token (rotary phases put the peak of q.k one step back, read off one
coordinate that is the same for all tokens) and write its content into memory. In layer 1 half of the heads look for a
place whose memory is their own content, that is, what came after the same token earlier, and add that token's content to
their own. All of it are ordinary weights: training may keep, sharpen or undo them, and the result is a plain Llama.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from jmlr.runtime.errors import UserError

FAST = 0.1  # radians per token: frequencies above it tell neighbours apart
CONSTANT = 4.0  # the coordinate that all embeddings share; the others have unit variance
PREVIOUS_MARGIN = 10.0  # nats by which the previous token wins against its neighbours
MATCH = 24.0  # nats of a match of whole content; others scatter around 0
COPY = 3.0  # how much of the found token is added to the own one


@torch.no_grad()
def prepare_induction(llm: Any) -> None:
    """Overwrite the embeddings, the final norm and half of the heads of layers 0 and 1 of a fresh model, in place.

    Raises:
        UserError: it is not Llama-like (rotary positions over whole heads, separate q, k, v and o projections, no norm of
            queries and keys), has fewer than two layers, an odd number of heads, or shares keys between heads.
    """
    decoder = llm.get_decoder()
    frequencies, layers = _llama_like(decoder, llm.config)
    embeddings = llm.get_input_embeddings().weight  # [V, H]
    content = embeddings.shape[1] // 2
    torch.nn.init.normal_(embeddings)
    embeddings[:, content:] *= 0.1
    embeddings *= embeddings.shape[1] ** 0.5 / (
        2**0.5 * embeddings.norm(dim=1, keepdim=True)
    )  # all of one length, so that
    embeddings[:, 0] = CONSTANT  # after the norm this coordinate is the same for all tokens, too
    out = llm.get_output_embeddings().weight
    if out is not embeddings:
        out.copy_(embeddings)
    decoder.norm.weight.fill_(embeddings.shape[1] ** -0.5)  # logits of unit size, though embeddings are large
    _look_back(layers[0].self_attn, frequencies, content)
    _look_for_the_same(layers[1].self_attn, len(frequencies), content)


def _llama_like(decoder: Any, config: Any) -> tuple[Tensor, Any]:
    """Return the rotary frequencies [head depth / 2] and the layers, or refuse."""
    layers = getattr(decoder, "layers", [])
    rotary: Any = getattr(getattr(decoder, "rotary_emb", None), "inv_freq", None)
    attention = layers[0].self_attn if len(layers) > 1 and hasattr(layers[0], "self_attn") else None
    heads, shared = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
    fits = (
        rotary is not None
        and all(hasattr(attention, f"{name}_proj") for name in "qkvo")
        and not hasattr(attention, "q_norm")
        and heads % 2 == 0
        and shared == heads
        and 2 * len(rotary) * heads == config.hidden_size
    )
    if not fits:
        raise UserError(
            f"induction_heads: '{config.model_type}' with {heads} heads ({shared} of keys) does not fit; allowed: a Llama-like "
            "architecture of two layers or more, an even num_attention_heads, and num_key_value_heads equal to it"
        )
    return rotary.float(), layers


def _look_back(attention: Any, frequencies: Tensor, content: int) -> None:
    """Make half of the heads write the previous token's content into memory.

    Query and key are the same for all tokens, but the key is turned by one step: q.k at distance n is the sum of
    cos((n - 1) f) over the fast frequencies f, highest at n = 1. Slow ones would add to all distances alike.
    """
    pairs = len(frequencies)
    fast = frequencies[frequencies > FAST]
    gain = math.sqrt(PREVIOUS_MARGIN * math.sqrt(2 * pairs) / float((1 - fast.cos()).sum())) / CONSTANT
    for first in range(0, content, 2 * pairs):
        q, k, v, o = _head(attention, first, 2 * pairs)
        q[: len(fast), 0] = gain
        k[: len(fast), 0] = gain * fast.cos()
        k[pairs : pairs + len(fast), 0] = gain * fast.sin()
        for place in range(2 * pairs):
            v[place, first + place] = 1.0
            o[content + first + place, place] = 1.0


def _look_for_the_same(attention: Any, pairs: int, content: int) -> None:
    """Make half of the heads find what followed their token before, and add its content to their own.

    Content is compared in the slow frequencies, which hardly turn over the length of a prompt; each head compares another part.
    """
    slow = [*range(pairs // 2, pairs), *range(pairs + pairs // 2, 2 * pairs)]
    gain = math.sqrt(MATCH * math.sqrt(2 * pairs) / len(slow))
    for number, first in enumerate(range(0, content, 2 * pairs)):
        q, k, v, o = _head(attention, first, 2 * pairs)
        for column, place in enumerate(slow, 1 + number * len(slow)):
            q[place, column] = k[place, content + column] = gain
        for place in range(2 * pairs):
            v[place, first + place] = 1.0
            o[first + place, place] = COPY


def _head(attention: Any, first: int, depth: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return views of one head's q, k, v [depth, H] and o [H, depth], emptied."""
    rows = slice(first, first + depth)
    views = (*(getattr(attention, f"{n}_proj").weight[rows] for n in "qkv"), attention.o_proj.weight[:, rows])
    for view in views:
        view.zero_()
    return views
