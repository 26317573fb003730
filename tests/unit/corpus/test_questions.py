"""Every form of options and answers that we promise is read; every other is an error that names the question."""

from __future__ import annotations

from typing import Any

import pytest

from jmlr.corpus.answers import Answers
from jmlr.corpus.fields import Fields
from jmlr.corpus.questions import FIELDS, SCHEMA, QuestionReader
from jmlr.corpus.quotes import hidden
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError

OPTIONS = {"A": "malaria", "B": "measles", "C": "mumps"}
GOOD = {"id": "q1", "split": "test", "question": "Which?", "options": OPTIONS, "answer": "B"}


def read(*rows: dict[str, Any], fields: dict[str, str] | None = None, **how: Any) -> list[dict[str, Any]]:
    records = (Record(row, f"f: line {n}") for n, row in enumerate(rows, 1))
    answers = Answers(
        *(how.pop(k, d) for k, d in (("answer_index", "auto"), ("same_text", "error"), ("several", "unusable")))
    )
    return list(QuestionReader("src", answers=answers, **how).read(records, Fields(FIELDS, fields)))


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {k: v for k, v in {**GOOD, **changed}.items() if k not in names}


def test_a_question_has_the_columns_of_the_schema_and_its_gold_section() -> None:
    [question] = read({**GOOD, "gold_ids": ["p 1", 2], "subject": "id", "explanation": None})
    known_later = "gold_rows"  # once the passages are numbered
    assert list(question) == [*(n for n in SCHEMA.names if n != known_later), "gold_section"]
    assert question["gold_ids"] == ["p_1", "2"]
    assert (question["dataset"], question["answer_text"], question["explanation"]) == ("src", "measles", "")


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (OPTIONS, "B", 1),
        (OPTIONS, "measles", 1),
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
        (without(answer="x" * 50), f"answer '{'x' * 40}...' is none"),
        (without(answer="A", answer_text="measles"), "'answer' names option A, but 'answer_text' is not its text"),
        (without(answer=0, answer_text="measles"), "counted from 1"),
        (without(options=["x", "x", "y"]), "options A and B are the same text, and one of them is the answer"),
        (without(options={"A": "x", "B": "x"}), "all options are the same text, so that any answer is right"),
        (without(options='{"A": "x", "A": "y"}'), "'options': the key 'A' stands twice in one object"),
        (without(options='{"A": "x", "B": 1e999}'), "'options': 'B' is infinite"),
        (without(options={"A": "x", "A ": "y"}), "key 'A' stands twice in 'options'"),
        (without(options=7), "'options' is int; allowed: an object of letters, or a list"),
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


@pytest.mark.parametrize("answer", ["a private answer", 7, ["A", "private"]])
def test_no_message_shows_a_private_record(answer: Any) -> None:
    options = {"my key": "a private text", "B": "x"}
    with hidden(), pytest.raises(UserError) as caught:
        read(without(id="Mr Smith", options=options, answer=answer))
    assert not [w for w in ("Smith", "my key", "a private", "7") if w in str(caught.value)]


def test_an_id_given_twice_names_both_places_even_over_sources() -> None:
    ids: dict[str, str] = {}
    read(GOOD, ids=ids)
    with pytest.raises(UserError, match=r"f: line 1: question 'q1': the id was there before .f: line 1."):
        read(GOOD, ids=ids)


def test_ids_that_blanks_alone_tell_apart_are_one() -> None:
    with pytest.raises(
        UserError, match=r"'a_b': the id was there before .*one question per id; blanks in ids become '_'$"
    ):
        read({**GOOD, "id": "a b"}, {**GOOD, "id": "a_b"})


def test_no_records_are_no_questions() -> None:
    with pytest.raises(UserError, match="src: no questions"):
        read()


def test_an_open_question_needs_an_answer() -> None:
    with pytest.raises(UserError, match="an open question without an answer"):
        read(without("options", "answer"), open=True)


