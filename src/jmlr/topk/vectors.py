"""Vectors of texts on disk, one for each text (dense) or one for each of its tokens (ColBERT).

with VectorsFile(folder, counts, depth, tokens=True) as file:
    file.put(3, vectors)                              # what `encode` writes: the vectors of text 3, as they come
StoredVectors(vectors, offsets).save(folder)          # the same, held in memory
StoredVectors.open(folder)                            # verified, and mapped into memory

Apart from `jmlr.topk`, so that nothing is encoded or pre-trained again because the search changed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

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


class VectorsFile:
    """The files of `StoredVectors.save`, written text by text in any order: no vectors are held.

    Written, not mapped: what is mapped counts as memory, and where it is not to be had on a full disk the process ends by a signal.

    Args:
        folder: gets vectors.npy and, for token vectors, offsets.npy
        counts: how many vectors each of n texts has at most; those it then has not take no room
        depth: D
        tokens: whether a text has a vector for each token

    Raises:
        OSError: there is no room for all of them, which is known before the first.
    """

    def __init__(self, folder: Path, counts: Sequence[int], depth: int, *, tokens: bool) -> None:
        self._folder, self._depth, self._tokens = folder, depth, tokens
        self._offsets = np.cumsum([0, *counts], dtype=np.int64)
        self._held = np.zeros(len(counts), np.int64)
        with (folder / VECTORS).open("wb") as file:
            self._begin = self._write_header(file)
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, self._place(self.rows))
        self._file = (folder / VECTORS).open("r+b")

    @property
    def rows(self) -> int:
        """M, the number of vectors: at most before `close`, then exactly."""
        return int(self._offsets[-1])

    def put(self, text: int, vectors: np.ndarray) -> None:
        """Write the vectors [m, D] of a text, float32; raise ValueError if there are more than there may be, or of another D."""
        first, end = self._offsets[text : text + 2].tolist()
        if len(vectors) > end - first or vectors.shape[1:] != (self._depth,):
            raise ValueError(f"text {text}: vectors {vectors.shape}, but place for {(end - first, self._depth)}")
        self._held[text] = len(vectors)
        self._file.seek(self._place(first))
        self._file.write(np.ascontiguousarray(vectors, "<f4").data)

    def close(self) -> None:
        """Let the texts follow each other without gaps, and write the offsets."""
        if (self._held != np.diff(self._offsets)).any():
            self._close_gaps()
        self._file.close()
        if self._tokens:
            save_array(self._folder / OFFSETS, self._offsets)

    def __enter__(self) -> VectorsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self.close()

    def _place(self, row: int) -> int:
        return self._begin + 4 * self._depth * row

    def _write_header(self, file: IO[bytes]) -> int:
        """Write what `np.save` begins with, as long for any number of rows; return its bytes."""
        file.seek(0)
        shape = (self.rows, self._depth)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return file.tell()

    def _close_gaps(self) -> None:
        """Move every text to where the one before it ends, from the first to the last."""
        old, self._offsets = self._offsets, np.cumsum([0, *self._held], dtype=np.int64)
        for text in np.flatnonzero(old[:-1] != self._offsets[:-1]).tolist():
            self._file.seek(self._place(int(old[text])))
            held = self._file.read(4 * self._depth * int(self._held[text]))
            self._file.seek(self._place(int(self._offsets[text])))
            self._file.write(held)
        self._write_header(self._file)
        self._file.truncate(self._place(self.rows))


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
