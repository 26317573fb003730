"""The passages' vectors where their encoder stays as it is: taken from the disk, so that no passage is encoded in training.

kept = PassageVectors.open([Path("r0/encode/passages-0-of-1")], count=13_061, depth=384, tokens=False)
kept.take([3, 17], queries)     # what retriever.encode gives for passages 3 and 17: [2, D], or [2, T, D] of a ColBERT
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from jmlr.runtime.errors import UserError
from jmlr.topk.vectors import StoredVectors


@dataclass(frozen=True)
class PassageVectors:
    """Shards as `encode` wrote them, mapped into memory; `starts` [shards] is the row that each begins with."""

    shards: Sequence[StoredVectors]
    starts: np.ndarray

    @classmethod
    def open(cls, folders: Sequence[Path], count: int, depth: int, *, tokens: bool) -> PassageVectors:
        """Open the shards of all `count` passages, in their order.

        depth: of the retriever's vectors; `tokens`: it makes one for each token (ColBERT).

        Raises:
            UserError: there are more or fewer, or they are of another kind or depth.
        """
        shards = [
            StoredVectors.open(folder, "--vectors", verify=False) for folder in folders
        ]  # `index` read every byte
        sizes = [len(s) for s in shards]
        if sum(sizes) != count:
            raise UserError(f"--vectors: vectors of {sum(sizes)} passages, but there are {count}; encode them anew")
        for folder, shard in zip(folders, shards, strict=True):
            if shard.vectors.shape[1] != depth or (shard.offsets is not None) != tokens:
                raise UserError(
                    f"--vectors: '{folder}' holds vectors of depth {shard.vectors.shape[1]}, one for each "
                    f"{'passage' if shard.offsets is None else 'token'}; the retriever makes {depth}, one for each "
                    f"{'token' if tokens else 'passage'}; encode with this retriever"
                )
        return cls(shards, np.cumsum([0, *sizes[:-1]]))

    def take(self, rows: Sequence[int], queries: Tensor) -> Tensor:
        """Return the encoded passages of some rows, of the kind, precision and device of the encoded queries."""
        held = [self._one(row) for row in rows]
        return (torch.cat(held) if queries.ndim == 2 else pad_sequence(held, batch_first=True)).to(queries)

    def _one(self, row: int) -> Tensor:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        shard, place = self.shards[number], row - int(self.starts[number])
        first, last = (place, place + 1) if shard.offsets is None else shard.offsets[place : place + 2]
        return torch.from_numpy(np.array(shard.vectors[first:last]))
