"""Cutting loses no word, keeps the limit, and cuts where sentences end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmlr.corpus.sentences import cut, sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Fever is common. It passes.", 2),
        ("E. coli grows here. So does S. aureus.", 2),
        ("Give 5.2 mg (e.g. Aspirin) to Dr. House. See Fig. 3 now!", 2),
        ('He said "Stop." She left. (It was late.) Then night fell?', 4),
        ("no capital. no border.", 1),
        ("Do this: - Wash hands - Wear gloves", 3),
        ("", 0),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, count: int) -> None:
    found = sentences(text)
    assert len(found) == count, found
    assert " ".join(found) == " ".join(text.split())


def text_of(lengths: list[int]) -> str:
    rng = random.Random(0)
    return " ".join("X" + " ".join(f"w{rng.randrange(1000)}" for _ in range(n)) + "." for n in lengths)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(5, 40))
def test_pieces_without_overlap_are_the_text(lengths: list[int], words: int) -> None:
    text = text_of(lengths)
    pieces = cut(text, words)
    assert " ".join(pieces) == text
    assert all(0 < len(p.split()) <= words for p in pieces)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(5, 40), st.integers(1, 39))
def test_pieces_with_overlap_keep_the_limits_and_every_word(lengths: list[int], words: int, overlap: int) -> None:
    text = text_of(lengths)
    pieces = cut(text, words, min(overlap, words - 1))
    assert all(0 < len(p.split()) <= words for p in pieces)
    position, all_words = 0, text.split()
    for number, piece in enumerate(p.split() for p in pieces):
        shared = next(s for s in range(len(piece)) if all_words[position - s : position - s + len(piece)] == piece)
        assert shared <= (overlap if number else 0)
        position += len(piece) - shared
    assert position == len(all_words)


def test_overlap_is_whole_sentences() -> None:
    assert cut("A b c. D e. F g h. I j.", most=5, overlap=3) == ["A b c. D e.", "D e. F g h.", "F g h. I j."]


def test_a_short_text_stays_as_it_is() -> None:
    assert cut("two\n  words", most=2) == ["two\n  words"]


def test_a_sentence_longer_than_a_piece_is_cut_within() -> None:
    assert cut("a b c d e f g", most=3, overlap=2) == ["a b c", "d e f", "g"]
