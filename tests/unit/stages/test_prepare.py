"""Prepare gives the tables of the contract, or one line, exit code 2 and nothing on disk."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jmlr.config import Config
from jmlr.options import DocumentsOptions, PrepareOptions
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.prepare import prepare
from toys import DEMO

ROOT = Path(__file__).resolve().parents[3]
PASSAGES = [
    {"id": f"p{i}", "title": "T", "text": f"Passage number {i} is about fever and raretopic{i}.", "kind": "text"}
    for i in range(4)
]
OPTIONS = {"A": "malaria", "B": "measles"}
QUESTIONS = [
    {"id": f"q{i}", "split": "test", "question": "Which?", "options": OPTIONS, "answer": "B", "gold_ids": [f"p{i}"]}
    for i in range(4)
]
DOCUMENTS = [{"text": "Fever: malaria\n", "targets": [[7, 14]]}]


def fetched(tmp_path: Path, **files: Any) -> Path:
    """Write a source folder as `fetch` leaves it; lists of records become JSON Lines, bytes stay."""
    folder = tmp_path / "fetch" / "world"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"outputs": {}}')
    for name, content in {"passages": PASSAGES, "questions": QUESTIONS, "documents": DOCUMENTS, **files}.items():
        data = content if isinstance(content, bytes) else "".join(json.dumps(r) + "\n" for r in content).encode()
        (folder / f"{name}.jsonl").write_bytes(data)
    return folder


def run(folder: Path, **options: Any) -> dict[str, pa.Table]:
    out = folder.parent.parent / "prepare"
    prepare(out, [folder], PrepareOptions(**{**DEMO.prepare.model_dump(), **options}))
    return {name: pq.read_table(out / f"{name}.parquet") for name in ("passages", "questions", "documents")}


def test_the_tables_have_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    tables = run(fetched(tmp_path))
    text, texts, i32 = pa.string(), pa.list_(pa.string()), pa.int32()
    assert {f.name: f.type for f in tables["passages"].schema} == {
        "row": i32, "id": text, "title": text, "text": text, "source": text, "section": text,
    }  # fmt: skip
    assert {f.name: f.type for f in tables["questions"].schema} == {
        "id": text, "dataset": text, "split": text, "question": text, "options": texts, "answer": i32,
        "answer_text": text, "explanation": text, "subject": text, "gold_ids": texts,
        "gold_grades": pa.list_(i32), "gold_rows": pa.list_(i32),
    }  # fmt: skip
    spans = pa.list_(pa.struct([("start", i32), ("end", i32)]))
    assert {f.name: f.type for f in tables["documents"].schema} == {"text": text, "targets": spans}
    assert {name: len(t) for name, t in tables.items()} == {"passages": 4, "questions": 4, "documents": 1}
    assert read_manifest(tmp_path / "prepare")["notes"]["questions"] == {"world": {"test": 4}}


def test_gold_names_the_pieces_of_a_passage_that_was_cut(tmp_path: Path) -> None:
    passages = [*PASSAGES, {"id": "long", "text": "One two three. Four five six."}]
    tables = run(
        fetched(tmp_path, passages=passages, questions=[{**QUESTIONS[0], "gold_ids": ["long"]}]), chunk_words=3
    )
    gold = tables["questions"]["gold_ids"].to_pylist()[0]
    assert gold == ["long/1", "long/2"]
    assert set(gold) <= set(tables["passages"]["id"].to_pylist())


def test_a_closed_book_has_questions_without_gold_and_no_passages(tmp_path: Path) -> None:
    tables = run(fetched(tmp_path), corpora=[], documents=[])
    assert {name: len(t) for name, t in tables.items()} == {"passages": 0, "questions": 4, "documents": 0}
    assert set(map(len, tables["questions"]["gold_ids"].to_pylist())) == {0}
    assert read_manifest(tmp_path / "prepare")["notes"]["gold_not_in_corpus"] == 0


def test_documents_come_from_all_that_is_asked_for_in_order(tmp_path: Path) -> None:
    documents = [{"plain": True}, {"cloze": 3}, {"source": "world", "file": "documents.jsonl"}]
    texts = run(fetched(tmp_path), documents=documents)["documents"]["text"].to_pylist()
    assert texts[:4] == [p["text"] for p in PASSAGES]
    assert all(t.startswith("Reference: ") for t in texts[4:7])
    assert texts[7:] == ["Fever: malaria\n"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = fetched(tmp_path)
    digests = []
    for _ in range(2):
        run(folder, documents=[{"cloze": 5}])
        digests.append(read_manifest(tmp_path / "prepare")["outputs"])
    assert digests[0] == digests[1]


# ------------------------------------------------------------------------------------------------------ decontamination
COPIED = (
    "A 67 year old man with carcinoma of the bladder comes to the physician because of a two day history of ringing "
    "in his ear, and asks which of his drugs did it"
)
ASKED = [
    {**QUESTIONS[0], "id": "t1", "question": COPIED},
    {**QUESTIONS[1], "id": "t2", "question": "Cause of gout?"},
    {**QUESTIONS[2], "id": "copy", "split": "train", "question": f"{COPIED}, of all things?", "answer": "A"},
    {**QUESTIONS[3], "id": "short", "split": "dev", "question": "cause of GOUT?"},
    {**QUESTIONS[3], "id": "clean", "split": "train", "question": "Cause of fever?"},
]


def test_what_contains_a_test_question_is_dropped_and_listed_without_its_text(tmp_path: Path) -> None:
    long = f"Fever has causes. {COPIED.upper()}. It passes."
    passages = [*PASSAGES, {"id": "bad", "text": COPIED + "."}, {"id": "long", "text": long}]
    documents = [{"text": f"Question: {COPIED}"}, *DOCUMENTS]
    folder = fetched(tmp_path, passages=passages, questions=ASKED, documents=documents)
    tables = run(folder, decontaminate={"splits": ["test"]}, chunk_words=40)
    assert tables["questions"]["id"].to_pylist() == ["t1", "t2", "clean"]
    assert tables["passages"]["id"].to_pylist() == ["p0", "p1", "p2", "p3"]
    assert tables["documents"]["text"].to_pylist() == ["Fever: malaria\n"]
    rows = pq.read_table(tmp_path / "prepare/dropped.parquet").to_pylist()
    assert [(r["kind"], r["id"], r["dataset"], r["split"], r["test_id"]) for r in rows] == [
        ("question", "copy", "world", "train", "t1"),
        ("question", "short", "world", "dev", "t2"),
        ("passage", "bad", "world", "", "t1"),
        ("passage", "long", "world", "", "t1"),
        ("document", "", "world", "", "t1"),
    ]
    assert all(0.5 <= r["share"] <= 1 for r in rows)
    assert "carcinoma" not in str(rows).lower()
    manifest = read_manifest(tmp_path / "prepare")
    assert manifest["notes"]["passages"]["world"]["contaminated"] == 2
    assert manifest["notes"]["test_questions"] == {"checked_against": 2, "too_short_for_passages": 1}
    assert manifest["notes"]["dropped"] == 5
    assert "carcinoma" not in json.dumps(manifest)


def test_only_the_pieces_that_touch_a_test_question_are_dropped(tmp_path: Path) -> None:
    long = " ".join(f"Sentence {i} is about something else." for i in range(20))
    folder = fetched(tmp_path, passages=[*PASSAGES, {"id": "l", "text": f"{long} {COPIED}. {long}"}], questions=ASKED)
    tables = run(folder, decontaminate={"splits": ["test"]}, chunk_words=40, deduplicate=False)
    pieces = [t for t, i in zip(*(tables["passages"][c].to_pylist() for c in ("text", "id")), strict=True) if "/" in i]
    assert len(pieces) > 4
    assert sum(p.count("something else") for p in pieces) >= 35
    assert not any("carcinoma" in p for p in pieces)


def test_without_the_option_nothing_is_dropped(tmp_path: Path) -> None:
    tables = run(fetched(tmp_path, passages=[*PASSAGES, {"id": "bad", "text": COPIED}], questions=ASKED))
    assert (len(tables["passages"]), len(tables["questions"])) == (5, 5)
    assert pq.read_table(tmp_path / "prepare/dropped.parquet").num_rows == 0


def test_gold_survives_near_duplicates_and_decontamination(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(120)]
    near = [
        {"id": "one", "text": " ".join(words)},
        {"id": "bad", "text": COPIED},
        {"id": "two", "text": " ".join(words[:-1])},
    ]
    asked = [{**QUESTIONS[0], "id": "t", "question": COPIED, "gold_ids": ["two", "bad", "p3"]}]
    folder = fetched(tmp_path, passages=[*near, *PASSAGES], questions=asked)
    tables = run(folder, decontaminate={"splits": ["test"]}, near_duplicates=0.8)
    assert tables["passages"]["id"].to_pylist() == ["one", "p0", "p1", "p2", "p3"]
    assert tables["passages"]["row"].to_pylist() == list(range(5))
    assert tables["questions"]["gold_ids"].to_pylist() == [["one", "p3"]]
    assert read_manifest(tmp_path / "prepare")["notes"]["gold_not_in_corpus"] == 1


# ------------------------------------------------------------------------------------------------------------ bad input
def jmlr_prepare(out: Path, folder: Path, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    given = ["--out", str(out), "--fetched", str(folder), "--options", str(demo_options(folder)), *options]
    command = [sys.executable, "-P", "-m", "jmlr", "prepare", *given]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), cwd=cwd)


def demo_options(folder: Path) -> Path:
    """Write the demo's options, as the workflow does, beside a fetched folder; the command line wins over them."""
    path = folder.parent / "prepare.options.yaml"
    path.write_text(yaml.safe_dump(DEMO.prepare.model_dump(mode="json")))
    return path


