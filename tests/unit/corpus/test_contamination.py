"""A text that contains a test question is found, and one that only speaks of the same things is not."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
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