def test_a_renamed_field_that_no_record_has_is_an_error() -> None:
    with pytest.raises(UserError, match="src: no record has the field 'explain'"):
        read(GOOD, fields={"explanation": "explain"})


# ---------------------------------------------------------------------------------------------- published sets' own ways
def test_a_number_counts_from_where_the_card_says() -> None:
    options = ["1", "2", "3"]
    assert [
        read(without(options=options, answer=2), answer_index=how)[0]["answer"] for how in ("from_0", "from_1")
    ] == [2, 1]
    assert read(without(options=["B", "A"], answer=0), answer_index="from_0")[0]["answer_text"] == "B"
    for answer, how in ((4, "from_0"), (4, "from_1"), (-1, "from_0"), ("a", "from_0")):
        with pytest.raises(UserError, match=r"is none of the options; allowed: [01] to [23]; 'unusable: drop'"):
            read(without(options=options, answer=answer), answer_index=how)


def test_options_may_stand_in_columns_of_which_the_last_are_empty() -> None:
    row = without("options", a="x", b="y", c="", d=None, answer="B")
    assert read(row, fields={"options": "a, b, c, d"})[0]["options"] == ["x", "y"]
    with pytest.raises(UserError, match="option 'B' is empty"):
        read({**row, "b": "", "c": "z"}, fields={"options": "a, b, c"})


def test_one_set_of_choices_serves_all_questions() -> None:
    [question] = read(without("options", answer="maybe"), choices=["yes", "no", "maybe"])
    assert (question["options"], question["answer"]) == (["yes", "no", "maybe"], 2)


def test_the_first_of_equal_options_is_the_answer_where_that_is_asked_for() -> None:
    options = {"A": "same", "B": "right", "C": "x", "D": "right"}
    assert read(without(options=options, answer="D"), same_text="first")[0]["answer"] == 1
    assert (
        read(without(options=list(options.values()), answer=4), same_text="first", answer_index="from_1")[0]["answer"]
        == 1
    )
    assert read(without("answer", options=options, answer_text="right"), same_text="first")[0]["answer"] == 1


def test_unusable_questions_are_listed_without_their_text_and_counted() -> None:
    reader = QuestionReader("src", unusable="drop", dataset="d", most_unusable=0.8)
    rows = [GOOD, without(id="q2", answer="secret answer"), without("options", id="q3"), without("answer", id="q4")]
    found = list(reader.read((Record(r, f"f: line {i}") for i, r in enumerate(rows)), Fields(FIELDS)))
    assert [q["id"] for q in found] == ["q1"]
    assert [(r["id"], r["split"]) for r in reader.dropped] == [("q2", "test"), ("q3", "test"), ("q4", "test")]
    assert "secret" not in str(reader.dropped)
    assert "unusable: no options" in reader.dropped[1]["reason"]
    assert reader.check_counts({"test": 1}) == ""
    assert "1 question in split 'test' (3 more are unusable), 4 are expected" in reader.check_counts({"test": 4})
    assert "2 x an answer that is none" not in reader.why()
    assert "1 x no options; first: f: line 2: question 'q3'" in reader.why()


def test_more_unusable_questions_than_a_few_end_the_run_with_their_reasons() -> None:
    rows = [without(id=f"q{i}", answer="Z" if i % 20 == 3 else "B") for i in range(100)]
    with pytest.raises(UserError) as caught:
        read(*rows, unusable="drop")
    first, line = str(caught.value).splitlines()
    assert (
        first == "src: 5 of 100 questions of src/test are unusable, more than 0.03 of them ('most_unusable'); reasons:"
    )
    assert line == "  5 x an answer that is none of the options; first: f: line 4: question 'q3'"
    assert len(read(*rows, unusable="drop", most_unusable=0.05)) == 95


