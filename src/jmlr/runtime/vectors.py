"""Vectors of texts on disk, one for each text (dense) or one for each of its tokens (ColBERT).

StoredVectors(vectors, offsets).save(folder)          # what `encode` writes
StoredVectors.open(folder)                            # mapped into memory

Apart from `jmlr.topk`, so that nothing is encoded or pre-trained again because the search changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jmlr.runtime.files import existing, save_array

VECTORS, OFFSETS = "vectors.npy", "offsets.npy"


@dataclass(frozen=True)
class StoredVectors:
    """Vectors float32 [M, D] of n texts: text i has row i, or, where there are `offsets` [n + 1], rows offsets[i]:offsets[i + 1]."""

    vectors: np.ndarray
    offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.vectors) if self.offsets is None else len(self.offsets) - 1

    def save(self, folder: Path) -> None:
        """Write vectors.npy and, for token vectors, offsets.npy."""
        save_array(folder / VECTORS, self.vectors)
        if self.offsets is not None:
            save_array(folder / OFFSETS, self.offsets)

    @classmethod
    def open(cls, folder: Path, what: str = "vectors") -> StoredVectors:
        """Map what `save` wrote into memory; raise UserError, calling it `what`, if there is nothing."""
        vectors = np.load(existing(folder / VECTORS, what), mmap_mode="r", allow_pickle=False)
        ragged = (folder / OFFSETS).is_file()
        return cls(vectors, np.load(folder / OFFSETS, allow_pickle=False) if ragged else None)
