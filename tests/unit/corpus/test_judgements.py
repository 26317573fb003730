"""Judgements are read in the forms of BEIR, its hub and TREC; a grade of 0 is no gold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from jmlr.corpus.judgements import Judgements, read_judgements
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError

HEAD = "query-id\tcorpus-id\tscore\n"


def read(folder: Path, files: dict[str, str], place: str = "s/*", **more: Any) -> Judgements:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return read_judgements(place, {"s": folder}, **more)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qrels/test.tsv", f"{HEAD}q 1\tp1\t2\nq 1\tp2\t0\nq 1\tp3\t1\n"),
        ("test.jsonl", '{"query-id": "q 1", "corpus-id": "p1", "score": 2}\n{"query-id": "q 1", "corpus-id": "p3", "score": 1.0}\n'),
        ("test.trec", "\ufeffq_1 0 p1 2\nq_1 Q0 p2 -1\n\nq_1 0 p3 1\n"),
    ],
)  # fmt: skip
def test_the_forms_of_beir_its_hub_and_trec_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    found = read(tmp_path, {name: text}, "s/*.trec" if name.endswith("trec") else "s/*")
    assert (found.split, found.grades) == ({"q_1": "test"}, {"q_1": {"p1": 2, "p3": 1}})


def test_judgements_are_read_inside_the_archive_that_beir_publishes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/corpus.jsonl", '{"_id": "p"}\n')
        archive.writestr("set/qrels/train.tsv", f"{HEAD}a\tp\t1\n")
        archive.writestr("set/qrels/test.tsv", f"{HEAD}b\tp\t1\n")
    assert read(tmp_path, {}, "s/*qrels/*.tsv").split == {"a": "train", "b": "test"}


def test_the_split_is_the_files_name_or_the_given_one(tmp_path: Path) -> None:
    files = {"qrels/train.tsv": f"{HEAD}a\tp\t1\n", "qrels/validation.tsv": f"{HEAD}b\tp\t1\n"}
    assert read(tmp_path, files).split == {"a": "train", "b": "dev"}
    assert read(tmp_path, {}, split="test").split == {"a": "test", "b": "test"}
    assert read_judgements("s/*", {"s": tmp_path}, splits=["dev"]).split == {"b": "dev"}


def test_queries_get_their_gold_and_those_without_any_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, {"test.tsv": f"{HEAD}a\tp1\t2\nb\tp1\t0\n"})
    records = [Record({"_id": i, "text": i}, "f: line 1") for i in "abc"]
    [only] = found.of(records, lambda r: r.fields["_id"])
    assert only.fields == {"_id": "a", "text": "a", "split": "test", "gold_ids": ["p1"], "gold_grades": [2]}
    assert (found.unjudged, found.unknown()) == (2, "")


def test_judged_queries_that_are_not_there_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, {"test.tsv": f"{HEAD}a\tp1\t2\nx 1\tp1\t0\ny\tp1\t1\n"})
    assert len(list(found.of([Record({"_id": "a"}, "f: line 1")], lambda r: r.fields["_id"]))) == 1
    assert found.unknown() == "2 of 3 judged queries are not there ('qrels'); the first: 'x_1'"


def test_a_judgement_may_stand_twice_with_one_grade(tmp_path: Path) -> None:
    assert read(tmp_path, {"test.tsv": f"{HEAD}a\tp\t2\na\tp\t2\n"}).grades == {"a": {"p": 2}}


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        ({"test.tsv": f"{HEAD}a\tp\tgood\n"}, "s/*", r"test.tsv: line 2: grade 'good'; allowed: a whole number"),
        ({"test.tsv": f"{HEAD}a\tp\tinf\n"}, "s/*", "grade 'inf'"),
        ({"test.tsv": "query\tdoc\tscore\na\tp\t1\n"}, "s/*", "no judgement; allowed: the fields query-id, corpus-id, score"),
        ({"test.tsv": f"{HEAD}a\tp\t2\na\tp\t0\n"}, "s/*", "line 3: passage 'p' has the grade 0 for query 'a', and 2 before"),
        ({"test.txt": "a p 1\n"}, "s/*.txt", "line 1: 3 words; allowed: query, iteration, passage, grade"),
        ({"test.tsv": HEAD + "a\tp\t1\n"}, "other/*", r"qrels: 'other/\*': allowed: SOURCE/FILE; sources: s"),
        ({"test.tsv": HEAD + "a\tp\t1\n"}, "s", "qrels: 's': allowed: SOURCE/FILE"),
        ({"test.tsv": HEAD + "a\tp\t1\n", "train.tsv": HEAD + "a\tp\t1\n"}, "s/*",
         "query 'a' is judged in split 'train' and in 'test'"),
    ],
)  # fmt: skip
def test_bad_judgements_are_one_line(tmp_path: Path, files: dict[str, str], place: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, files, place)
    assert "\n" not in str(caught.value)


def test_a_split_that_no_file_judges_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no judgements of dev; there are: test"):
        read(tmp_path, {"test.tsv": HEAD + "a\tp\t1\n"}, splits=["dev"])