def test_a_small_split_that_is_unusable_is_not_hidden_by_a_large_one() -> None:
    rows = [without(id=f"q{i}", split="test" if i < 3 else "train", answer="Z" if i < 3 else "B") for i in range(200)]
    with pytest.raises(UserError, match="3 of 3 questions of src/test are unusable"):
        read(*rows, unusable="drop")


# --------------------------------------------------------------------------------------------------- all faults in one go
def test_all_faults_of_an_entry_are_told_by_kind_with_their_number_and_first_place() -> None:
    rows = [
        without(id="q0"),
        without("question", id="q1"),
        without("question", "options", id="q2"),
        without("options", id="q3"),
        without(id="q3"),
        without(id="q4", answer="Z"),
    ]
    with pytest.raises(UserError) as caught:
        read(*rows, fields={"explanation": "explain"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "src: 7 faults in 6 records; every kind with its number and its first place:"
    assert [line[:5] for line in lines[1:]] == ["  2 x", "  2 x", "  1 x", "  1 x", "  1 x"]
    for line, said in zip(
        lines[1:],
        (
            "f: line 2: no field 'question'",
            "f: line 3: question 'q2': no options",
            "f: line 5: question 'q3': the id was there before (f: line 4)",
            "f: line 6: question 'q4': answer 'Z' is none",
            "src: no record has the field 'explain'",
        ),
        strict=True,
    ):
        assert said in line


def test_filters_that_leave_nothing_are_an_error() -> None:
    records = [Record(GOOD, "f: line 1")]
    with pytest.raises(UserError, match="no questions: 'include', 'exclude' and 'splits' leave out 1 of 1 records"):
        list(QuestionReader("src").read(records, Fields(FIELDS, exclude={"id": ["q*"]})))


def test_ids_are_made_by_dataset_split_and_number() -> None:
    rows = [without("id", split=s) for s in ("dev", "test", "test")]
    assert [q["id"] for q in read(*rows, make_ids=True, dataset="my set")] == [
        "my_set-dev-00000",
        "my_set-test-00000",
        "my_set-test-00001",
    ]


def test_listed_ids_have_their_split_and_only_wanted_splits_are_taken() -> None:
    rows = [without(id=f"q{i}", split="train") for i in range(3)]
    assert [q["split"] for q in read(*rows, split_of={"q1": "test"})] == ["train", "test", "train"]
    assert [q["id"] for q in read(*rows, split_of={"q1": "test"}, splits=["test"])] == ["q1"]


def test_listed_ids_that_no_question_has_are_told_and_a_split_of_such_ids_is_an_error() -> None:
    def checked(lists: dict[str, str]) -> str:
        reader = QuestionReader("src", split_of=lists)
        list(reader.read([Record(without(id=f"q{i}"), f"f: line {i}") for i in range(3)], Fields(FIELDS)))
        return reader.check_listed()

    assert checked({"q1": "test"}) == ""
    assert checked({"q1": "test", "q8": "test", "q9": "test"}) == (
        "src: 2 of 3 ids of 'split_ids' are no question's; the first: 'q8'"
    )
    with pytest.raises(UserError, match="split_ids: none of the 2 ids of split 'dev' is a question's"):
        checked({"q1": "test", "q8": "dev", "q9": "dev"})


def test_filters_leave_questions_out() -> None:
    rows = [without(id=f"q{i}", subject=s) for i, s in enumerate(("anatomy", "law"))]
    records = (Record(row, "f") for row in rows)
    found = QuestionReader("src").read(records, Fields(FIELDS, include={"subject": ["anat*"]}))
    assert [q["id"] for q in found] == ["q0"]


def test_cleaning_reaches_options_and_explanations() -> None:
    row = without(options={"A": "&lt;5&nbsp;mg", "B": "x"}, answer="A", explanation="<p>So.</p>")
    found = next(QuestionReader("src").read([Record(row, "f")], Fields(FIELDS, clean=True)))
    assert (found["answer_text"], found["explanation"]) == ("<5 mg", "So.")
