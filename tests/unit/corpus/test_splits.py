"""Hash splits depend on the key alone and keep the shares."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from jmlr.corpus.splits import check_shares, hash_split, ids_in, split_of, usual_name
from jmlr.runtime.errors import UserError

SHARES = {"train": 0.6, "dev": 0.1, "test": 0.3}


def test_shares_are_kept() -> None:
    found = [hash_split(f"q{i}", SHARES) for i in range(5000)]
    assert all(abs(found.count(name) / 5000 - share) < 0.02 for name, share in SHARES.items())


def test_another_spelling_of_a_split_has_its_usual_name() -> None:
    assert [usual_name(n) for n in ("val", "Valid", "validation", "DEV", "Test", "TRAIN")] == [
        *["dev"] * 4,
        "test",
        "train",
    ]
    assert [usual_name(n) for n in ("train", "dev", "test", "golden", "")] == [""] * 5


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


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:10] + b"\xff" * 8 + b[18:], lambda b: b"no gzip"])
def test_a_damaged_list_of_ids_is_one_line(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "ids.txt.gz"
    path.write_bytes(gzip.compress(b"q1\nq2\n"))
    assert ids_in(path) == ["q1", "q2"]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UserError, match=r"ids.txt.gz: truncated, damaged or no gzip file: copy or download it"
    ) as caught:
        ids_in(path)
    assert "\n" not in str(caught.value)


def test_listed_ids_are_made_as_those_of_records_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("q 1\n\n  q2\n")
    (tmp_path / "b.json").write_text('["q 1", 2]')
    assert ids_in(tmp_path / "a.txt") == ["q_1", "q2"]
    assert ids_in(tmp_path / "b.json") == ["q_1", "2"]


def test_ids_listed_for_two_splits_are_refused_with_their_number_and_the_first(tmp_path: Path) -> None:
    for name, ids in (("train", "a\nb\nc\nb"), ("test", "x\nc\na")):
        (tmp_path / f"{name}.txt").write_text(ids)
    lists = {"train": "s/train.txt", "test": "s/test.txt"}
    with pytest.raises(UserError, match=r"2 ids are listed for two splits; the first: 'c' \(train and test\)"):
        split_of(lists, {"s": tmp_path})
    assert split_of({"train": "s/train.txt"}, {"s": tmp_path}) == dict.fromkeys("abc", "train")
