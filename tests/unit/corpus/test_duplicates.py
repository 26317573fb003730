"""Repeated passages are found as a dictionary would find them, whatever is in memory; near ones by their similarity."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from jmlr.corpus import duplicates
from jmlr.corpus.duplicates import Duplicates, minhash
from jmlr.corpus.shingles import ngrams, word_hashes
from jmlr.runtime.errors import UserError

RNG = random.Random(0)
WORDS = [f"word{i}" for i in range(2000)]


def text(length: int = 80) -> list[str]:
    return RNG.choices(WORDS, k=length)


def changed(words: list[str], count: int) -> list[str]:
    found = list(words)
    for place in RNG.sample(range(len(words)), count):
        found[place] = "other"
    return found


@pytest.mark.parametrize("waiting", [7, 1 << 16])
def test_repeated_texts_are_those_of_a_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(duplicates, "WAITING", waiting)
    found, twin, expected = Duplicates(tmp_path), {}, {}
    for row in range(3000):
        words = f"Text {RNG.randrange(1500)}"
        found.add(str(row), [words])
        first = twin.setdefault(words, row)
        if first != row:
            expected[row] = first
    rows, stays, near = found.rows()
    assert dict(zip(rows.tolist(), stays.tolist(), strict=True)) == expected
    assert len(expected) > 1000
    assert rows.tolist() == sorted(expected)
    assert near == 0
    assert found.repeated_id() is None


def test_an_id_given_twice_is_the_first_row_that_repeats(tmp_path: Path) -> None:
    found = Duplicates(tmp_path)
    for id in ("a", "b", "c", "b", "a"):
        found.add(id, [id, "second piece"])
    assert found.repeated_id() == 6


def test_the_share_of_equal_hashes_is_the_similarity_of_the_shingles() -> None:
    differences = []
    for count in (0, 1, 2, 4, 8) * 8:
        one = text()
        two = changed(one, count)
        a, b = (set(ngrams(word_hashes(" ".join(t)), 5).tolist()) for t in (one, two))
        same = (minhash(word_hashes(" ".join(one))) == minhash(word_hashes(" ".join(two)))).mean()
        differences.append(same - len(a & b) / len(a | b))
    assert abs(np.mean(differences)) < 0.03  # unbiased
    assert np.std(differences) < 0.07  # 64 hashes: at most sqrt(1/4 / 64)


def test_nearly_the_same_is_dropped_and_different_texts_stay(tmp_path: Path) -> None:
    found, near = Duplicates(tmp_path, near=0.8), []
    for row in range(300):
        one = text(200)
        found.add(f"a{row}", [" ".join(one)])
        if row % 3 == 0:
            found.add(f"b{row}", [" ".join(changed(one, 1)).upper() + "."])  # Jaccard 0.95
            near.append((found.count - 1, found.count - 2))
    rows, stays, count = found.rows()
    dropped = dict(zip(rows.tolist(), stays.tolist(), strict=True))
    assert set(dropped.items()) <= set(near), "a text that is not nearly the same was dropped"
    assert len(dropped) == count >= 0.97 * len(near)


def test_a_chain_of_near_texts_keeps_its_first(tmp_path: Path) -> None:
    found, words = Duplicates(tmp_path, near=0.7), text(200)
    for row in range(4):
        found.add(str(row), [" ".join(words)])
        words = changed(words, 1)
    rows, stays, _ = found.rows()
    assert (rows.tolist(), stays.tolist()) == ([1, 2, 3], [0, 0, 0])


def test_short_and_empty_texts_have_signatures(tmp_path: Path) -> None:
    found = Duplicates(tmp_path, exact=False, near=1.0)
    for i, t in enumerate(["one", "two words", "One!", "...", ""]):
        found.add(str(i), [t])
    rows, stays, _ = found.rows()
    assert dict(zip(rows.tolist(), stays.tolist(), strict=True)) == {2: 0, 4: 3}


def test_a_similarity_that_banding_cannot_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"near_duplicates 0.5: allowed: 0 .no check., or 0.7 to 1"):
        Duplicates(tmp_path, near=0.5)
