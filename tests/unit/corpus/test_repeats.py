"""A question that a set asks more than once is found whatever the order of its options, and counted once on request."""

from __future__ import annotations

from typing import Any

from jmlr.corpus.repeats import contradicts, in_several_splits, left_out, repeated


def question(id: str, answer: str, *options: str, text: str = "Which drug?", split: str = "test", dataset: str = "d") -> dict[str, Any]:  # fmt: skip
    return {
        "id": id,
        "dataset": dataset,
        "split": split,
        "question": text,
        "options": list(options),
        "answer_text": answer,
    }


ASKED = [
    question("a", "One", "One", "Two"),
    question("b", "Three", "One", "Three"),
    question("c", "one", "TWO.", "one", text="which  drug:-"),
    question("d", "One", "One", "Two", split="dev"),
    question("e", "One", "One", "Two", dataset="other"),
    question("f", "x", "x", "y", text="Q?"),
    question("g", "y", "y", "x", text="Q?"),
    question("h", "x", "x", "y", text="Q?"),
]


def test_the_same_question_has_the_same_text_and_the_same_options_in_any_order() -> None:
    assert repeated(ASKED) == [[0, 2], [5, 6, 7]]


def test_questions_that_splits_share_are_found_over_all_datasets() -> None:
    assert in_several_splits(ASKED) == {("dev", "test"): [[0, 2, 3, 4]]}
    assert in_several_splits([q for q in ASKED if q["split"] == "test"]) == {}


def test_a_group_contradicts_itself_where_its_answers_differ() -> None:
    assert [contradicts(ASKED, group) for group in repeated(ASKED)] == [False, True]


def test_of_a_group_the_first_stays_and_of_a_contradiction_none() -> None:
    out = left_out(ASKED, repeated(ASKED))
    assert set(out) == {2, 5, 6, 7}
    assert out[2] == "repeated: the question of 'a'"
    assert out[5] == "repeated: the question of 'g', with different answers"
    assert out[6] == out[7] == "repeated: the question of 'f', with different answers"


def test_open_questions_are_told_apart_by_their_text_alone() -> None:
    assert repeated([question("a", "gout"), question("b", "gout"), question("c", "gout", text="Other?")]) == [[0, 1]]


def test_signs_and_numbers_tell_questions_apart() -> None:
    texts = (
        "Potassium < 3?",
        "Potassium > 3?",
        "Base excess of -5?",
        "Base excess of 5?",
        "Blood group A+",
        "Blood group A-",
    )
    assert repeated([question(str(i), "x", "x", "y", text=t) for i, t in enumerate(texts)]) == []
