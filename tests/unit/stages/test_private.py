"""Whatever is wrong with private data, nothing of it is told: not on standard error, in the manifest, or in dropped.parquet."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.__main__ import main
from jmlr.corpus.quotes import closest, hidden, known_as, quoted
from jmlr.options import CorpusOptions, QuestionsOptions, SourceOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.fetch import fetch

MARK = "velmorath"  # stands in everything that is private: texts, ids, keys, columns, members
NOTE = f"{MARK} was seen with fever, cough and a rash on both knees on the third day after {MARK} had left the ward"
OPTIONS = {"A": f"{MARK} a", "B": f"{MARK} b"}
GOOD = {"id": f"{MARK}-1", "text": NOTE}
ASKED = {"id": f"{MARK}-1", "question": NOTE, "options": OPTIONS, "answer": "A", "split": "test"}
PUBLIC = {"id": "p1", "question": "Which?", "options": {"A": "x", "B": "y"}, "answer": "A", "split": "test"}


def lines(*rows: Any) -> bytes:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows).encode()


def parquet(table: pa.Table) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made)
    return made.getvalue()


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


CORPORA: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "no header": ("n.csv", f'1,"{NOTE}"\n2,"{NOTE}"\n'.encode(), {}),
    "another header": ("n.csv", f'note_{MARK},body\n1,"{NOTE}"\n'.encode(), {}),
    "a name twice": ("n.csv", f'{MARK},{MARK}\n1,"{NOTE}"\n'.encode(), {}),
    "no header, a name twice": ("n.csv", f'"{NOTE}","{NOTE}"\n1,2\n'.encode(), {}),
    "columns": ("n.csv", f'1,"{NOTE}",3\n'.encode(), {"columns": ["id", "text"]}),
    "a row too long": ("n.csv", f"id,text\n1,{NOTE},{NOTE}\n".encode(), {}),
    "an open quote": ("n.csv", f'id,text\n1,"{NOTE}\n2,{NOTE}\n'.encode(), {}),
    "text after a quote": ("n.csv", f'id,text\n1,"{NOTE}" {MARK}\n'.encode(), {}),
    "semicolons": ("n.csv", f"id;text\n1;{NOTE}\n".encode(), {}),
    "NUL": ("n.csv", f"id,text\n1,{NOTE}\0\n".encode(), {}),
    "a broken line": ("n.jsonl", lines(GOOD, f'{{"id": 1, "text": {MARK}}}'), {}),
    "cut off": ("n.jsonl", lines(GOOD)[:-20], {}),
    "no object": ("n.jsonl", lines([NOTE]), {}),
    "a text alone": ("n.jsonl", lines(json.dumps(NOTE)), {}),
    "a key twice": ("n.jsonl", lines(f'{{"{MARK}": 1, "{MARK}": 2}}'), {}),
    "infinite": ("n.jsonl", lines(f'{{"id": "{MARK}", "text": "x", "{MARK}": Infinity}}'), {}),
    "deep": ("n.jsonl", lines(f'{{"{MARK}": ' + "[" * 2000), {}),
    "half a character": ("n.jsonl", lines(f'{{"id": "{MARK}", "text": "{MARK} \\ud800"}}'), {}),
    "an object as text": ("n.jsonl", lines({"id": MARK, "text": {MARK: NOTE}}), {}),
    "objects as text": ("n.jsonl", lines({"id": MARK, "text": [{MARK: NOTE}]}), {}),
    "an object as id": ("n.jsonl", lines({"id": {MARK: NOTE}, "text": NOTE}), {}),
    "no text": ("n.jsonl", lines({"id": MARK, MARK: NOTE}), {}),
    "an empty text": ("n.jsonl", lines({"id": MARK, "text": ""}), {}),
    "no id": ("n.jsonl", lines({MARK: MARK, "text": NOTE}), {}),
    "an empty id": ("n.jsonl", lines({"id": " ", "text": NOTE}), {}),
    "an id twice": ("n.jsonl", lines(GOOD, {**GOOD, "text": f"{MARK} again"}), {}),
    "the text as id": ("n.jsonl", lines(GOOD, GOOD), {"fields": {"id": "text"}}),
    "a wrong name": ("n.jsonl", lines(GOOD), {"fields": {"text": "textt"}}),
    "a wrong filter": ("n.jsonl", lines({**GOOD, MARK: 1}), {"include": {"velmorat": ["1"]}}),
    "all filtered": ("n.jsonl", lines(GOOD), {"include": {"id": ["x"]}}),
    "another number": ("n.jsonl", lines(GOOD), {"count": 7}),
    "latin-1": ("n.jsonl", f'{{"id": "{MARK}", "text": "fi\xe8vre {MARK}"}}\n'.encode("latin-1"), {}),
    "utf-16": ("n.jsonl", lines(GOOD).decode().encode("utf-16"), {}),
    "utf-16 without a mark": ("n.csv", f"id,text\n1,{NOTE}\n".encode("utf-16-le"), {}),
    "json of another form": ("n.json", json.dumps({MARK: NOTE, "x": [1, NOTE]}).encode(), {}),
    "json keys": ("n.json", json.dumps({f"{MARK}-1": {"text": 5, "id": [MARK]}}).encode(), {}),
    "json without the path": ("n.json", json.dumps({MARK: {f"{MARK}s": [GOOD]}}).encode(), {"records": "exams.*.data"}),
    "json with no end": ("n.json", json.dumps([GOOD, GOOD]).encode()[:-9], {}),
    "json with a bare word": ("n.json", f'[{{"id": {MARK}}}]'.encode(), {}),
    "json beside": ("n.json", json.dumps({"records": [GOOD], "more": {MARK: [{MARK: 1}]}}).encode(), {}),
    "no parquet": ("n.parquet", f"PAR1 {NOTE} PAR1".encode(), {}),
    "parquet cut off": ("n.parquet", parquet(pa.table({MARK: [NOTE]}))[:-30], {}),
    "parquet of other names": ("n.parquet", parquet(pa.table({MARK: [NOTE]})), {}),
    "parquet, a name twice": ("n.parquet", parquet(pa.table([pa.array([NOTE]), pa.array([NOTE])], names=[MARK, MARK])), {}),
    "parquet, infinite": ("n.parquet", parquet(pa.table({"id": [MARK], "text": [NOTE], MARK: [float("inf")]})), {}),
    "parquet, bytes": ("n.parquet", parquet(pa.table({"id": [MARK], "text": [NOTE.encode()]})), {}),
    "gzip cut off": ("n.jsonl.gz", gzip.compress(lines(GOOD) * 9)[:-20], {}),
    "no gzip": ("n.jsonl.gz", lines(GOOD), {}),
    "an archive of others": ("n.zip", zipped(**{f"{MARK}.xyz": NOTE.encode()}), {}),
    "a broken member": ("n.zip", zipped(**{"a.jsonl": lines(f"{{{MARK}")}), {}),
    "an archive cut off": ("n.zip", zipped(**{f"{MARK}.jsonl": lines(GOOD)})[:-10], {}),
    "xml": ("n.nxml", f"<article><{MARK}><p>{NOTE}</article>".encode(), {}),
    "xml entity": ("n.nxml", f"<article><sec><p>&{MARK}; {NOTE}</p></sec></article>".encode(), {}),
    "xml without text": ("n.nxml", f"<{MARK}/>".encode(), {}),
    "copies": ("n.jsonl", lines(GOOD, {"id": f"{MARK}-2", "text": NOTE}), {}),
    "a test question": ("n.jsonl", lines({"id": MARK, "text": f"{NOTE} {NOTE}"}), {}),
}  # fmt: skip

QUESTIONS: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "an answer that is none": ("q.jsonl", lines({**ASKED, "answer": MARK}), {}),
    "the same, dropped": ("q.jsonl", lines({**ASKED, "answer": MARK}, {**ASKED, "id": "2"}), {"unusable": "drop"}),
    "an index that is none": ("q.jsonl", lines({**ASKED, "answer": 7}), {"answer_index": "from_1"}),
    "no options": ("q.jsonl", lines({**ASKED, "options": None}), {}),
    "options as text": ("q.jsonl", lines({**ASKED, "options": NOTE}), {}),
    "an option of objects": ("q.jsonl", lines({**ASKED, "options": {MARK: {MARK: 1}, "B": "x"}}), {}),
    "an empty option": ("q.jsonl", lines({**ASKED, "options": {MARK: "", "B": MARK}}), {}),
    "a letter twice": ("q.jsonl", lines(json.dumps({**ASKED, "options": 0}).replace("0", f'{{"{MARK}": "a", "{MARK}": "b"}}')), {}),
    "equal options": ("q.jsonl", lines({**ASKED, "options": {MARK: NOTE, f"{MARK}2": NOTE}, "answer": MARK}), {}),
    "equal options, dropped": ("q.jsonl", lines({**ASKED, "options": [NOTE] * 5}, {**ASKED, "id": "2"}), {"unusable": "drop"}),
    "two readings": ("q.jsonl", lines({**ASKED, "options": {MARK: "B", "B": MARK}, "answer": MARK}), {}),
    "another text": ("q.jsonl", lines({**ASKED, "answer_text": NOTE}), {}),
    "an answer of objects": ("q.jsonl", lines({**ASKED, "answer": {MARK: 1}}), {}),
    "an id twice": ("q.jsonl", lines(ASKED, ASKED), {}),
    "no question": ("q.jsonl", lines({MARK: NOTE, "id": MARK}), {}),
    "no split": ("q.jsonl", lines({**ASKED, "split": None}), {}),
    "the text as split": ("q.jsonl", lines(ASKED), {"fields": {"split": "question"}}),
    "the text as dataset": ("q.jsonl", lines({**ASKED, "dataset": NOTE}), {}),
    "another number": ("q.jsonl", lines(ASKED), {"counts": {"test": 4}}),
    "a wrong name": ("q.jsonl", lines(ASKED), {"fields": {"question": "vraag"}}),
    "no such column": ("q.csv", f"{MARK},b\n{NOTE},x\n".encode(), {"fields": {"options": "a, b"}}),
    "another form": ("q.json", json.dumps({MARK: {MARK: NOTE}}).encode(), {"adapter": "mirage"}),
    "an open question": ("q.jsonl", lines({"id": MARK, "question": NOTE, "split": "test"}), {"open": True}),
    "gold elsewhere": ("q.jsonl", lines({**ASKED, "gold_ids": [MARK]}), {}),
    "gold of objects": ("q.jsonl", lines({**ASKED, "gold_ids": [{MARK: 1}]}), {}),
    "all right": ("q.jsonl", lines(ASKED), {}),
}  # fmt: skip


def prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str], corpora: list[Any], questions: list[Any]) -> str:
    """Run `jmlr prepare` on what was fetched; return all that it told, to people and in files that hold no texts."""
    folders = sorted((tmp_path / "fetched").iterdir())
    out = tmp_path / "prepared"
    given = {"corpora": corpora, "questions": questions, "documents": [], "decontaminate": {"splits": ["test"]}}
    options = [f"--{k}={json.dumps(v)}" for k, v in given.items()]
    capsys.readouterr()
    code = main(["prepare", "--out", str(out), "--fetched", *map(str, folders), *options])
    told = "".join(capsys.readouterr())
    assert code in (0, 2)
    assert (code == 0) == out.exists()
    if out.exists():
        manifest = read_manifest(out)
        told += json.dumps({k: v for k, v in manifest.items() if k not in ("inputs", "outputs", "options")})
        told += str(pq.read_table(out / "dropped.parquet").to_pylist())
    else:
        assert any(line.startswith("jmlr prepare: ") for line in told.splitlines())
        assert "Traceback" not in told
    return told


def fetched(tmp_path: Path, name: str, file: str, content: bytes, *, private: bool) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / file).write_bytes(content)
    fetch(tmp_path / "fetched" / name, name, SourceOptions(path=str(tmp_path / name), private=private))


@pytest.mark.parametrize("case", CORPORA)
def test_nothing_of_a_private_corpus_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    file, content, options = CORPORA[case]
    fetched(tmp_path, "notes", file, content, private=True)
    test = {**PUBLIC, "question": f"{NOTE} {NOTE}".replace(MARK, "somebody")}
    if case == "a test question":
        test["question"] = f"{NOTE} {NOTE}"
    fetched(tmp_path, "exam", "q.jsonl", lines(test), private=False)
    corpora = [CorpusOptions(source="notes", **options).model_dump()]
    told = prepared(tmp_path, capsys, corpora, [QuestionsOptions(source="exam").model_dump()])
    assert MARK not in told.lower()


@pytest.mark.parametrize("case", QUESTIONS)
def test_nothing_of_private_questions_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    file, content, options = QUESTIONS[case]
    fetched(tmp_path, "exam", file, content, private=True)
    fetched(tmp_path, "world", "p.jsonl", lines({"id": "p", "text": "A passage."}), private=False)
    questions = [QuestionsOptions(source="exam", **options).model_dump()]
    told = prepared(tmp_path, capsys, [CorpusOptions(source="world").model_dump()], questions)
    assert MARK not in told.lower()


def test_the_same_faults_of_public_data_are_told_with_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search for the mark would find it: what is hidden above is told where nothing is private."""
    file, content, options = CORPORA["no header"]
    fetched(tmp_path, "notes", file, content, private=False)
    fetched(tmp_path, "exam", "q.jsonl", lines(PUBLIC), private=False)
    corpora = [CorpusOptions(source="notes", **options).model_dump()]
    told = prepared(tmp_path, capsys, corpora, [QuestionsOptions(source="exam").model_dump()])
    assert MARK in told.lower()
    assert len(told) < 600, "what is quoted is cut"


def test_an_exception_that_nobody_foresaw_tells_its_kind_and_place_alone() -> None:
    with (
        pytest.raises(UserError, match=r"^KeyError in test_private.py, line \d+; its message may quote") as caught,
        hidden(True),
    ):
        raise KeyError(NOTE)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(KeyError), hidden(False):
        raise KeyError(NOTE)


def test_inside_a_private_block_nothing_is_quoted_and_ids_are_digests() -> None:
    with hidden(True):
        with hidden(False):
            assert (quoted(NOTE), closest("x", [NOTE]), known_as("")) == ("(private)", "", "")
        assert known_as(MARK).startswith("sha256:")
    assert known_as(MARK) == MARK
