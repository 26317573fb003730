"""Names and filters: renamed, dotted, and refused where no record has them."""

from __future__ import annotations

from typing import Any

import pytest

from jmlr.corpus.fields import Fields
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError

KNOWN = ("id", "text", "section")


def record(**fields: Any) -> Record:
    return Record(fields, "f: line 1")


def test_a_field_is_read_by_its_other_name_or_a_dotted_path() -> None:
    fields = Fields(KNOWN, {"text": "body", "section": "meta.chapter"})
    r = record(id=7, body=" x ", meta={"chapter": "c1"})
    assert [fields.text(r, k) for k in KNOWN] == ["7", "x", "c1"]


def test_a_key_with_a_dot_wins_over_a_path() -> None:
    assert Fields(KNOWN, {"text": "a.b"}).text(Record({"a.b": "key", "a": {"b": "path"}}, ""), "text") == "key"


NESTED = {"answers": [{"aid": 1, "texts": ["a", "b"]}, {"aid": 2, "texts": ["c"]}, {"aid": 3}], "by": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("answers.*.aid", [1, 2, 3]),
        ("answers.*.texts", [["a", "b"], ["c"], None]),
        ("answers.*.texts.*", ["a", "b", "c"]),
        ("answers.*.texts.0", ["a", "c", None]),
        ("answers.1.texts.0", "c"),
        ("answers.7.aid", None),
        ("answers.aid", None),
        ("by.*", [1, 2]),
        ("by.y, answers.0.aid", [2, 1]),
        ("nothing.*.aid", []),
        ("by.x.*", []),
    ],
)
def test_a_path_goes_through_lists_and_objects(path: str, found: Any) -> None:
    fields = Fields(KNOWN, {"text": path})
    assert fields.value(Record(NESTED, ""), "text") == found
    assert fields.has(Record(NESTED, ""), "text") == (found not in (None, []))


def test_a_path_that_leads_nowhere_in_any_record_is_an_error() -> None:
    fields = Fields(KNOWN, {"text": "answers.*.text"})
    fields.keeps(Record(NESTED, ""))
    with pytest.raises(UserError, match=r"no record has the field 'answers\.\*\.text'"):
        raise next(fields.unseen("source"))


def test_a_filter_follows_a_path() -> None:
    assert Fields(KNOWN, include={"answers.*.aid": ["3"]}).keeps(Record(NESTED, ""))
    assert not Fields(KNOWN, exclude={"answers.*.aid": ["3"]}).keeps(Record(NESTED, ""))


def test_a_list_of_one_is_read_as_what_it_holds() -> None:
    fields = Fields(KNOWN)
    assert [fields.text(record(text=t), "text") for t in (["x"], [7], [], [None])] == ["x", "7", "", ""]


def test_blanks_in_an_id_become_underscores() -> None:
    assert Fields(KNOWN).id(record(id="a b\tc")) == "a_b_c"


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        ({}, {}, "abcd"),
        ({"kind": ["note*"]}, {}, "ab"),
        ({}, {"kind": ["note*"]}, "cd"),
        ({"kind": ["note*"]}, {"tags": ["old"]}, "a"),
        ({"kind": ["note-1", "letter"], "tags": ["*"]}, {}, "ac"),
        ({}, {"tags": [""]}, "abd"),
    ],
)
def test_filters_match_patterns_of_all_included_and_no_excluded_fields(include: Any, exclude: Any, kept: str) -> None:
    records = [
        record(id="a", kind="note-1", tags=["new"]),
        record(id="b", kind="note-2", tags=["new", "old"]),
        record(id="c", kind="letter", tags=None),
        record(id="d", kind="", tags=["new"]),
    ]
    fields = Fields(KNOWN, {}, include, exclude)
    assert "".join(r.fields["id"] for r in records if fields.keeps(r)) == kept


@pytest.mark.parametrize("where", ["mapping", "include", "exclude"])
def test_a_name_that_no_record_has_is_an_error_with_the_nearest(where: str) -> None:
    given = {"mapping": {"text": "boddy"}, "include": {"boddy": ["*"]}, "exclude": {"boddy": ["x"]}}[where]
    fields = Fields(KNOWN, **{where: given})
    fields.keeps(record(id="a", body="x"))
    with pytest.raises(UserError, match=r"source: no record has the field 'boddy' .did you mean 'body'"):
        raise next(fields.unseen("source"))


def test_an_unknown_field_of_ours_is_an_error() -> None:
    with pytest.raises(UserError, match=r"we have no field 'txt' .did you mean 'text'"):
        Fields(KNOWN, {"txt": "body"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no field 'text'"),
        ("  ", "'text' is empty"),
        ([], "'text' is empty"),
        (float("nan"), "'text' is empty"),
        (["a", "b"], "'text' is list; allowed: a text or a number"),
        (True, "'text' is bool"),
        ("a\ud800", "surrogate"),
    ],
)
def test_a_required_text_is_refused_if_it_is_none(value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"f: line 1.*{said}"):
        Fields(KNOWN).text(record(id="a", **({} if value is None else {"text": value})), "text", required=True)


def test_a_field_of_nothing_is_empty_and_not_missing() -> None:
    for fields, place in ((Fields(KNOWN), ""), (Fields(KNOWN, {"text": "body"}), ", field 'body'")):
        with pytest.raises(UserError, match=rf"^f: line 1{place}: 'text' is empty$"):
            fields.text(record(text=None, body=None), "text", required=True)


def test_a_blank_around_the_name_of_a_column_is_told() -> None:
    with pytest.raises(UserError, match=r"no field 'text' \(there is ' text', with a blank around it\); 'fields' can"):
        Fields(KNOWN).text(Record({"id": "a", " text": "x"}, "f"), "text", required=True)
