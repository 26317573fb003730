"""`jmlr init` finds out how one's own data is read, tries it, and writes a run file that works as it stands."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml

from jmlr.checks import checked
from jmlr.commands.init import init
from jmlr.config import Config
from jmlr.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
OWN = ROOT / "docs/own"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(12):
        (folder / f"drug{n}.txt").write_text(
            f"The drug number {n} is given for the disease number {n} and is safe with food."
        )
    return folder


def table(path: Path, head: str, encoding: str = "utf-8", ids: bool = True) -> Path:
    mark = next(c for c in ";,\t" if c in head)
    rows = [
        mark.join([f"q{n}", f"Which drug for n\u00ba {n}?", f"drug {n}", "rest", "surgery", "A"][not ids :])
        for n in range(40)
    ]
    path.write_text("\n".join([head, *rows]) + "\n", encoding=encoding)
    return path


def test_the_docs_own_data_gives_a_run_that_states_sources_and_how_they_are_read(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "my.yaml"
    init(Path("docs/own/documents"), questions=Path("docs/own/exam.csv"), out=out, name="docs")
    data = yaml.safe_load(out.read_text())
    assert set(data) == {"run", "sources", "prepare"}, "rates, tokens and systems are defaults"
    assert data["prepare"]["questions"] == [
        {"source": "questions", "split": "hash", "fields": {"options": "a, b, c, d", "answer": "key"}}
    ]
    assert checked(data).config.train == Config.load(data).train
    said = capsys.readouterr().out
    for part in (
        "30 files (20 md, 10 txt)",
        "40, 40 with 4 options; 40 name their passage",
        "English",
        "cost",
        "GB of memory",
    ):
        assert part in said


def test_a_name_whose_results_are_there_is_refused_since_the_workflow_would_replace_them(
    tmp_path: Path, notes: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/own").mkdir(parents=True)
    exam = table(tmp_path / "exam.csv", "id;Stem;A;B;C;Key")
    with pytest.raises(UserError, match="--name 'own': 'results/own' is another run's already; give another name"):
        init(notes, questions=exam)
    assert not (tmp_path / "my.yaml").exists()
    init(notes, questions=exam, name="other")


def test_questions_that_cannot_be_used_end_it_or_are_left_out(tmp_path: Path, notes: Path, capsys) -> None:
    exam = table(tmp_path / "exam.csv", "id;Stem;A;B;C;Key")
    exam.write_text(exam.read_text() + "q99;Which drug for n\u00ba 99?;drug 99;rest;surgery;Z\n")
    with pytest.raises(UserError, match="'unusable: drop' lists such questions"):
        init(notes, questions=exam, out=tmp_path / "my.yaml")
    init(notes, questions=exam, out=tmp_path / "my.yaml", unusable="drop")
    assert "40, 40 with 3 options" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "my.yaml").read_text())["prepare"]["questions"][0]["unusable"] == "drop"


def test_questions_of_which_none_is_for_training_are_refused(tmp_path: Path, notes: Path) -> None:
    exam = table(tmp_path / "exam.csv", "id;Stem;A;B;C;Key;split")
    exam.write_text(
        "\n".join(line if n == 0 else f"{line};test" for n, line in enumerate(exam.read_text().splitlines()))
    )
    with pytest.raises(UserError, match="none of 40 is for training; allowed: more, or a column 'split'"):
        init(notes, questions=exam, out=tmp_path / "my.yaml")


def test_a_table_from_excel_without_ids_is_read_by_what_it_is(tmp_path: Path, notes: Path, capsys) -> None:
    exam = table(tmp_path / "exam.csv", "Stem;A;B;C;Key", "cp1252", ids=False)
    init(notes, questions=exam, out=tmp_path / "my.yaml")
    [entry] = yaml.safe_load((tmp_path / "my.yaml").read_text())["prepare"]["questions"]
    assert entry == {
        "source": "questions", "encoding": "cp1252", "delimiter": ";", "split": "hash", "make_ids": True,
        "fields": {"question": "Stem", "options": "A, B, C", "answer": "Key"},
    }  # fmt: skip
    assert "question in Stem" in capsys.readouterr().out


def test_gold_that_names_no_passage_is_told_and_does_not_stop(tmp_path: Path, notes: Path, capsys) -> None:
    exam = tmp_path / "exam.jsonl"
    rows = [
        {"id": f"q{n}", "question": f"Drug {n}?", "options": ["a", "b"], "answer": "A", "gold_ids": ["other"]}
        for n in range(40)
    ]
    exam.write_text("\n".join(map(json.dumps, rows)))
    init(notes, questions=exam, out=tmp_path / "my.yaml")
    assert "none of its 40 gold ids is the id (or section) of a passage" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "my.yaml").read_text())["prepare"]["questions"][0]["gold_check"] == "warn"


def test_questions_inside_the_folder_are_no_document(tmp_path: Path, notes: Path) -> None:
    exam = table(notes / "exam.csv", "id,question,a,b,c,key")
    init(notes, questions=exam, out=tmp_path / "my.yaml")
    data = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert data["sources"]["documents"]["files"] == ["*.txt"]


def test_a_private_run_says_nothing_of_its_texts_and_shows_none_in_the_report(
    tmp_path: Path, notes: Path, capsys
) -> None:
    exam = table(tmp_path / "exam.csv", "id,question,a,b,c,key")
    init(notes, questions=exam, out=tmp_path / "my.yaml", private=True)
    data = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert all(s["private"] for s in data["sources"].values())
    assert data["report"] == {"examples": 0}
    assert "Which drug" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("id,wording,a,b,c,key", "no column is 'question'"),
        ("id,question,a,b,c,verdict", "no column is 'answer'; it is looked for as answer, key"),
    ],
)
def test_a_table_without_a_question_or_an_answer_is_one_line(tmp_path: Path, notes: Path, head: str, said: str) -> None:
    exam = table(tmp_path / "exam.csv", head)
    with pytest.raises(UserError, match=said) as caught:
        init(notes, questions=exam, out=tmp_path / "my.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "my.yaml").exists()


def test_what_cannot_be_read_and_what_is_there_already_is_one_line(tmp_path: Path, notes: Path) -> None:
    exam = table(tmp_path / "exam.csv", "id,question,a,b,c,key")
    (tmp_path / "there.yaml").write_text("run: mine\n")
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "a.pdf").write_text("x")
    for folder, given, out, said in [
        (notes, exam, "there.yaml", "is there already"),
        (scans, exam, "my.yaml", "'.pdf' is not read"),
        (notes, notes / "drug0.txt", "my.yaml", "is a document; allowed: a table"),
        (tmp_path / "nowhere", exam, "my.yaml", "nowhere"),
    ]:
        with pytest.raises(UserError, match=said):
            init(folder, questions=given, out=tmp_path / out)
    assert (tmp_path / "there.yaml").read_text() == "run: mine\n"


EXAM = "id,question,a,b,c,key\n" + "".join(f"q{n},Which drug for {n}?,drug {n},rest,surgery,A\n" for n in range(40))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "exam.csv",
            EXAM + "q99,what,a,b,c,Z\n",
            "exam.csv: line 42: question 'q99', field 'key': answer 'Z' is none of",
        ),
        ("exam.csv", EXAM + "q99,what,a,b,c,\n", "exam.csv: line 42: question 'q99', field 'key': no answer"),
        (
            "exam.csv",
            EXAM + "q99,what,a,,c,A\n",
            "exam.csv: line 42: question 'q99', field 'a, b, c': option 'B' is empty",
        ),
        (
            "exam.csv",
            EXAM.replace("question", "Stem") + "q99,,a,b,c,A\n",
            "exam.csv: line 42, field 'Stem': 'question' is empty",
        ),
        ("exam.csv", EXAM + EXAM.splitlines()[1], "question 'q0': the id was there before (exam.csv: line 2)"),
        ("exam.csv", EXAM + "q99,what\n", "exam.csv: line 42: 2 columns, but the header has 6"),
        ("exam.csv", "", "exam.csv: no records"),
        ("docs/a.txt", b"caf\xe9", "docs/a.txt: line 1: not UTF-8"),
        ("docs/a.xml", "<a><b></a>", "docs/a.xml: malformed XML at line 1"),
        ("docs/a.pdf", "%PDF", "'docs': 'a.pdf': '.pdf' is not read"),
        ("docs/a.txt.gz", "x", "docs/a.txt.gz"),
        ("table/a.csv", "id,text\n1,one\n1,two\n", "table/a.csv: line 3: id '1' was there before"),
        ("table/a.csv", "id,text\n1,one\n2,\n", "table/a.csv: line 3: 'text' is empty"),
        ("table/a.txt", " \n", "'table': it is empty"),
    ],
)
def test_a_fault_in_the_files_names_them_as_given_with_line_and_field(
    tmp_path: Path, notes: Path, monkeypatch, name: str, content: str | bytes, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    notes.rename("docs")
    Path("exam.csv").write_text(EXAM)
    Path("table").mkdir()
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary = tempfile.mkdtemp(dir=tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    with pytest.raises(UserError) as caught:
        init(Path("table" if name.startswith("table") else "docs"), questions=Path("exam.csv"), out=Path("my.yaml"))
    assert said in str(caught.value)
    assert temporary not in str(caught.value)
    assert not Path("my.yaml").exists()


def test_what_is_passed_over_is_told_of_the_file_that_was_given(
    tmp_path: Path, notes: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exam.csv").write_text(EXAM)
    with zipfile.ZipFile("books.zip", "w") as archive:
        archive.writestr("a.txt", "The drug is given for the disease.")
        archive.writestr("a.pdf", "%PDF")
    init(Path("books.zip"), questions=Path("exam.csv"), out=Path("my.yaml"))
    told = [line for line in capsys.readouterr().err.splitlines() if "passed over" in line]
    assert {line.partition(":")[0] for line in told} == {"books.zip"}


def test_a_table_in_utf_16_is_read_as_that_and_a_folder_is_no_table(tmp_path: Path, notes: Path) -> None:
    exam = tmp_path / "exam.tsv"
    exam.write_bytes(EXAM.replace(",", "\t").encode("utf-16"))  # as Excel saves "Unicode text"
    init(notes, questions=exam, out=tmp_path / "my.yaml")
    [entry] = yaml.safe_load((tmp_path / "my.yaml").read_text())["prepare"]["questions"]
    assert entry["encoding"] == "utf-16"
    with pytest.raises(UserError, match="is a folder; allowed: a table"):
        init(notes, questions=notes, out=tmp_path / "other.yaml")