def changed(rows: list[dict[str, Any]], number: int, **values: Any) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in {**r, **values}.items() if v is not None} if i == number else r for i, r in enumerate(rows)
    ]


HASHED = '[{"source": "world", "file": "questions.jsonl", "split": "hash", "shares": {"train": 2}}]'
CORPORA = '[{"source": "world", "file": "passages.jsonl", %s}]'
BAD: list[tuple[str, dict[str, Any], tuple[str, ...], str]] = [
    (
        "malformed",
        {"passages": b'{"id": "a", "text": "x"}\n{"id": "b", "text"\n'},
        (),
        "passages.jsonl: line 2: malformed JSON",
    ),
    ("missing field", {"passages": changed(PASSAGES, 2, text=None)}, (), "passages.jsonl: line 3: no field 'text'"),
    ("empty corpus", {"passages": b""}, (), "world: file 'passages.jsonl' has no records: fetch the source again, or"),
    (
        "duplicate passage",
        {"passages": changed(PASSAGES, 3, id="p0")},
        (),
        "passages.jsonl: line 4: id 'p0' was there before",
    ),
    (
        "encoding",
        {"passages": '{"id": "a", "text": "fièvre"}\n'.encode("latin-1")},
        (),
        "passages.jsonl: line 1: not UTF-8",
    ),
    (
        "no options",
        {"questions": changed(QUESTIONS, 1, options=None)},
        (),
        "questions.jsonl: line 2: question 'q1': no options",
    ),
    (
        "wrong key",
        {"questions": changed(QUESTIONS, 1, answer="E")},
        (),
        "line 2: question 'q1': answer 'E' is none of the options; allowed: A, B",
    ),
    (
        "duplicate question",
        {"questions": changed(QUESTIONS, 1, id="q0")},
        (),
        "line 2: question 'q0': the id was there before",
    ),
    (
        "same options",
        {"questions": changed(QUESTIONS, 1, options={"A": "x", "B": "x"})},
        (),
        "all options are the same text",
    ),
    ("gold", {"questions": [{**q, "gold_ids": ["x"]} for q in QUESTIONS]}, (), "none of its 4 gold ids is the id"),
    ("no documents", {"documents": b""}, (), "world: file 'documents.jsonl' has no records"),
    (
        "one empty file of two",
        {"passages2": b"\n"},
        ("--corpora", '[{"source": "world", "file": "passages*"}]'),
        "world: file 'passages2.jsonl' has no records: fetch the source again, or let 'file' match others only",
    ),
    ("document", {"documents": [{"text": "a", "targets": [[0, 9]]}]}, (), "documents.jsonl: line 1: a target is not"),
    (
        "no file",
        {},
        ("--corpora", '[{"source": "world", "file": "pasages.jsonl"}]'),
        "no file matches 'pasages.jsonl' (did you mean 'passages.jsonl'?)",
    ),
    ("no questions", {"questions": b"\n"}, (), "world: file 'questions.jsonl' has no records"),
    (
        "no test questions",
        {},
        ("--decontaminate", '{"splits": ["tests"]}'),
        "decontaminate: no question is in split 'tests' (did you mean 'test'?)",
    ),
    ("no tokenizer", {}, ("--chunk-tokens", "9"), "chunk_tokens 9: allowed: with a 'tokenizer' that counts them"),
    (
        "split ids",
        {},
        ("--questions", '[{"source": "world", "file": "questions.jsonl", "split_ids": {"dev": "word/ids"}}]'),
        "split_ids: 'word/ids': allowed: SOURCE/FILE; sources: world",
    ),
    ("no source", {}, ("--corpora", '[{"source": "word"}]'), "no source 'word' (did you mean 'world'?)"),
    (
        "unknown field",
        {},
        ("--corpora", CORPORA % '"fields": {"text": "txet"}'),
        "no field 'txet' (did you mean 'text'?)",
    ),
    (
        "filter",
        {},
        ("--corpora", CORPORA % '"exclude": {"knd": ["x"]}'),
        "no record has the field 'knd' (did you mean 'kind'?)",
    ),
    ("all left out", {}, ("--corpora", CORPORA % '"include": {"kind": ["x"]}'), "leave out 4 of 4 records"),
    ("option typo", {}, ("--chunk-word", "3"), "unknown option --chunk-word (did you mean '--chunk-words'?)"),
    (
        "key typo",
        {},
        ("--corpora", '[{"source": "world", "fiel": "x"}]'),
        "unknown key 'corpora.0.fiel' (did you mean 'fields'?)",
    ),
    ("no questions", {}, ("--questions", "[]"), "no questions; allowed: at least one"),
    ("shares", {}, ("--questions", HASHED), "sum to 1"),
    ("documents", {}, ("--documents", "[{}]"), "an entry with nothing to read"),
]


