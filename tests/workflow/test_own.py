"""A run of one's own as docs/data.md tells a new user: its own examples, read from the page, run in a fresh clone."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from checkout import ROOT, Checkout, failure, jobs_of

TEXT = (ROOT / "docs/data.md").read_text(encoding="utf-8").partition("## Your own")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.S)
MINE = next(text for kind, text in BLOCKS if kind == "yaml")
COMMANDS = [text for kind, text in BLOCKS if not kind and text.startswith(("jmlr ", "snakemake "))]
SMALL = (ROOT / "tests/workflow/small.yaml").read_text(encoding="utf-8")
CLOSED = """
prepare: {corpora: []}
models: {llm: {path: results/own/llm/seed0/pretrain}}
train: {steps: 2, batch: 4}
evaluate: {bootstrap: 100}
run: closed
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    copy = Checkout(tmp_path_factory.mktemp("own") / "clone")
    for name, text in {"my.yaml": MINE, "small.yaml": SMALL, "closed.yaml": CLOSED}.items():
        (copy.folder / name).write_text(text)
    return copy


def lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").strip().splitlines()


def test_the_example_of_the_docs_is_a_whole_run_as_it_stands(clone: Checkout) -> None:
    check, run = lines(COMMANDS[0])
    done = clone.run("bash", "-c", check)
    assert done.returncode == 0, failure(done)
    assert done.stdout.startswith("my.yaml: a run 'own' of 3 systems")
    planned = clone.run("bash", "-c", f"{run} --dry-run")
    jobs = jobs_of(planned.stdout + planned.stderr)
    assert (jobs["fetch"], jobs["prepare"], jobs["pretrain"], jobs["train"], jobs["report"]) == (2, 1, 2, 4, 1)
    prepared = yaml.safe_load(MINE)["prepare"]
    assert len(list((clone.folder / "docs/own/documents").iterdir())) == 30
    assert set(prepared) == {"questions"}, "the passages are those of the source `documents`"


def test_the_two_data_stages_make_tables_by_hand_and_by_the_workflow(clone: Checkout) -> None:
    for line in lines(COMMANDS[1]):
        done = clone.run("bash", "-c", line)
        assert done.returncode == 0, failure(done)
    tables = clone.folder / "tables/prepared"
    passages = pq.read_table(tables / "passages.parquet").to_pylist()
    assert len({p["section"] for p in passages}) == 30
    questions = pq.read_table(tables / "questions.parquet").to_pylist()
    assert len(questions) == 40
    assert all(q["gold_ids"] for q in questions)
    [line] = lines(COMMANDS[2])
    done = clone.run("bash", "-c", f"{line} --quiet all")
    assert done.returncode == 0, failure(done)
    for name in ("passages", "questions"):
        made = clone.folder / f"results/own/prepare/{name}.parquet"
        assert pq.read_table(made).equals(pq.read_table(tables / f"{name}.parquet"))


def test_what_the_workflow_would_refuse_is_one_line_of_the_check_too(clone: Checkout) -> None:
    wrong = {"no file": MINE.replace("exam.csv", "exam.cvs"), "no folder": MINE.replace("docs/own", "docs/mine"),
             "no entry": MINE.replace("questions: [", "qestions: [")}  # fmt: skip
    for text in wrong.values():
        (clone.folder / "wrong.yaml").write_text(text)
        check = clone.run("jmlr", "config", "--check", "wrong.yaml")
        run = clone.run("snakemake", "--cores", "1", "--configfile", "wrong.yaml", "--dry-run", "--quiet", "all")
        assert (check.returncode, run.returncode) == (2, 1)
        said = check.stderr.strip().removeprefix("jmlr config: wrong.yaml: ")
        assert "\n" not in said
        assert said in run.stdout + run.stderr, "both say the same"


@pytest.mark.slow
def test_own_data_goes_all_the_way_to_the_table_and_so_does_a_closed_book(clone: Checkout) -> None:
    done = clone.run("snakemake", "--cores", "2", "--quiet", "all", "--configfile", "my.yaml", "small.yaml")
    assert done.returncode == 0, failure(done)
    table = (clone.folder / "results/own/report/table.txt").read_text()
    assert "JMLR" in table
    done = clone.run("snakemake", "--cores", "2", "--configfile", "my.yaml", "closed.yaml")
    assert done.returncode == 0, failure(done)
    jobs = jobs_of(done.stdout + done.stderr)
    assert jobs == {"fetch": 1, "prepare": 1, "train": 1, "answer": 1, "evaluate": 1, "report": 1}, "nothing to search"
    assert "Closed book" in (clone.folder / "results/closed/report/table.txt").read_text()


def test_the_example_holds_what_it_says() -> None:
    exam = (ROOT / "docs/own/exam.csv").read_text().splitlines()
    assert len(exam) == 41
    assert {Path(line.rpartition(",")[2]).suffix for line in exam[1:]} == {".md", ".txt"}
