"""Layers that change vectors behind the encoder, read from and written to folders of sentence-transformers and PyLate."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.encoder import read_json, read_tensors, write_json, write_tensors
from jmlr.runtime.errors import UserError

ACTIVATIONS = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.LeakyReLU)
}


class Projection(nn.Module):
    """A linear layer from vectors to vectors, as the libraries' Dense: activation(linear(x)), plus a residual if asked."""

    def __init__(
        self, width: int, depth: int, *, bias: bool = False, activation: str = "Identity", use_residual: bool = False
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UserError(
                f"retriever: activation '{activation}' is not supported (allowed: {', '.join(ACTIVATIONS)})"
            )
        self.linear = nn.Linear(width, depth, bias=bias)
        self.activation_name, self.activation = activation, ACTIVATIONS[activation]()
        self.use_residual = use_residual
        self.residual = nn.Linear(width, depth, bias=False) if use_residual and width != depth else None

    @property
    def depth(self) -> int:
        """D, the length of a vector it gives."""
        return self.linear.out_features

    def forward(self, hidden: Tensor) -> Tensor:
        """Project vectors [..., H] to [..., D]."""
        out = self.activation(self.linear(hidden))
        if not self.use_residual:
            return out
        return out + (hidden if self.residual is None else self.residual(hidden))

    @classmethod
    def load(cls, folder: Path) -> Projection:
        """Load a Dense module of a PyLate or sentence-transformers directory."""
        config = read_json(folder, "config.json")
        made = cls(
            config["in_features"],
            config["out_features"],
            bias=config.get("bias", True),
            activation=config.get("activation_function", "Tanh").rsplit(".", 1)[-1],
            use_residual=config.get("use_residual", False),
        )
        made.load_state_dict(read_tensors(folder / "model.safetensors"))
        return made

    def save(self, folder: Path) -> None:
        """Write what `load`, PyLate and sentence-transformers read."""
        kind = ACTIVATIONS[self.activation_name]
        write_json(folder / "config.json", {
            "in_features": self.linear.in_features, "out_features": self.linear.out_features,
            "bias": self.linear.bias is not None, "use_residual": self.use_residual,
            "activation_function": f"{kind.__module__}.{kind.__name__}",
        })  # fmt: skip
        write_tensors(folder / "model.safetensors", self.state_dict())


class Norm(nn.Module):
    """Layer normalisation of a vector: sentence-transformers' LayerNorm."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(depth)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors [..., D] of mean 0 and variance 1, scaled and moved as was learned."""
        return self.norm(vectors)

    @classmethod
    def load(cls, folder: Path) -> Norm:
        """Load what sentence-transformers saved."""
        made = cls(read_json(folder, "config.json")["dimension"])
        made.load_state_dict(read_tensors(folder / "model.safetensors"))
        return made

    def save(self, folder: Path) -> None:
        """Write what `load` and sentence-transformers read."""
        write_json(folder / "config.json", {"dimension": self.norm.normalized_shape[0]})
        write_tensors(folder / "model.safetensors", self.state_dict())


class UnitLength(nn.Module):
    """Vectors of length 1: sentence-transformers' Normalize."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors [..., D] divided by their lengths."""
        return F.normalize(vectors, dim=-1)

    @classmethod
    def load(cls, folder: Path) -> UnitLength:
        """Make one; it holds nothing."""
        del folder
        return cls()

    def save(self, folder: Path) -> None:
        """Make the folder that the listing of modules names."""
        folder.mkdir(parents=True, exist_ok=True)
