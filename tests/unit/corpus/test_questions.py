"""Every form of options and answers that we promise is read; every other is an error that names the question."""

from __future__ import annotations

from typing import Any

import pytest

from jmlr.corpus.fields import Fields
from jmlr.corpus.questions import FIELDS, SCHEMA, QuestionReader
from jmlr.corpus.records import Record
from jmlr.runtime.errors import UserError

OPTIONS = {"A": "malaria", "B": "measles", "C": "mumps"}
GOOD = {"id": "q1", "split": "test", "question": "Which?", "options": OPTIONS, "answer": "B"}


def read(*rows: dict[str, Any], fields: dict[str, str] | None = None, **how: Any) -> list[dict[str, Any]]:
    records = (Record(row, f"f: line {n}") for n, row in enumerate(rows, 1))
    return list(QuestionReader("src", **how).read(records, Fields(FIELDS, fields)))


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {k: v for k, v in {**GOOD, **changed}.items() if k not in names}


def test_a_question_has_the_columns_of_the_schema_and_its_gold_section() -> None:
    [question] = read({**GOOD, "gold_ids": ["p 1", 2], "subject": "id", "explanation": None})
    assert list(question) == [*SCHEMA.names, "gold_section"]
    assert question["gold_ids"] == ["p_1", "2"]
    assert (question["dataset"], question["answer_text"], question["explanation"]) == ("src", "measles", "")


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (OPTIONS, "B", 1),
        (OPTIONS, "measles", 1),
        (OPTIONS, 1, 1),
        (OPTIONS, "0", 0),
        ({"1": "x", "2": "y"}, "2", 1),
        ({"1": "x", "2": "y"}, 1, 0),
        (["x", "y"], "B", 1),
        (["x", "y"], 0, 0),
        (["x", "y"], "y", 1),
        ([4, 3.5], "3.5", 1),
        ('{"A": "x", "B": "y"}', "B", 1),
        ('["x", "y"]', "A", 0),
        ({"A": "same", "B": "same", "C": "right"}, "C", 2),
    ],
)
def test_an_answer_is_a_key_a_letter_an_index_or_a_text(options: Any, answer: Any, right: int) -> None:
    assert read(without(options=options, answer=answer))[0]["answer"] == right


def test_the_answers_text_settles_what_the_answer_means() -> None:
    options = {"A": "B", "B": "C", "C": "A", "D": "D"}
    assert read(without(options=options, answer="C", answer_text="A"))[0]["answer"] == 2
    assert read(without(options=options, answer="C", answer_text="C"))[0]["answer"] == 1
    assert read(without(options=options, answer="D"))[0]["answer"] == 3


def test_the_answers_text_alone_is_enough() -> None:
    assert read(without("answer", answer_text="mumps"))[0]["answer"] == 2


def test_an_open_question_has_its_answer_as_text() -> None:
    row = {"id": "t", "definition": "high temperature", "term": "fever", "module": "m 1"}
    names = {"question": "definition", "answer": "term", "gold_section": "module"}
    [question] = read(row, fields=names, open=True, split="test", dataset="terms")
    assert (question["answer"], question["options"], question["answer_text"]) == (-1, [], "fever")
    assert (question["dataset"], question["gold_section"]) == ("terms", "m_1")


def test_the_options_split_and_dataset_win_over_the_records() -> None:
    row = {**GOOD, "dataset": "own"}
    assert [(q["dataset"], q["split"]) for q in read(row)] == [("own", "test")]
    assert [(q["dataset"], q["split"]) for q in read(row, dataset="d", split="dev")] == [("d", "dev")]


def test_one_term_is_never_asked_for_in_two_splits() -> None:
    rows = [{"id": f"q{i}", "question": "d", "answer": "Fever " if i % 2 else "fever"} for i in range(40)]
    found = read(*rows, open=True, split="hash", shares={"train": 0.5, "test": 0.5})
    assert len({q["split"] for q in found}) == 1
    closed = read(*(without(id=f"q{i}") for i in range(40)), split="hash", shares={"train": 0.5, "test": 0.5})
    assert {q["split"] for q in closed} == {"train", "test"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (without("options"), "no options; allowed: at least two in 'options', or 'open: true'"),
        (without(options={}), "no options"),
        (without(options={"A": "x"}), "must be 2 to 26 texts"),
        (without(options=list(range(27))), "must be 2 to 26 texts"),
        (without(options="A|B"), "'options' is a text that is no JSON"),
        (without(options={"A": "x", "B": ""}), "option 'B' is empty"),
        (without(options={"A": "x", "B": ["y"]}), "option 'B' is list"),
        (without("answer"), "no answer; allowed: one of A, B, C"),
        (without(answer="E"), "answer 'E' is none of the options; allowed: A, B, C, an index from 0 to 2"),
        (without(answer=3), "answer '3' is none of the options"),
        (without(answer=True), "'answer' is bool"),
        (without(answer="a very private answer"), "answer .a text of 21 characters. is none"),
        (without(answer="A", answer_text="measles"), "'answer' names option A, but 'answer_text' is not its text"),
        (without(answer=0, answer_text="measles"), "counted from 1"),
        (without(options={"A": "x", "B": "x"}), "options A and B are the same text, and one of them is the answer"),
        (without(options=["B", "A"], answer="A"), "'A' is the key of one option and the text of another"),
        (without("question"), "no field 'question'"),
        (without("id"), "no field 'id'"),
        (without("split"), "no field 'split'"),
    ],
)
def test_a_bad_question_is_refused_in_one_line_without_its_text(row: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^f: line 1:.*{said}") as caught:
        read(row)
    assert "\n" not in str(caught.value)
    assert "private" not in str(caught.value)


def test_an_id_given_twice_names_both_places_even_over_sources() -> None:
    ids: dict[str, str] = {}
    read(GOOD, ids=ids)
    with pytest.raises(UserError, match=r"f: line 1: question 'q1': the id was there before .f: line 1."):
        read(GOOD, ids=ids)


def test_no_records_are_no_questions() -> None:
    with pytest.raises(UserError, match="src: no questions"):
        read()


def test_an_open_question_needs_an_answer() -> None:
    with pytest.raises(UserError, match="an open question without an answer"):
        read(without("options", "answer"), open=True)


def test_a_renamed_field_that_no_record_has_is_an_error() -> None:
    with pytest.raises(UserError, match="src: no record has the field 'explain'"):
        read(GOOD, fields={"explanation": "explain"})
