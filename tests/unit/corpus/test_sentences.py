"""Cutting loses no word, keeps the limit, and cuts where sentences end."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmlr.corpus.sentences import cut, sentences, words_in


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


LANGUAGES = {
    "Russian": [
        "У больного 34 лет боли в груди.",
        "На рис. 2 показана ЭКГ, АД 120/80 мм рт. ст., пульс 80.",
        "По данным И. П. Иванова, это т. е. норма.",
    ],
    "Greek": ["Ο ασθενής είναι 34 ετών.", "Ποια είναι η διάγνωση;", "Έχει πόνο στο στήθος."],
    "Arabic": ["مريض عمره ٣٤ سنة يشكو من ألم.", "ما هو التشخيص الأكثر احتمالاً؟", "العلاج هو الأسبرين."],
    "Hindi": ["रोगी की आयु 34 वर्ष है।", "डॉ. शर्मा ने 2.5 मि.ग्रा. दवा दी।", "निदान क्या है?", "उत्तर बताइए।"],
    "Spanish": ["El paciente tiene 34 años.", "¿Cuál es el diagnóstico?", "Según el Dr. Pérez, es normal."],
    "Czech": ["Pacient má bolest.", "Štítná žláza je zvětšená."],
    "Armenian": ["Հիվանդը 34 տարեկան է։", "Նա ցավ ունի։"],
    "Thai": ["ผู้ป่วยชายปวดหัว", "ตรวจร่างกายปกติ"],
    "Korean": ["환자는 34세 남성이다.", "진단은 무엇인가?"],
}
WITHOUT_BLANKS = {
    "Chinese": ["患者，男，34岁。", "体温37.5℃，血压120/80mmHg。", "他说：“我很痛。”", "最可能的诊断是什么？！", "应选用的药物是阿司匹林！"],
    "Japanese": ["患者は34歳の男性である。", "「痛いです。」と述べた。", "最も考えられる診断はどれか。"],
}  # fmt: skip


@pytest.mark.parametrize("language", [*LANGUAGES, *WITHOUT_BLANKS])
def test_sentences_end_where_they_do_in_other_scripts_and_a_cut_keeps_their_blanks(language: str) -> None:
    found, blank = LANGUAGES.get(language, []), " "
    found, blank = (found, blank) if found else (WITHOUT_BLANKS[language], "")
    text = blank.join(found)
    assert sentences(text) == found
    longest = max(words_in(found))
    pieces = cut(text * 3 if not blank else " ".join([text] * 3), longest)
    assert blank.join(pieces) == blank.join([text] * 3), "a blank came in, or something was lost"
    for piece in pieces:
        assert words_in([piece])[0] <= longest
        assert set(sentences(piece)) <= set(found), "cut within a sentence"
    with_overlap = cut(blank.join([text] * 3), 2 * longest, longest)
    assert set(sentences(blank.join(with_overlap))) == set(found)


def test_lines_and_paragraphs_of_chinese_are_joined_without_blanks() -> None:
    text = "患者，\n男，34岁。\n因胸痛入院。\n\n查体：无异常。\n\nCT normal. Next step?"
    assert cut(text, 100) == [text]
    joined = cut(text + "。" + "痛" * 90, 60)
    assert joined[0].startswith("患者，男，34岁。因胸痛入院。查体：无异常。 CT normal. Next step?")


@pytest.mark.parametrize("text", ["痛" * 100, "アスピリン" * 20 + "を" * 100, "ปวดหัว" * 40, "痛，" * 50])
def test_a_sentence_without_blanks_that_is_too_long_is_cut_between_characters(text: str) -> None:
    pieces = cut(text, 30)
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert all(0 < words_in([p])[0] <= 30 for p in pieces)
    assert not any(p.startswith("，") for p in pieces), "a piece begins with a mark"


@given(st.text(st.sampled_from('ab AB.!? "(’)\n-•19'), max_size=60))
def test_the_general_rule_cuts_english_as_the_fast_one_does(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fast = sentences(text)
        patch.setattr("jmlr.corpus.sentences._NEEDS_ALL", re.compile(""))
        assert sentences(text) == fast


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
