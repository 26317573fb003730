"""Repeated passages are found as a dictionary would find them, whatever is in memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from jmlr.corpus import buckets
from jmlr.corpus.duplicates import Duplicates
from jmlr.runtime.errors import UserError

RNG = random.Random(0)


@pytest.mark.parametrize("waiting", [7, 1 << 16])
def test_repeated_texts_are_those_of_a_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(buckets, "WAITING", waiting)
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


def test_a_copy_follows_its_first_to_the_text_that_stays(tmp_path: Path) -> None:
    """Row 2 repeats row 1, which nearly repeats row 0: gold that was row 2 is row 0."""
    words = [f"word{i}" for i in range(100)]
    found = Duplicates(tmp_path, near=0.9)
    for row, text in enumerate((words, [*words, "more"], [*words, "more"])):
        found.add(str(row), [" ".join(text)])
    rows, stays, near = found.rows()
    assert (rows.tolist(), stays.tolist(), near) == ([1, 2], [0, 0], 1)
    found.repeated_id()
    assert not list(tmp_path.iterdir()), "files are left"


def test_a_similarity_that_banding_cannot_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"near_duplicates 0.5: allowed: 0 .no check., or 0.7 to 1"):
        Duplicates(tmp_path, near=0.5)
