"""Which option is right: every form of options and answers, and sets that count from another number than was said."""

from __future__ import annotations

from typing import Any

import pytest
from test_questions import OPTIONS, read, without

from jmlr.runtime.errors import UserError

# -------------------------------------------------------------------------------------------------------- which edition
FOUR = ["a", "b", "c", "d"]


@pytest.mark.parametrize("unusable", ["error", "drop"])
@pytest.mark.parametrize(
    ("answers", "how", "said"),
    [
        ((1, 2, 0), "from_1", "answer '0' is none of the options, counted from 1: .*'answer_index: from_0'"),
        ((1, 2, 4), "from_0", "answer '4' is none of the options, counted from 0: .*'answer_index: from_1'"),
        ((0, 1, 4), "auto", "answer '4' is none of the options, but one past the last index: .*'answer_index: from_1'"),
        ((1, 2, 3), "auto", "answer '1' is an index, and no answer is 0: .*'answer_index: from_0' or 'from_1'"),
        (("1", "2", "3"), "auto", "no answer is 0"),
        ((1.0, 2.0, 3.0), "auto", "no answer is 0"),
        (("1.0", "4.0", "3"), "auto", "one past the last index"),
    ],
)
def test_a_set_that_counts_otherwise_is_refused_whatever_unusable_says(
    answers: Any, how: str, said: str, unusable: str
) -> None:
    rows = [without(id=f"q{i}", options=FOUR, answer=a) for i, a in enumerate(answers)]
    with pytest.raises(UserError, match=said):
        read(*rows, answer_index=how, unusable=unusable, most_unusable=1.0)


def test_numbers_are_indices_from_0_where_one_is_0_or_a_text_proves_it() -> None:
    rows = [without(id=f"q{i}", options=FOUR, answer=a) for i, a in enumerate((1, 0, "3", 2.0))]
    assert [q["answer"] for q in read(*rows)] == [1, 0, 3, 2]
    assert read(without(options=FOUR, answer=1, answer_text="b"))[0]["answer"] == 1


@pytest.mark.parametrize(
    ("how", "text", "other"), [("auto", "a", "from_1"), ("from_0", "a", "from_1"), ("from_1", "b", "from_0")]
)
def test_a_text_that_agrees_with_the_other_count_names_the_edition(how: str, text: str, other: str) -> None:
    with pytest.raises(UserError, match=f"not its 'answer_text', counted from .*'answer_index: {other}'"):
        read(without(options=FOUR, answer=1, answer_text=text), answer_index=how, unusable="drop")


def test_a_number_that_is_an_options_text_is_doubted_where_other_answers_are_indices() -> None:
    digits = without(id="q1", options=["1", "2", "3"], answer=2)
    assert read(digits)[0]["answer"] == 1
    with pytest.raises(UserError, match="q1': answer '2' is the text of one option, and other answers are indices"):
        read(without(id="q0", options=FOUR, answer=0), digits)
    assert read({**digits, "answer_text": "3"})[0]["answer"] == 2


def test_a_number_of_an_option_that_is_not_there_tells_nothing_of_the_edition() -> None:
    row = without("options", a="x", b="y", c="z", d=None, answer=3)
    with pytest.raises(UserError, match="allowed: 0 to 2; 'unusable: drop'"):
        read(row, fields={"options": "a, b, c, d"}, answer_index="from_0")


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (OPTIONS, "b", 1),
        (OPTIONS, "Measles", 1),
        ({"a": "x", "b": "y"}, "B", 1),
        ({"A": "aa", "B": "Aa"}, "Aa", 1),
    ],
)
def test_an_answer_is_read_in_any_case_where_it_is_none_exactly(options: Any, answer: str, right: int) -> None:
    assert read(without(options=options, answer=answer))[0]["answer"] == right


def test_a_letter_in_another_case_that_is_a_text_too_is_refused() -> None:
    with pytest.raises(UserError, match="'c' is the key of one option and the text of another"):
        read(without(options={"A": "x", "B": "C ", "C": "z"}, answer="c"))


# -------------------------------------------------------------------------------------------- forms of options and answers
def test_options_that_parquet_filled_up_with_null_are_left_out() -> None:
    nan = float("nan")
    for options in ({**OPTIONS, "D": None, "E": None}, {**OPTIONS, "D": nan}, [*OPTIONS.values(), None, nan]):
        assert read(without(options=options))[0]["options"] == list(OPTIONS.values())
    for options in ({"A": "x", "B": None, "C": "z"}, {"A": "x", "B": nan, "C": "z"}, ["x", nan, "z"]):
        with pytest.raises(UserError, match="option 'B' is empty"):
            read(without(options=options, answer="C"))


@pytest.mark.parametrize("answer", [["B"], ["B", "B"], ["B", None], ["measles", "B"], [" measles "]])
def test_a_list_of_one_answer_is_that_answer(answer: Any) -> None:
    assert read(without(answer=answer))[0]["answer"] == 1


def test_a_list_without_an_answer_is_none() -> None:
    with pytest.raises(UserError, match="no answer; allowed: one of A, B, C"):
        read(without(answer=[None]))


@pytest.mark.parametrize("answer", [["C", "A"], "C,A", "C; a", "C and A", ["mumps", "A"]])
def test_several_right_answers_are_unusable_unless_the_first_is_asked_for(answer: Any) -> None:
    with pytest.raises(UserError, match=r"2 right answers; allowed: one .'several_answers: first' takes the first"):
        read(without(answer=answer))
    assert read(without(answer=answer), several="first")[0]["answer"] == 2


def test_a_text_with_a_comma_is_an_options_text_first() -> None:
    assert read(without(options={"A": "A, B", "B": "C", "C": "x"}, answer="A, B"))[0]["answer"] == 0


def test_several_numbers_count_as_one_does() -> None:
    how = {"options": FOUR, "answer": "2, 4"}
    assert read(without(**how), several="first", answer_index="from_1")[0]["answer"] == 1


def test_an_open_question_may_have_its_answer_in_a_list() -> None:
    row = without("options", answer=["fever", "Fever "])
    assert read(row, open=True)[0]["answer_text"] == "fever"
    with pytest.raises(UserError, match="2 right answers"):
        read({**row, "answer": ["fever", "chills"]}, open=True)
    assert read({**row, "answer": ["fever", "chills"]}, open=True, several="first")[0]["answer_text"] == "fever"
