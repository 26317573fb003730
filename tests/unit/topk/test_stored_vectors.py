"""Vectors that `encode` wrote are mapped: opening them again, unverified, costs nothing that grows with their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jmlr.runtime.errors import UserError
from jmlr.topk.vectors import OFFSETS, StoredVectors


def saved(folder: Path, offsets: list[int]) -> Path:
    StoredVectors(np.ones((6, 4), np.float32), np.array(offsets)).save(folder)
    return folder


@pytest.mark.parametrize("verify", [True, False])
def test_vectors_and_offsets_are_mapped_and_not_copied(tmp_path: Path, verify: bool):
    """Fix: Do not copy the offsets: they are 8 bytes a passage in every process of a training."""
    stored = StoredVectors.open(saved(tmp_path, [0, 2, 5, 6]), verify=verify)
    assert len(stored) == 3
    for array in (stored.vectors, stored.offsets):
        assert array is not None
        assert not array.flags.owndata


@pytest.mark.parametrize(
    ("offsets", "verify"), [([0, 2, 5], True), ([0, 2, 5], False), ([1, 6], False), ([0, 5, 5, 6], True)]
)
def test_offsets_of_other_vectors_are_refused(tmp_path: Path, offsets: list[int], verify: bool):
    with pytest.raises(UserError, match=rf"{OFFSETS}' does not fit"):
        StoredVectors.open(saved(tmp_path, offsets), verify=verify)
