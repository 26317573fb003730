"""All that is wrong is told in one go: by kind, with number and first place, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jmlr.corpus import faults as module
from jmlr.corpus.faults import Faults
from jmlr.corpus.record import Record, RecordError
from jmlr.runtime.errors import UserError


def records(count: int, broken: bool = False) -> Iterator[Record]:
    for number in range(1, count + 1):
        yield Record({"n": number}, f"f: line {number}")
    if broken:
        raise UserError("f: line 9: malformed JSON")


def told(faults: Faults) -> list[str]:
    with pytest.raises(UserError) as caught:
        faults.end()
    return str(caught.value).splitlines()


def test_nothing_wrong_is_no_error() -> None:
    faults = Faults("src")
    assert len(list(faults.readable(records(3)))) == faults.read == 3
    faults.end()


def test_one_fault_is_its_own_line() -> None:
    faults = Faults("src")
    faults.add(RecordError("f: line 1", "no text"))
    assert told(faults) == ["f: line 1: no text"]


def test_one_kind_is_one_line_with_how_many_more_there_are() -> None:
    faults = Faults("src")
    for record in faults.readable(records(1500)):
        if record.fields["n"] > 100:
            faults.add(RecordError(record.where, f"'{record.fields['n']}' is wrong", "wrong"))
    assert told(faults) == [
        "f: line 101: '101' is wrong; 999 more like it in the first 1,100 records, where reading ended"
    ]


def test_kinds_are_counted_whatever_their_values_and_the_first_is_shown() -> None:
    faults = Faults("src")
    for record in faults.readable(records(1500)):
        number = record.fields["n"]
        if number % 3 == 0:
            faults.add(RecordError(record.where, f"answer '{number}' is none", "no answer"))
        if number == 7:
            faults.add(RecordError(record.where, "no text"))
    assert told(faults) == [
        "src: 501 faults in 1,500 records; every kind with its number and its first place:",
        "  500 x f: line 3: answer '3' is none",
        "    1 x f: line 7: no text",
    ]


def test_what_cannot_be_read_further_is_told_beside_what_was_found_before() -> None:
    faults = Faults("src")
    for record in faults.readable(records(8, broken=True)):
        if record.fields["n"] == 2:
            faults.add(RecordError(record.where, "no text"))
    lines = told(faults)
    assert lines[0].startswith("src: 2 faults in the first 8 records, where reading ended")
    assert lines[1:] == ["  1 x f: line 2: no text", "  1 x f: line 9: malformed JSON"]


def test_reading_ends_after_many_faults_or_kinds_or_long_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    many, kinds, late = Faults("many"), Faults("kinds"), Faults("late")
    for record in many.readable(records(10**6)):
        many.add(RecordError(record.where, "no text"))
    for record in kinds.readable(records(10**6)):
        kinds.add(RecordError(record.where, f"kind {record.fields['n']}"))
    monkeypatch.setattr(module, "MOST_AFTER_THE_FIRST", 50)
    for record in late.readable(records(10**6)):
        if record.fields["n"] == 3:
            late.add(RecordError(record.where, "no text"))
            late.add(RecordError(record.where, "no id"))
    assert (many.read, len(kinds.kinds), late.read) == (1000, 20, 53)
    assert "in the first 53 records, where reading ended" in told(late)[0]


def test_a_try_gives_the_value_or_notes_the_fault() -> None:
    faults = Faults("src")
    assert faults.tried(int, "7") == 7
    assert faults.tried(lambda: next(records(0, broken=True))) is None
    assert told(faults) == ["f: line 9: malformed JSON"]


def test_names_that_no_record_has_are_told_unless_records_were_refused_for_them() -> None:
    faults = Faults("src")
    faults.add(RecordError("f: line 1", "no field 'x' (did you mean 'y'?)", "no field 'x'"))
    names = [RecordError("src", "no record has the field 'x'", "no field 'x'"), RecordError("src", "none has 'z'")]
    with pytest.raises(UserError) as caught:
        faults.end(names)
    assert [line.split(" x ")[1] for line in str(caught.value).splitlines()[1:]] == [
        "f: line 1: no field 'x' (did you mean 'y'?)",
        "src: none has 'z'",
    ]


def test_where_no_record_can_be_read_no_name_is_missing() -> None:
    faults = Faults("src")
    assert list(faults.readable([Record({}, "f: line 1", fault=RecordError("f: line 1", "malformed JSON"))])) == []
    with pytest.raises(UserError) as caught:
        faults.end([RecordError("src", "no record has the field 'note_id'")])
    assert str(caught.value) == "f: line 1: malformed JSON"
