"""The contract's version stands for every bit of every search: see `jmlr.topk.contract`."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from jmlr.topk import Index, MaxSimIndex
from jmlr.topk.contract import CONTRACT

FOUND = {1: "75a09775b5a96ca5"}


def numbers(*shape: int, seed: int) -> np.ndarray:
    """Return float32 numbers in [-1, 1), the same with every version of NumPy."""
    whole = (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    return ((whole >> np.uint64(40)).astype(np.float32) / 2**23 - 1).reshape(shape)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_a_search_finds_what_it_found_when_the_contract_got_its_version(storage):
    vectors, queries = numbers(700, 24, seed=1), numbers(9, 24, seed=2)
    vectors[100:120] = vectors[300:320]  # ties
    digest = hashlib.sha256()
    dense = Index.build(vectors, storage=storage).search(queries, 50)
    offsets = np.arange(0, 701, 7)
    late = MaxSimIndex.build(vectors, offsets, storage=storage).search(queries.reshape(3, 3, 24), 10)
    for scores, ids in (dense, late):
        digest.update(scores.astype("<f4").tobytes() + ids.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == FOUND[CONTRACT], (
        "a search returns other ids or scores: if that is meant, raise CONTRACT, so that searches run again, and note their digest here"
    )
