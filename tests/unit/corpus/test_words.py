"""One definition of a word holds for measuring, cutting and comparing, in scripts with and without blanks."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from jmlr.corpus.words import _SINGLE, _WORD, between, count, one_line, plain, spans, weight, words

TEXTS = st.text(st.sampled_from("a1. ,「」（）患者はをアスピリンーไทยणีمرضα\u00ad\u0301\n"), max_size=40)


@pytest.mark.parametrize(
    ("text", "found", "length"),
    [
        ("Fever of 38.5 °C, don't", ["fever", "of", "38", "5", "c", "don", "t"], 5),
        ("患者，男，34岁。", ["患", "者", "男", "34", "岁"], 5),
        ("アスピリンを投与", ["アスピリン", "を", "投", "与"], 4),
        ("ปวดหัว", ["ป", "ว", "ด", "หั", "ว"], 5),
        ("हिन्दी में", ["हिन्दी", "में"], 2),  # vowel signs are part of a word
        ("مُحَمَّد يشكو", ["مُحَمَّد", "يشكو"], 2),
        ("боль в груди", ["боль", "в", "груди"], 3),
        ("당뇨병 환자", ["당뇨병", "환자"], 2),
        ("hyper\u00adtension", ["hypertension"], 1),
        ("", [], 0),
    ],
)
def test_words_are_those_of_the_script(text: str, found: list[str], length: int) -> None:
    assert words(text) == [unicodedata.normalize("NFKC", w) for w in found]
    assert count(text) == length == len(spans(text))


@given(TEXTS)
def test_what_is_counted_covers_the_text_without_overlap(text: str) -> None:
    begin = 0
    for first, last in spans(text):
        assert begin <= first < last
        assert not text[begin:first].strip(), "a mark belongs to no word"
        begin = last
    assert not text[begin:].strip()


def test_a_plain_character_is_read_the_same_by_the_general_rule() -> None:
    single = regex.compile(_SINGLE, regex.V1)
    checked = 0
    for code in range(0x3000):
        char = chr(code)
        kind = unicodedata.category(char)
        if plain(char) and kind != "Cn":
            checked += 1
            assert kind[0] != "M", hex(code)
            assert kind != "Cf", hex(code)
            assert not single.match(char), hex(code)
            assert bool(_WORD.match(char)) == char.isalnum(), hex(code)
    assert checked > 4000


def test_line_ends_between_east_asian_characters_stand_for_no_blank() -> None:
    assert one_line("患者，\n男  性\nCT 检查") == "患者，男 性 CT 检查"
    assert one_line("a\n b") == "a b"
    assert one_line("당뇨병\n환자") == "당뇨병 환자"
    assert (between("。", "\n\n", "患"), between("。", " ", "患"), between("a", "", "b")) == ("", " ", "")


def test_short_is_as_short_in_every_script() -> None:
    """The same sentence in English has 7 words."""
    assert weight("Which of the following statements is correct") == 7
    assert 4 < weight("下列说法正确的是") < 8
    assert 4 < weight("次のうち正しいものはどれか") < 10
    assert 3 < weight("ข้อใดต่อไปนี้ถูกต้อง") < 8
