"""What every retriever with one encoder can do, whatever its kind (`jmlr.models.kinds`).

class MyRetriever(OneEncoder):
    tokens = False                  # one vector for each text
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jmlr.runtime.precision import Precision


class OneEncoder(nn.Module):
    """A retriever whose encoder reads queries and passages.

    Attributes:
        tokens: whether a text has a vector for each token, compared by MaxSim; else one, compared by inner product.
        encoder: a module that has parameters.
        tokenizer: a Hugging Face tokenizer.
    """

    tokens: ClassVar[bool]

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        self.encoder, self.tokenizer = encoder, tokenizer

    @property
    @abstractmethod
    def depth(self) -> int:
        """D, the length of a vector."""

    @abstractmethod
    def limit(self, side: str) -> int:
        """Return what a 'query' or 'passage' is cut to, in tokens."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str], most: int = 0, side: str = "passage") -> list[list[int]]:
        """Return token ids, special tokens and prompt included, cut to `most` (0: no cut) and to `limit`."""

    @abstractmethod
    def encode(self, rows: Sequence[Sequence[int]], side: str = "passage", width: int = 0) -> Tensor:
        """Return, with gradient where enabled, vectors [n, D], or of tokens [n, T, D] with T at least `width`."""

    @abstractmethod
    def interact(self, queries: Tensor, passages: Tensor, places: Tensor) -> Tensor:
        """Return the scores [B, n] of encoded queries with those encoded passages whose numbers `places` [B, n] holds."""

    def scores(self, queries: Sequence[Sequence[int]], passages: Sequence[Sequence[int]], places: Tensor) -> Tensor:
        """Return the scores [B, n] of B queries with U passages (token lists), with gradient: see `interact`."""
        places = places.to(next(self.encoder.parameters()).device)
        return self.interact(self.encode(queries, "query"), self.encode(passages), places)

    @abstractmethod
    def encode_each(
        self,
        rows: Sequence[Sequence[int]],
        side: str = "passage",
        *,
        batch_tokens: int,
        precision: Precision = "float32",
        name: str = "encode",
    ) -> Iterator[tuple[int, Tensor]]:
        """Encode many texts, the longest first, in batches of at most `batch_tokens` padded tokens, without gradient.

        Yields:
            the number of a text and its vectors, float32 [m, D] on the CPU: one, or one for each token that counts.
        """

    def vector_counts(self, rows: Sequence[Sequence[int]], side: str = "passage") -> list[int]:
        """Return how many vectors `encode_each` gives of each text at most: known by its tokens, before it is encoded."""
        del side
        return [1] * len(rows)

    def encode_all(
        self, rows: Sequence[Sequence[int]], side: str = "passage", **settings: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Encode many texts as `encode_each` does, and hold all their vectors.

        Returns:
            float32 on the CPU, [n, D] with None, or of tokens [M, D] with int64 [n + 1]: where each text begins.
        """
        held = [torch.empty(0, self.depth)] * len(rows)
        for text, vectors in self.encode_each(rows, side, **settings):
            held[text] = vectors
        offsets = torch.tensor([0, *(len(h) for h in held)]).cumsum(0)
        return torch.cat([torch.empty(0, self.depth), *held]), offsets if self.tokens else None

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write a folder that its library and `jmlr.models.retriever.load_retriever` read; safetensors only."""
