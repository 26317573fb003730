"""From the vectors of a text's tokens to one vector, as sentence-transformers' module Pooling does.

    vectors = pool(hidden, text, ("mean",))             # [n, H]
    vectors = pool(hidden, text, ("cls", "max"))        # [n, 2 H]: several ways stand side by side

Padding stands right of the text whatever the tokenizer's own side: a causal model cannot see it, the others do not attend to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.models.encoder import read_json, read_tensors, write_json, write_tensors
from jmlr.runtime.errors import UserError


def _weighted(hidden: Tensor, text: Tensor) -> Tensor:
    weights = text * torch.arange(1.0, hidden.shape[1] + 1, device=hidden.device)[:, None]  # the first token's is 1
    return (hidden * weights).sum(1) / weights.sum(1)


# Each makes [n, H] of hidden states [n, T, H], text bool [n, T, 1], tokens int [n, 1] (how many the text has); in the order in which
# sentence-transformers puts several of them side by side.
POOLINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cls": lambda hidden, *_: hidden[:, 0],
    "max": lambda hidden, text, _: hidden.masked_fill(~text, float("-inf")).amax(1),
    "mean": lambda hidden, text, tokens: (hidden * text).sum(1) / tokens,
    "mean_sqrt_len_tokens": lambda hidden, text, tokens: (hidden * text).sum(1) / tokens.sqrt(),
    "weightedmean": lambda hidden, text, _: _weighted(hidden, text),
    "lasttoken": lambda hidden, _, tokens: hidden.take_along_dim((tokens - 1)[..., None], 1)[:, 0],
}


def pool(hidden: Tensor, text: Tensor, modes: Sequence[str]) -> Tensor:
    """Return one vector per text: [n, H times the number of modes].

    Args:
        hidden: last hidden states [n, T, H].
        text: bool [n, T], which tokens are the text's: the first ones of each row, at least one.
        modes: of POOLINGS.
    """
    return torch.cat([POOLINGS[mode](hidden, text[..., None], text.sum(1, keepdim=True)) for mode in modes], -1)


def read_pooling(folder: Path) -> tuple[str, ...]:
    """Return the modes that the configuration of a module Pooling names; mean where it names none.

    Raises:
        UserError: a mode is not known.
    """
    config = read_json(folder, "config.json")
    named = config.get("pooling_mode")  # newer directories name one mode or a list, older ones have a switch for each
    modes = [named] if isinstance(named, str) else named or [m for m in POOLINGS if _switch(config, m)]
    for mode in modes:
        if mode not in POOLINGS:
            raise UserError(f"retriever '{folder}': pooling '{mode}' is not supported (allowed: {', '.join(POOLINGS)})")
    return tuple(modes or ["mean"])


def _switch(config: dict[str, Any], mode: str) -> bool:
    names = (f"pooling_mode_{mode}{end}" for end in ("", "_token", "_tokens"))
    return any(config.get(name) for name in names)


class LayerMean(nn.Module):
    """A learned mean of all layers' hidden states from `start` on: sentence-transformers' WeightedLayerPooling."""

    def __init__(self, depth: int, layers: int, start: int) -> None:
        super().__init__()
        self.settings = {"embedding_dimension": depth, "num_hidden_layers": layers, "layer_start": start}
        self.start, self.layer_weights = start, nn.Parameter(torch.ones(layers + 1 - start))

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return [n, T, H] of the embeddings' and every layer's output, each [n, T, H]."""
        return torch.einsum("l,lnth->nth", self.layer_weights / self.layer_weights.sum(), torch.stack(list(layers[self.start :])))  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> LayerMean:
        """Load what sentence-transformers saved."""
        config = read_json(folder, "config.json")
        depth = config.get("embedding_dimension") or config["word_embedding_dimension"]
        made = cls(depth, config.get("num_hidden_layers", 12), config.get("layer_start", 4))
        made.load_state_dict(read_tensors(folder / "model.safetensors"))
        return made

    def save(self, folder: Path) -> None:
        """Write what `load` and sentence-transformers read."""
        write_json(folder / "config.json", self.settings)
        write_tensors(folder / "model.safetensors", self.state_dict())
