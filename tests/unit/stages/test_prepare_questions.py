"""Faults, adapters, gold, repeated questions, ids in two files, questions without an answer: what `prepare` makes of a set as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_prepare import QUESTIONS, changed, fetched, jmlr_prepare, run

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


def test_questions_that_train_and_test_share_are_told_until_decontaminated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{**QUESTIONS[0], "id": i, "split": s} for i, s in (("a", "train"), ("b", "test"))]
    folder = fetched(tmp_path, questions=[*asked, {**QUESTIONS[1], "question": "Which drug?"}])
    assert len(run(folder)["questions"]) == 3
    assert read_manifest(tmp_path / "prepare")["notes"]["in_several_splits"] == {"test, train": 1}
    line = "prepare: warning: 1 question in each of the splits 'test', 'train' (the first: 'b' and 'a'); 'decontaminate' leaves"
    assert line in capsys.readouterr().err
    assert len(run(folder, decontaminate={"splits": ["test"]})["questions"]) == 2
    assert read_manifest(tmp_path / "prepare")["notes"]["in_several_splits"] == {}
    assert "in each of the splits" not in capsys.readouterr().err


def test_a_split_that_is_written_otherwise_is_told_and_an_entry_of_its_own_renames_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("test", "TRAIN", "validation", "golden")
    folder = fetched(tmp_path, questions=[{**q, "split": s} for q, s in zip(QUESTIONS, names, strict=True)])
    assert run(folder)["questions"]["split"].to_pylist() == [*names]
    told = [line for line in capsys.readouterr().err.splitlines() if " of split '" in line]
    assert [line[:79] for line in told] == [
        "prepare: warning: world: 1 record of split 'TRAIN', which is not 'train'; an en",
        "prepare: warning: world: 1 record of split 'validation', which is not 'dev'; an",
    ]
    entry = {"source": "world", "file": "questions.jsonl"}
    again = [{**entry, "include": {"split": ["validation"]}, "split": "dev"}, {**entry, "include": {"split": ["test"]}}]
    assert run(folder, questions=again)["questions"]["split"].to_pylist() == ["dev", "test"]
    assert " of split '" not in capsys.readouterr().err


def test_judged_queries_that_are_not_there_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetched(tmp_path)
    (folder / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tp0\t1\nnone\tp1\t1\n")
    entry = {"source": "world", "file": "questions.jsonl", "qrels": "world/test.tsv", "retrieval": True}
    assert run(folder, questions=[entry])["questions"]["id"].to_pylist() == ["q0"]
    line = "prepare: warning: world: 1 of 2 judged queries are not there ('qrels'); the first: 'none'"
    assert line in capsys.readouterr().err


def test_gold_of_another_corpus_is_an_error_or_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [{**q, "gold_ids": ["elsewhere"]} for q in QUESTIONS]
    folder = fetched(tmp_path, questions=asked)
    with pytest.raises(
        UserError, match=r"'world': none of its 4 gold ids is the id .or section. of a passage; leave gold out"
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
    assert "world: 1 record passed over, whose id is in a file before" in capsys.readouterr().err
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


def test_gold_that_is_not_in_the_corpus_is_told_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [{**q, "gold_ids": [*q["gold_ids"], "elsewhere"]} for q in QUESTIONS]
    corpora = [{"source": "world", "file": "passages.jsonl", "exclude": {"id": ["p3"]}}]
    tables = run(fetched(tmp_path, questions=questions), corpora=corpora)
    assert tables["questions"]["gold_ids"].to_pylist() == [["p0"], ["p1"], ["p2"], []]
    notes = read_manifest(tmp_path / "prepare")["notes"]
    assert notes["gold_not_in_corpus"] == 5
    line = "'world': 5 of its 8 gold ids are the id (or section) of no passage that is kept; 1 question without any gold left"
    assert f"{line}; the first: question 'q0', 'elsewhere'" in capsys.readouterr().err
    assert notes["passages"]["world"] == {"records": 4, "left_out": 1, "cut": 0, "duplicates": 0, "passages": 3}


# ------------------------------------------------------------------------------------------- all faults in one go, adapters
def test_all_faults_of_an_entry_are_told_in_one_go_and_nothing_is_left(tmp_path: Path) -> None:
    questions = [{**q, "answer": "Z"} if i else {**q, "question": ""} for i, q in enumerate(QUESTIONS)]
    done = jmlr_prepare(tmp_path / "prepare", fetched(tmp_path, questions=questions))
    assert (done.returncode, done.stdout) == (2, "")
    heading, *kinds = done.stderr.splitlines()
    assert heading.startswith("jmlr prepare: world: 4 faults in 4 records; every kind")
    assert ["3 x" in kinds[0], "1 x" in kinds[1], len(kinds)] == [True, True, 2]
    assert "questions.jsonl: line 2: question 'q1': answer 'Z' is none" in kinds[0]
    assert [p.name for p in tmp_path.iterdir()] == ["fetch"]


def test_an_entry_is_read_to_its_end_over_all_its_files(tmp_path: Path) -> None:
    folder = fetched(tmp_path, dev=changed(QUESTIONS, 0, answer="Z"), test=[{"id": "t", "question": "Q?"}])
    files = '[{"source": "world", "files": {"dev": "dev.jsonl", "test": "test.jsonl"}}]'
    done = jmlr_prepare(tmp_path / "prepare", folder, "--questions", files)
    assert done.stderr.startswith("jmlr prepare: world: 2 faults in 5 records")
    assert "dev.jsonl: line 1: question 'q0'" in done.stderr
    assert "test.jsonl: line 1: question 't': no options" in done.stderr


def test_unusable_questions_are_said_by_reason_and_too_many_end_the_run(tmp_path: Path) -> None:
    questions = [{**q, "id": f"x{i}", "answer": "Z" if i < 2 else "B"} for i in range(80) for q in QUESTIONS[:1]]
    folder = fetched(tmp_path, questions=questions)
    part = '[{"source": "world", "file": "questions.jsonl", "unusable": "drop", "most_unusable": %s}]'
    done = jmlr_prepare(tmp_path / "prepare", folder, "--questions", part % 0.02)
    assert (done.returncode, [p.name for p in tmp_path.iterdir()]) == (2, ["fetch"])
    assert "world: 2 of 80 questions of world/test are unusable, more than 0.02 of them" in done.stderr
    done = jmlr_prepare(tmp_path / "prepare", folder, "--questions", part % 0.03)
    assert done.returncode == 0
    assert "world: 2 questions unusable and left out (dropped.parquet):\n  2 x an answer that is none of" in done.stderr
    assert "questions.jsonl: line 1: question 'x0'" in done.stderr


def test_an_adapter_of_ones_own_makes_questions_and_passages(tmp_path: Path) -> None:
    (tmp_path / "my_forms.py").write_text(
        "def ask(r):\n    return {'id': r['n'], 'question': 'Which?', 'options': r['o'].split('|'), 'answer': r['k']}\n"
        "def text(r):\n    yield {'id': r['n'], 'text': r['o']}\n"
    )
    folder = fetched(tmp_path, forms=[{"n": 1, "o": "fever|cough", "k": "B"}])
    part = '[{"source": "world", "file": "forms.jsonl", "adapter": "my_forms:%s"%s}]'
    corpora, questions = part % ("text", ""), part % ("ask", ', "split": "test"')
    done = jmlr_prepare(tmp_path / "prepare", folder, "--questions", questions, "--corpora", corpora, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [question] = pq.read_table(tmp_path / "prepare/questions.parquet").to_pylist()
    assert (question["options"], question["answer_text"]) == (["fever", "cough"], "cough")
    assert pq.read_table(tmp_path / "prepare/passages.parquet")["text"].to_pylist() == ["fever|cough"]


def test_damaged_lines_are_told_beside_what_else_is_wrong(tmp_path: Path) -> None:
    lines = [json.dumps(q) for q in (*QUESTIONS[:2], {**QUESTIONS[2], "answer": "Z"})]
    folder = fetched(tmp_path, questions="\n".join([lines[0], lines[1][:-1], "{", lines[2]]).encode())
    done = jmlr_prepare(tmp_path / "prepare", folder)
    heading, *kinds = done.stderr.splitlines()
    assert "3 faults in 4 records" in heading
    assert ["2 x" in kinds[0], "questions.jsonl: line 2: malformed JSON" in kinds[0]] == [True, True]
    assert "1 x" in kinds[1]
    assert "line 4: question 'q2': answer 'Z'" in kinds[1]


def test_nested_records_are_read_by_paths_alone(tmp_path: Path) -> None:
    """HEAD-QA's form: exams by name, their questions in a list, the options objects in a list, the key counted from 1."""
    options = [{"aid": 1, "atext": "fever"}, {"aid": 2, "atext": "cough"}, {"aid": 3, "atext": None}]
    exams = {
        "exams": {n: {"data": [{"qid": "1", "qtext": f"{n}?", "ra": ["2"], "answers": options}]} for n in ("x", "y")}
    }
    folder = fetched(tmp_path)
    (folder / "exams.json").write_text(json.dumps(exams))
    entry = {
        "source": "world", "file": "exams.json", "records": "exams.*.data", "split": "test", "make_ids": True,
        "answer_index": "from_1", "fields": {"question": "qtext", "options": "answers.*.atext", "answer": "ra"},
    }  # fmt: skip
    found = run(folder, questions=[entry])["questions"].to_pylist()
    assert [(q["question"], q["options"], q["answer"]) for q in found] == [
        ("x?", ["fever", "cough"], 1), ("y?", ["fever", "cough"], 1),
    ]  # fmt: skip


