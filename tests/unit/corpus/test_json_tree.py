"""JSON of any size and form: records are found, one is in memory, and what is wrong is placed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmlr.corpus.fields import Fields
from jmlr.corpus.formats.json_tree import Scanner, steps_of, walked
from jmlr.corpus.records import Reading, read_records
from jmlr.runtime.errors import UserError

HEADQA = {
    "version": "1.0",
    "exams": {
        "2013": {"name": "N13", "data": [{"qid": "1"}, {"qid": "2"}]},
        "2014": {"data": [{"qid": "1"}], "name": "N14"},
    },
}


def read(text: str, path: str = "", size: int = 1 << 16) -> list[tuple[str, dict[str, Any]]]:
    blocks = (text[i : i + size] for i in range(0, len(text), size))
    return list(walked(Scanner(blocks, "a.json"), steps_of(path)))


def records(text: str, path: str = "") -> list[dict[str, Any]]:
    return [fields for _, fields in read(text, path)]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_path_leads_to_records(indent: int | None) -> None:
    text = json.dumps(HEADQA, indent=indent)
    assert read(text, "exams.*.data") == [
        ("exams: key '2013': data: record 1", {"_key": "2013", "qid": "1"}),
        ("exams: key '2013': data: record 2", {"_key": "2013", "qid": "2"}),
        ("exams: key '2014': data: record 1", {"_key": "2014", "qid": "1"}),
    ]
    assert (
        [f["_key"] for f in records(text, "exams.*")] == [f["_key"] for f in records(text, "exams")] == ["2013", "2014"]
    )
    assert records(text, "$") == [HEADQA]
    assert records(text, "$.exams.*.data") == records(text, "exams.*.data")
    assert records('{"a": {"x": {"1": {"q": 1}}, "y": {"1": {"q": 2}}}}', "a.*.*") == [
        {"_key": "x.1", "q": 1}, {"_key": "y.1", "q": 2}
    ]  # fmt: skip
    assert records('[{"data": [{"q": 1}]}, {"data": [{"q": 2}]}]', "*.data") == [{"q": 1}, {"q": 2}]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("exam.*.data", "a.json: records: no 'exam' .did you mean 'exams'"),
        ("exams.*.dat", "a.json: exams: key '2013': records: no 'dat' .did you mean 'data'"),
        ("exams.*.data.qid", "exams: key '2013': data: records: 'qid': an array here: '\\*' takes its elements"),
        ("version.x", "version: records: 'x': no object here"),
        ("exams.*.name", "exams: key '2013': name: holds a text; allowed: an object"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(path: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(json.dumps(HEADQA), path)


def test_the_form_of_an_object_tells_its_records() -> None:
    assert records('{"7": {"q": 1}, "8": {"q": 2}}') == [{"_key": "7", "q": 1}, {"_key": "8", "q": 2}]
    assert records('{"questions": [{"q": 1}, {"q": 2}]}') == [{"q": 1}, {"q": 2}]
    assert records('{"version": {"major": 1}, "data": [{"q": 1}]}') == [{"q": 1}]
    assert records('{"data": [{"q": 1}], "version": "1"}') == [{"q": 1}]
    assert records('{\n"id": "1",\n "options": ["a", "b"], "answer": 0}') == [
        {"id": "1", "options": ["a", "b"], "answer": 0}
    ]
    assert records("{}") == records("[]") == records(" \n") == []


@pytest.mark.parametrize(
    "text",
    [
        '{"train": [{"q": 1}], "dev": [{"q": 2}]}', '{"data": [{"q": 1}], "a": 1, "b": 2}', '{"x": {"q": 1}, "y": {"q": 2}, "z": 3}',
    ],
)  # fmt: skip
def test_a_form_that_has_two_readings_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(
        UserError, match="no record, beside the records before it; 'records' names those that are meant"
    ):
        read(text)
    assert len(records(text, "$")) == 1


def test_the_fix_names_the_array_that_was_read_before() -> None:
    text = '{"license": "MIT", "data": [{"q": 1}], "n": 1}'
    with pytest.raises(
        UserError, match="'records' names those that are meant, such as 'data', or '\\$' the whole as one"
    ):
        read(text)
    assert records(text, "data") == [{"q": 1}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_object_that_is_read_as_one_record_names_the_list_that_has_the_missing_field(
    tmp_path: Path, name: str
) -> None:
    set_of_questions = {"version": 1, "license": "MIT", "questions": [{"question": "Q?"}], "n": 1}
    (tmp_path / name).write_text(json.dumps(set_of_questions))
    [record] = read_records(tmp_path / name)
    said = (
        "a.json.*: no field 'question' .*; the objects in its list 'questions' have one: 'records' can name that list$"
    )
    with pytest.raises(UserError, match=said):
        Fields(["question", "text"]).text(record, "question", required=True)
    with pytest.raises(UserError, match=r"'fields' can rename text$"):
        Fields(["question", "text"]).text(record, "text", required=True)
    [record] = read_records(tmp_path / name, Reading(records="questions"))
    assert Fields(["question"]).text(record, "question", required=True) == "Q?"


def test_json_lines_may_have_paths_too(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.json"):
        (tmp_path / name).write_text('{"d": [{"q": 1}]}\n\n{"d": [{"q": 2}, {"q": 3}]}\n')
        found = list(read_records(tmp_path / name, Reading(records="d.*")))
        assert [r.fields["q"] for r in found] == [1, 2, 3]
        assert found[2].where.endswith(f"{name}: line 3: d: record 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1},\n {"b": tru}]', "Expecting value at line 2, column 8"),
        ('[{"a": 1}\n,]', "Expecting value at line 2, column 2"),
        ('[{"a": 1}', "Expecting ',' or ']' at line 1, column 10"),
        ('{"a": {"b": 1},\n"c" {}}', "Expecting ':' at line 2, column 5"),
        ('{"a": {"b": 1}, 7: {}}', "Expecting property name enclosed in double quotes at line 1, column 17"),
        ('[{"a": "x]', "Unterminated string starting at at line 1, column 8"),
        ('[{"a": 1}] {}', "Extra data at line 1, column 12"),
        ('[{"a": "\x01"}]', "Invalid control character at at line 1, column 9"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1 << 16])
def test_malformed_json_is_placed_whatever_the_blocks(text: str, said: str, size: int) -> None:
    with pytest.raises(UserError, match=f"a.json: malformed JSON: {said}".replace("(", r"\(")):
        read(text, size=size)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5), st.integers(1, 9), st.sampled_from([None, 1])
)
def test_any_array_reads_as_pythons_decoder_reads_it_whatever_the_blocks(
    rows: list[dict[str, Any]], size: int, indent: int | None
) -> None:
    for ascii in (True, False):
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
        assert [fields for _, fields in read(text, size=size)] == json.loads(text)


def blocks(records: int) -> Iterator[str]:
    yield '{"skipped": [' + ",".join(['{"x": 1}'] * 10) + '], "data": {'
    for i in range(records):
        yield f'{"," if i else ""}"{i}": {{"q": "{"x" * 1000}"}}'
    yield "}}"


def test_memory_does_not_grow_with_the_records_of_one_value() -> None:
    peaks = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        assert sum(1 for _ in walked(Scanner(blocks(count), "a.json"), ["data", "*"])) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200 * 20_000  # the keys, to see that none stands twice; the texts have 20 MB


def test_a_long_value_takes_time_in_its_length() -> None:
    reads = []

    class Counted(Scanner):
        def _more(self) -> bool:
            reads.append(len(self.text))
            return super()._more()

    text = '[{"a": "' + "x" * 1_000_000 + '"}]'
    pieces = (text[i : i + 1000] for i in range(0, len(text), 1000))
    assert len(list(walked(Counted(pieces, "a.json"), []))) == 1
    assert sum(reads) < 3 * len(text)
