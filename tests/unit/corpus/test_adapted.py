"""Adapters by name, and functions of one's own, whose mistakes are one line and end nothing but their record."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jmlr.corpus.adapted import adapted
from jmlr.corpus.adapters import afrimedqa
from jmlr.corpus.answers import Answers
from jmlr.corpus.faults import Faults
from jmlr.corpus.fields import Fields
from jmlr.corpus.questions import FIELDS, QuestionReader
from jmlr.corpus.quotes import hidden
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError

OWN = """
import re

def exam(record):
    question, *options = re.split(r"\\n[A-E]\\) ", record["text"])
    yield {"id": record["nr"], "question": question, "options": options, "file": record["_file"]}

def one(record):
    return {"id": record["nr"]} if record["nr"] else None

def two(record):
    return [{"id": 1}, {"id": 2}]

def wrong(record):
    return record["nothing"]

def texts(record):
    return ["a text"]
"""
RECORD = {"nr": 7, "text": "Which?\nA) x\nB) y"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_forms.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("my_forms", None)


def made(name: str, *rows: dict[str, Any]) -> list[Record]:
    return list(adapted([Record(row, f"f: line {n}", "f.jsonl") for n, row in enumerate(rows, 1)], name))


@pytest.mark.usefixtures("own")
def test_ones_own_function_takes_options_out_of_a_text() -> None:
    [record] = made("my_forms:exam", RECORD)
    assert record.fields == {"id": 7, "question": "Which?", "options": ["x", "y"], "file": "f.jsonl"}
    assert (record.where, record.file) == ("f: line 1", "f.jsonl")


@pytest.mark.usefixtures("own")
def test_it_may_return_one_none_or_several() -> None:
    assert [r.fields["id"] for r in made("my_forms:one", RECORD, {"nr": 0}, {"nr": 9})] == [7, 9]
    assert [r.where for r in made("my_forms:two", RECORD)] == ["f: line 1: made 1", "f: line 1: made 2"]


def test_a_published_form_is_named_without_a_module() -> None:
    found = made("mirage", {"_key": "medqa", "0": {"question": "Q?"}, "1": {"question": "R?"}})
    assert [r.fields["id"] for r in found] == ["medqa-0", "medqa-1"]
    assert [r.fields for r in made("", RECORD)] == [RECORD]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("miraje", "adapter 'miraje': no such adapter (did you mean 'mirage'?); one's own is 'module:function'"),
        (":f", "allowed: 'module:function'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("my_forms:nothing", "no attribute 'nothing'"),
        ("my_forms:OWN", "no attribute 'OWN'"),
        ("my_forms:re", "not a function"),
    ],
)
def test_an_adapter_that_is_not_there_is_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(name, RECORD)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_with_a_mistake_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_forms.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"adapter 'broken_forms:f': cannot be imported: SyntaxError: .*") as caught:
        made("broken_forms:f", RECORD)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_forms:wrong", "adapter 'my_forms:wrong': KeyError: ''nothing''"),
        ("my_forms:texts", "adapter 'my_forms:texts' makes str; allowed: a dict, several, or None"),
    ],
)
def test_what_a_function_does_wrong_is_counted_with_its_first_place(name: str, said: str) -> None:
    faults = Faults("src")
    assert list(faults.readable(iter(made(name, RECORD, {"nr": 1, "text": "b"})))) == []
    with pytest.raises(UserError) as caught:
        faults.end()
    assert str(caught.value) == f"f: line 1: {said}; 1 more like it in 2 records"


@pytest.mark.usefixtures("own")
def test_what_a_function_says_of_a_private_record_is_not_shown() -> None:
    with hidden():
        [record] = made("my_forms:wrong", RECORD)
    assert str(record.fault) == "f: line 1: adapter 'my_forms:wrong': KeyError: (private)"


def test_options_of_afrimedqa_are_read_as_strictly_as_files() -> None:
    twice = '{"option1": "x", "option2": "y", "option1": "z"}'
    [record] = afrimedqa(Record({"answer_options": twice}, "a.csv: line 2"))
    assert record.fields["answer_options"] == twice  # the reader of questions refuses it, with its place
    [record] = afrimedqa(Record({"answer_options": '{"option1": "x", "option2": NaN}'}, "a.csv: line 2"))
    assert record.fields["answer_options"] == {"option1": "x", "option2": None}


@pytest.mark.parametrize("right", ["0", "3", ""])
def test_a_key_of_headqa_that_no_option_has_is_never_read_as_an_index(right: str) -> None:
    answers = [{"aid": n, "atext": text} for n, text in ((1, "x"), (2, "y"))]
    exam = {"name": "e", "data": [{"qid": "1", "qtext": "Q?", "ra": right, "answers": answers}]}
    reader = QuestionReader("src", split="test", answers=Answers("from_0"), unusable="drop", most_unusable=1.0)
    assert list(reader.read(made("headqa", exam), Fields(FIELDS, {"question": "qtext"}))) == []
    assert [r["reason"] for r in reader.dropped] == ["unusable: an answer that is none of the options"]
