"""Hash splits depend on the key alone and keep the shares."""

from __future__ import annotations

import pytest

from jmlr.corpus.splits import check_shares, hash_split
from jmlr.runtime.errors import UserError

SHARES = {"train": 0.6, "dev": 0.1, "test": 0.3}


def test_shares_are_kept() -> None:
    found = [hash_split(f"q{i}", SHARES) for i in range(5000)]
    assert all(abs(found.count(name) / 5000 - share) < 0.02 for name, share in SHARES.items())


def test_splits_stay_what_they_were_published_as() -> None:
    assert [hash_split(f"q{i}", SHARES) for i in range(6)] == ["train", "test", "test", "train", "train", "train"]


def test_a_larger_first_share_moves_no_key_out_of_it() -> None:
    keys = [f"q{i}" for i in range(500)]
    more = {"train": 0.7, "dev": 0.1, "test": 0.2}
    assert all(hash_split(k, more) == "train" for k in keys if hash_split(k, SHARES) == "train")


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match="positive numbers that sum to 1"):
        check_shares(shares)
