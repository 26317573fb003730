"""A text that contains a test question is found, and one that only speaks of the same things is not."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmlr.corpus.contamination import HeldOut
from jmlr.corpus.shingles import ngrams, word_hashes

VIGNETTE = (
    "A 67-year-old man with transitional cell carcinoma of the bladder comes to the physician because of a 2-day "
    "history of ringing in his ear. Which of the following actions of the drug is the most likely cause?"
)
OTHER = (
    "A 35-year-old woman comes to the physician because of itchy, watery eyes for the past week and sneezing. "
    "Which of the following is the most appropriate treatment?"
)


def question(text: str, answer: str = "cisplatin", id: str = "q1") -> dict[str, Any]:
    return {"id": id, "dataset": "d", "question": text, "answer_text": answer}


TESTS = HeldOut([question(VIGNETTE), question(OTHER, "ketotifen", "q2"), question("Cause of gout?", "urate", "q3")])


def test_a_passage_with_a_question_inside_is_found_whatever_its_case_and_punctuation() -> None:
    copied = "Exam preparation. " + VIGNETTE.upper().replace(",", " ,").replace(".", " --") + " Answer: C."
    match = TESTS.in_text(copied)
    assert match is not None
    assert (match.id, match.dataset) == ("q1", "d")
    assert match.share > 0.9


def test_half_a_question_counts_and_a_shared_phrase_does_not() -> None:
    words = VIGNETTE.split()
    assert TESTS.in_text(" ".join(words[: int(len(words) * 0.8)])) is not None
    assert TESTS.in_text(" ".join(words[: len(words) // 2])) is None
    assert TESTS.touched(" ".join(words[: len(words) // 2])) is not None
    template = "Which of the following is the most appropriate treatment of cancer of the bladder in a man?"
    assert TESTS.in_text(template) is None
    assert TESTS.in_question(question(template)) is None


def test_a_short_question_is_no_passage_but_repeats_itself_as_a_question() -> None:
    assert TESTS.too_short == 1
    assert TESTS.in_text("Cause of gout? Too much urate.") is None
    found = TESTS.in_question(question("cause of  GOUT?", "Urate"))
    assert found is not None
    assert found.id == "q3"
    assert TESTS.in_question(question("Cause of gout?", "purines")) is None


def test_a_training_question_that_was_reworded_at_its_end_is_found() -> None:
    reworded = VIGNETTE.replace("Which of the following actions of the drug is the most likely cause", "What did it")
    assert TESTS.in_question(question(reworded, "another")) is not None


def test_the_phrases_of_short_questions_make_no_match_and_the_whole_of_one_does() -> None:
    tests = HeldOut([question("Which of the following is not a feature of anaphylaxis?", id="short")])
    other = question("Which of the following is not a feature of brain death?", "b")
    assert tests.in_question(other) is None
    copied = question("So tell me: which of the following is NOT a feature of anaphylaxis, and why?", "c")
    assert tests.in_question(copied) is not None
    assert tests.touched("Which of the following is not a feature of anaphylaxis?") is None, "shorter than an n-gram"


def test_texts_without_any_common_run_are_clean() -> None:
    rng = random.Random(0)
    words = (VIGNETTE + " " + OTHER).split()
    for _ in range(200):
        assert TESTS.in_text(" ".join(rng.sample(words, len(words)))) is None
    assert TESTS.in_text("") is None
    assert HeldOut([]).in_text(VIGNETTE) is None


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.integers(1, 5))
def test_ngrams_hash_equal_runs_equally_and_different_ones_differently(words: list[str], n: int) -> None:
    hashed = ngrams(word_hashes(" ".join(words)), n).tolist()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(hashed) == len(runs)
    assert len(set(hashed)) == len(set(runs))
    assert len(set(zip(hashed, runs, strict=True))) == len(set(runs))


def test_words_are_letters_and_digits() -> None:
    assert np.array_equal(word_hashes("5-HT₂ receptor_s, (naïve)."), word_hashes("5 ht2 receptor s NAÏVE"))


ASKED = {
    "Chinese": "患者，男，34岁，因反复上腹部疼痛3年，加重伴黑便2天入院。胃镜检查见十二指肠球部溃疡，幽门螺杆菌阳性。该患者首选的治疗方案是",
    "Japanese": "34歳の男性。3年前から繰り返す上腹部痛を主訴に来院した。内視鏡検査で十二指腸潰瘍を認め、ピロリ菌陽性であった。最も適切な治療はどれか。",
    "Thai": "ผู้ป่วยชายอายุ 34 ปี มาด้วยอาการปวดท้องเป็น ๆ หาย ๆ มา 3 ปี ส่องกล้องพบแผลในลำไส้เล็กส่วนต้น การรักษาที่เหมาะสมที่สุดคือข้อใด",
    "Arabic": "مريض يبلغ من العمر ٣٤ عامًا يشكو من ألم متكرر في الجزء العلوي من البطن أظهر التنظير قرحة في الاثني عشر. ما هو العلاج الأنسب لهذا المريض؟",
    "Hindi": "34 वर्षीय पुरुष तीन वर्षों से पेट के ऊपरी भाग में बार-बार दर्द की शिकायत के साथ आया। एंडोस्कोपी में ग्रहणी में अल्सर मिला। सबसे उपयुक्त उपचार क्या है?",
    "Russian": "Мужчина 34 лет поступил с повторяющимися болями в верхней части живота. Найдена язва двенадцатиперстной кишки. Какое лечение нужно?",
}  # fmt: skip
INNOCENT = {
    "Chinese": "十二指肠球部溃疡的患者常有反复上腹部疼痛，可伴黑便。胃镜检查可以确诊，幽门螺杆菌阳性者应给予根除治疗，疗程为两周。",
    "Japanese": "十二指腸潰瘍の患者は上腹部痛を繰り返すことが多い。内視鏡検査で診断し、ピロリ菌陽性であれば除菌を行う。最も多い合併症は出血である。",
    "Thai": "แผลในลำไส้เล็กส่วนต้นทำให้ปวดท้องเป็น ๆ หาย ๆ การส่องกล้องช่วยยืนยันการวินิจฉัย การรักษาคือการกำจัดเชื้อ",
    "Arabic": "قرحة الاثني عشر تسبب ألمًا متكررًا في الجزء العلوي من البطن. التنظير يؤكد التشخيص، والعلاج هو القضاء على الجرثومة.",
    "Hindi": "ग्रहणी के अल्सर से पेट के ऊपरी भाग में बार-बार दर्द होता है। एंडोस्कोपी से निदान होता है और उपचार दो सप्ताह का है।",
    "Russian": "Язва двенадцатиперстной кишки вызывает боли в верхней части живота. Диагноз подтверждают при гастроскопии.",
}  # fmt: skip


@pytest.mark.parametrize("language", ASKED)
def test_a_copy_is_found_and_innocent_text_is_not_in_every_script(language: str) -> None:
    asked, innocent = ASKED[language], INNOCENT[language]
    tests = HeldOut([question(asked, "A", language)])
    assert tests.too_short == 0
    for copied in (f"{innocent}\n{asked}\n{innocent}", asked.replace("，", " ， ").replace(" ", "\n"), f"1.{asked}A"):
        match = tests.in_text(copied)
        assert match is not None, copied
        assert match.id == language
        assert match.share > 0.9
    assert tests.in_question(question(f"2. {asked}", "B")) is not None
    assert tests.in_text(innocent) is None
    assert tests.in_question(question(innocent)) is None


def test_a_stem_that_any_question_may_have_is_no_copy_in_chinese_either() -> None:
    """As short as 'which of the following is correct' is in English, though it has eight characters."""
    tests = HeldOut([question("下列说法正确的是", "甲"), question("慢性支气管炎最常见的病因是", "吸烟", "q2")])
    assert tests.too_short == 2
    assert tests.in_question(question("关于高血压，下列说法正确的是", "乙")) is None
    assert tests.in_text("慢性支气管炎最常见的病因是吸烟。") is None
    assert tests.in_question(question("下列说法正确的是", "甲")) is not None