@pytest.mark.parametrize(("files", "options", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, files: dict[str, Any], options: tuple[str, ...], said: str
) -> None:
    folder = fetched(tmp_path, **files)
    done = jmlr_prepare(tmp_path / "prepare", folder, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["fetch"]


def test_bad_input_leaves_an_earlier_good_output_as_it_was(tmp_path: Path) -> None:
    folder = fetched(tmp_path)
    assert jmlr_prepare(tmp_path / "prepare", folder).returncode == 0
    before = (tmp_path / "prepare" / "manifest.json").read_bytes()
    (folder / "questions.jsonl").write_bytes(b"{")
    assert jmlr_prepare(tmp_path / "prepare", folder).returncode == 2
    assert (tmp_path / "prepare" / "manifest.json").read_bytes() == before


def test_the_stages_of_this_part_load_no_torch(tmp_path: Path) -> None:
    folder = fetched(tmp_path)
    code = (
        "import sys; from jmlr.__main__ import main; import jmlr.stages.fetch, jmlr.stages.evaluate\n"
        f"assert main(['prepare', '--out', {str(tmp_path / 'p')!r}, '--fetched', {str(folder)!r}, '--options', {str(demo_options(folder))!r}]) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0


def test_a_truncated_gzip_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    folder = fetched(tmp_path)
    whole = gzip.compress("".join(json.dumps({**p, "id": i}) + "\n" for i, p in enumerate(PASSAGES * 500)).encode())
    (folder / "passages.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    corpora = '[{"source": "world", "file": "passages.jsonl.gz"}]'
    done = jmlr_prepare(tmp_path / "out" / "prepare", folder, "--corpora", corpora)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "passages.jsonl.gz: truncated gzip file after line" in done.stderr
    assert "copy or download it again" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ real data
@pytest.mark.real
@pytest.mark.skipif("JMLR_DATA" not in os.environ, reason="JMLR_DATA is not set: the folder with data/ and models/")
def test_openstax_gives_the_known_counts(tmp_path: Path) -> None:
    run = Config.load(yaml.safe_load((ROOT / "config/runs/openstax.yaml").read_text())).prepare
    out, options = tmp_path / "prepare", run.model_copy(update={"documents": [DocumentsOptions(cloze=200)]})
    (tmp_path / "openstax").symlink_to(Path(os.environ["JMLR_DATA"]) / "data" / "openstax_raw")
    prepare(out, [tmp_path / "openstax"], options)
    notes = read_manifest(out)["notes"]
    assert notes["passages"]["openstax"] == {
        "records": 5709,
        "left_out": 0,
        "cut": 5144,
        "duplicates": 24,
        "passages": 32639,
    }
    assert notes["questions"] == {
        "openstax_review": {"train": 472, "dev": 105, "test": 578},
        "openstax_glossary": {"train": 4661, "dev": 271, "test": 217},
    }
    assert (notes["gold_not_in_corpus"], notes["documents"]) == (0, 200)
    questions = pq.read_table(out / "questions.parquet").to_pylist()
    assert all(q["gold_ids"] for q in questions)
    terms = [
        {q["answer_text"].casefold() for q in questions if (q["dataset"], q["split"]) == ("openstax_glossary", s)}
        for s in ("train", "test")
    ]
    assert not terms[0] & terms[1]
    assert all(q["options"][q["answer"]] == q["answer_text"] for q in questions if q["answer"] >= 0)


@pytest.mark.real
@pytest.mark.skipif("JMLR_DATA" not in os.environ, reason="JMLR_DATA is not set: the folder with data/ and models/")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("medqa_us_4opt_train_sample", 797),
        ("medmcqa_train_sample", 999),
        ("mmlu_med_dev", 25),
        ("mmlu_med_val", 109),
        ("casimedicos_en_train", 381),
        ("casimedicos_en_dev", 55),
        ("pubmedqa_labelled", 1000),
    ],
)
def test_published_question_sets_are_read_as_they_are(tmp_path: Path, name: str, count: int) -> None:
    folder = fetched(tmp_path)
    with gzip.open(Path(os.environ["JMLR_DATA"]) / "data" / "qa" / f"{name}.jsonl.gz") as f:
        (folder / "questions.jsonl").write_bytes(f.read())
    assert len(run(folder)["questions"]) == count
