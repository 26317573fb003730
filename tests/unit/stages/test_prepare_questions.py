"""Gold, repeated questions, ids in two files, questions without an answer: what `prepare` makes of a set as a whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_prepare import QUESTIONS, fetched, run

from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest


def test_repeated_questions_are_told_and_on_request_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    different = [{**QUESTIONS[0], "id": f"d{i}", "question": "Not?", "answer": a} for i, a in enumerate("AB")]
    asked = [{**QUESTIONS[0], "id": "a"}, {**QUESTIONS[0], "id": "b", "question": "Which ?"}, *different]
    assert len(run(fetched(tmp_path, questions=asked))["questions"]) == 4
    told = {"world": {"groups": 2, "questions": 4, "contradicting": 1}}
    assert read_manifest(tmp_path / "prepare")["notes"]["repeated"] == told
    line = "world: 2 of its questions repeat an earlier one, 1 of them with another answer; 'repeated: once' counts each once"
    assert line in capsys.readouterr().err
    (tmp_path / "once").mkdir()
    tables = run(fetched(tmp_path / "once", questions=asked), repeated="once")
    assert tables["questions"]["id"].to_pylist() == ["a"]
    assert read_manifest(tmp_path / "once/prepare")["notes"]["repeated"] == told
    dropped = pq.read_table(tmp_path / "once/prepare/dropped.parquet").to_pylist()
    assert {r["id"]: r["reason"] for r in dropped} == {
        "b": "repeated: the question of 'a'",
        "d0": "repeated: the question of 'd1', with different answers",
        "d1": "repeated: the question of 'd0', with different answers",
    }


def test_gold_of_another_corpus_is_an_error_or_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [{**q, "gold_ids": ["elsewhere"]} for q in QUESTIONS]
    folder = fetched(tmp_path, questions=asked)
    with pytest.raises(
        UserError, match=r"world: none of its 4 gold ids is the id .or section. of a passage; leave gold out"
    ):
        run(folder)
    entry = {"source": "world", "file": "questions.jsonl", "gold_check": "warn"}
    assert run(folder, questions=[entry])["questions"]["gold_ids"].to_pylist() == [[]] * 4
    assert "none of its 4 gold ids" in capsys.readouterr().err


def test_an_id_of_a_file_before_is_passed_over_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetched(tmp_path, questions=QUESTIONS[:2], later=QUESTIONS[1:3])
    entry = {"source": "world", "files": {"test": "questions.jsonl", "train": "later.jsonl"}}
    with pytest.raises(UserError, match=r"later.jsonl: line 1: question .*q1.* the id was there before"):
        run(folder, questions=[entry])
    found = run(folder, questions=[{**entry, "same_id": "first"}])["questions"]
    assert list(zip(found["id"].to_pylist(), found["split"].to_pylist(), strict=True)) == [
        ("q0", "test"), ("q1", "test"), ("q2", "train"),
    ]  # fmt: skip
    assert "world: 1 records passed over, whose ids are in a file before" in capsys.readouterr().err
    twice = fetched(tmp_path / "twice", questions=[QUESTIONS[0], QUESTIONS[0]])
    with pytest.raises(UserError, match="the id was there before"):
        run(twice, questions=[{"source": "world", "file": "questions.jsonl", "same_id": "first"}])


def test_questions_without_an_answer_count_for_retrieval_alone(tmp_path: Path) -> None:
    bare = [{"id": f"r{i}", "split": "train", "question": f"Query {i}?", "gold_ids": [f"p{i}"]} for i in range(2)]
    folder = fetched(tmp_path, questions=[*QUESTIONS, *bare])
    with pytest.raises(UserError, match=r"question 'r0'.*no options"):
        run(folder)
    found = run(folder, questions=[{"source": "world", "file": "questions.jsonl", "retrieval": True}])[
        "questions"
    ].to_pylist()
    assert [(q["options"], q["answer"], q["answer_text"]) for q in found[4:]] == [([], -1, "")] * 2
    assert [q["gold_ids"] for q in found[4:]] == [["p0"], ["p1"]]


def test_gold_that_is_not_in_the_corpus_is_counted_and_left_out(tmp_path: Path) -> None:
    questions = [{**q, "gold_ids": [*q["gold_ids"], "elsewhere"]} for q in QUESTIONS]
    corpora = [{"source": "world", "file": "passages.jsonl", "exclude": {"id": ["p3"]}}]
    tables = run(fetched(tmp_path, questions=questions), corpora=corpora)
    assert tables["questions"]["gold_ids"].to_pylist() == [["p0"], ["p1"], ["p2"], []]
    notes = read_manifest(tmp_path / "prepare")["notes"]
    assert notes["gold_not_in_corpus"] == 5
    assert notes["passages"]["world"] == {"records": 4, "left_out": 1, "cut": 0, "duplicates": 0, "passages": 3}