def test_an_adapter_that_is_not_there_is_said_before_anything_is_read(tmp_path: Path) -> None:
    folder = fetched(tmp_path, questions=b"{")
    with pytest.raises(UserError, match=r"adapter 'miraje': no such adapter .did you mean 'mirage'"):
        run(folder, corpora=[{"source": "world", "file": "passages.jsonl", "adapter": "miraje"}])


def test_a_glossary_becomes_multiple_choice_with_terms_of_all_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"options": None, "gold_ids": [], "gold_section": "m1"}
    splits = {"a": "test", "b": "train", "c": "train", "d": "dev"}
    asked = [{**QUESTIONS[0], **fields, "id": t, "answer": t, "split": s} for t, s in splits.items()]
    alone = {**QUESTIONS[0], **fields, "id": "e", "answer": "e", "split": "test", "gold_section": "m2"}
    settings = {
        "source": "world",
        "file": "questions.jsonl",
        "distractors": 3,
        "splits": ["test"],
        "gold_check": "warn",
    }
    table = run(fetched(tmp_path, questions=[*asked, alone]), questions=[settings])["questions"].to_pylist()
    assert [q["id"] for q in table] == ["a", "e"]
    assert sorted(table[0]["options"]) == [*"abcd"]
    assert table[0]["options"][table[0]["answer"]] == "a"
    assert table[1]["options"] == []
    assert (
        "1 question left open: no 3 other answers in their section or subject ('distractors')"
        in capsys.readouterr().err
    )
