"""Whole runs of `prepare` on data as people have it: nested JSON, archives, semicolons, columns without a header."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.options import PrepareOptions
from jmlr.runtime.errors import UserError
from jmlr.stages.prepare import prepare

HEADQA = {
    "version": "1.0",
    "language": "en",
    "exams": {
        exam: {
            "name": exam,
            "data": [
                {
                    "qid": exam + "-1",
                    "qtext": "Gout?",
                    "ra": 2,
                    "answers": [{"aid": 1, "atext": "Yes"}, {"aid": 2, "atext": "No"}],
                }
            ],
        }
        for exam in ("2013", "2014")
    },
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "fetch/mine"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "exams.zip", "w") as archive:
        archive.writestr("HEAD_EN/test_HEAD_EN.json", json.dumps(HEADQA))
        archive.writestr("HEAD_EN/train_HEAD_EN.json", json.dumps(HEADQA).replace("201", "199"))
        archive.writestr("HEAD_EN/images.pdf", "x")
    (folder / "own.txt").write_text("q1;Fever?;malaria;gout;A\n")
    with tarfile.open(folder / "corpus.tgz", "w:gz") as tar:
        for name, text in (("a/one.csv", "P1|Rest.\n"), ("a/two.csv", "007|Null, none, NA.\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    rows = {"id": ["p3", "p4"], "text": ["Sleep.", "Drink."], "title": [float("nan"), float("nan")]}
    pq.write_table(pa.table(rows), folder / "b.parquet")
    return folder


def run(folder: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    out = folder.parents[1] / "prepare"
    prepare(out, [folder], PrepareOptions(documents=[], **options))
    return {name: pq.read_table(out / f"{name}.parquet").to_pylist() for name in ("passages", "questions")}


CORPORA = [
    {"source": "mine", "file": "corpus.tgz", "columns": ["id", "text"], "delimiter": "|", "count": 2},
    {"source": "mine", "file": "*.parquet"},
]
EXAMS = {
    "source": "mine", "dataset": "headqa", "files": {"test": "*/test_*", "train": "exams.zip/*/train_*.json"}, "records": "exams.*.data",
    "fields": {"id": "qid", "question": "qtext", "options": "answers.*.atext", "answer": "ra", "subject": "_key"},
    "answer_index": "from_1", "counts": {"test": 2, "train": 2},
}  # fmt: skip
OWN = {
    "source": "mine", "file": "own.txt", "split": "dev", "format": "csv", "delimiter": ";", "columns": ["id", "question", "a", "b", "answer"],
    "fields": {"options": "a, b"},
}  # fmt: skip


def test_nested_json_in_a_zip_and_tables_of_ones_own_become_questions_and_passages(source: Path) -> None:
    found = run(source, corpora=CORPORA, questions=[EXAMS, OWN])
    assert [(q["split"], q["id"], q["options"], q["answer"], q["subject"]) for q in found["questions"]] == [
        ("test", "2013-1", ["Yes", "No"], 1, "2013"), ("test", "2014-1", ["Yes", "No"], 1, "2014"),
        ("train", "1993-1", ["Yes", "No"], 1, "1993"), ("train", "1994-1", ["Yes", "No"], 1, "1994"),
        ("dev", "q1", ["malaria", "gout"], 0, ""),
    ]  # fmt: skip
    assert [(p["id"], p["title"], p["text"]) for p in found["passages"]] == [
        ("P1", "", "Rest."), ("007", "", "Null, none, NA."), ("p3", "", "Sleep."), ("p4", "", "Drink.")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"files": {"test": "*/images*"}}, "exams.zip: HEAD_EN/images.pdf: '.pdf' is not read: `pdftotext"),
        ({"records": "exam.*.data"}, "test_HEAD_EN.json: records: no 'exam' (did you mean 'exams'?)"),
    ],
)
def test_a_member_that_cannot_be_read_is_named_with_its_archive(
    source: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(source, corpora=CORPORA, questions=[{**EXAMS, **changed}])
    assert said in str(caught.value)
