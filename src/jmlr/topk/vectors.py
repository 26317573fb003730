"""Vectors of texts on disk, one for each text (dense) or one for each of its tokens (ColBERT).

StoredVectors(vectors, offsets).save(folder)          # what `encode` writes
StoredVectors.open(folder)                            # verified, and mapped into memory

Apart from `jmlr.topk`, so that nothing is encoded or pre-trained again because the search changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import MANIFEST, existing, save_array
from jmlr.runtime.manifest import verify_outputs

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
    def open(cls, folder: Path, what: str = "vectors", *, verify: bool = True) -> StoredVectors:
        """Map what `save` wrote into memory; `verify`: by the SHA-256 in the stage's manifest, which reads every byte.

        Without, nothing but the ends of the offsets is read: opening takes no longer and no more memory for more texts.

        Raises:
            UserError: there is nothing, it is damaged or cut short, or the offsets are not those of the vectors. It is called `what`.
        """
        existing(folder / VECTORS, what)
        if verify and (folder / MANIFEST).is_file():
            verify_outputs(folder, what, (VECTORS, OFFSETS))
        ragged = (folder / OFFSETS).is_file()
        made = cls(_mapped(folder / VECTORS, what), np.asarray(_mapped(folder / OFFSETS, what)) if ragged else None)
        if made.vectors.ndim != 2 or (
            made.offsets is not None and not _covers(made.offsets, len(made.vectors), verify)
        ):
            raise UserError(
                f"{what}: '{folder / OFFSETS}' does not fit '{folder / VECTORS}', of shape {made.vectors.shape}"
            )
        return made


def _mapped(path: Path, what: str) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise UserError(f"{what}: '{path}' is no whole .npy file ({error})") from None


def _covers(offsets: np.ndarray, rows: int, verify: bool) -> bool:
    """Tell whether offsets [n + 1] give each of `rows` rows to one text, and every text one at least; unless `verify` by their ends."""
    return (
        offsets.ndim == 1
        and len(offsets) > 0
        and offsets[0] == 0
        and offsets[-1] == rows
        and (not verify or bool((np.diff(offsets) > 0).all()))
    )
