"""How a run is made again: the command and the commit that the page shows."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import pytest

from jmlr.config import Config
from jmlr.options import ReportOptions
from jmlr.runtime.checkout import called, commit
from jmlr.stages.report import report

ROOT = Path(__file__).resolve().parents[3]
REAL = {"run": "openstax", "report": {"command": "make real DATA=..."}}


def page(folders, out, **more):
    report(out, **{**folders.arguments(), "options": ReportOptions(), **more})
    return html.unescape((out / "report.html").read_text())


@pytest.mark.parametrize(
    ("config", "files", "overrides", "command"),
    [
        ({}, [], [], "make demo"),
        ({}, [], ["seeds=[0]"], "make demo"),
        ({"seeds": [0, 1, 2]}, [], ["seeds=[0,1,2]"], 'make demo SEEDS="0 1 2"'),
        ({}, [], ["train={steps: 9}"], "snakemake --cores all --config 'train={steps: 9}'"),
        (REAL, ["config/runs/openstax.yaml"], ["seeds=[0]"], "make real DATA=..."),
        ({**REAL, "seeds": [2, 0]}, ["config/runs/openstax.yaml"], ["seeds=[2,0]"], 'make real DATA=... SEEDS="2 0"'),
        (REAL, ["config/runs/openstax.yaml", "more.yaml"], [],
         "snakemake --cores all --configfile config/runs/openstax.yaml more.yaml"),
        ({"run": "mine", "seeds": [1, 2]}, ["config/my runs/a.yaml"], [],
         "snakemake --cores all --configfile 'config/my runs/a.yaml'"),
        ({"run": "mine"}, ["../a.yaml"], ["seeds=[3]"],
         f"snakemake --cores all --configfile {ROOT.parent}/a.yaml --config 'seeds=[3]'"),
        ({"run": "mine", "report": {"command": "sbatch mine.sh"}}, ["mine.yaml"], ["seeds=[3]"], "sbatch mine.sh"),
    ],
)  # fmt: skip
def test_the_command_is_the_one_that_was_given(config, files, overrides, command):
    paths = [(ROOT / name).resolve() for name in files]
    assert Config.load(config).again(paths, overrides, ROOT) == command


def test_a_file_is_called_from_the_checkout_that_holds_it():
    assert called(ROOT / "config/../config/runs/a.yaml", ROOT) == "config/runs/a.yaml"
    assert called(ROOT / "..a.yaml", ROOT) == "..a.yaml"
    assert called(ROOT.parent / "a.yaml", ROOT) == f"{ROOT.parent}/a.yaml"


def test_the_workflow_gives_the_command_and_the_commit_without_making_them_a_reason_to_report_again():
    text = (ROOT / "workflow/rules/report.smk").read_text()
    for name in ("again", "commit"):
        assert re.search(rf'^        {name}=lambda w, resources: words\("--{name}", ', text, re.M)
        assert f"{{params.{name}}}" in text


def test_the_page_shows_the_command_and_the_commit(folders, tmp_path):
    again = "snakemake --cores all --configfile mine.yaml --config 'seeds=[0,1]'"
    shown = page(folders, tmp_path / "out", again=again, commit="abc1234+changes")
    assert f"<pre>{again}</pre>" in shown
    assert "<dt>commit</dt><dd><code>abc1234+changes</code></dd>" in shown


def test_the_page_names_no_command_and_no_commit_that_it_does_not_know(folders, tmp_path):
    shown = page(folders, tmp_path / "out")
    assert "<pre>" not in shown
    assert "<dt>commit</dt>" not in shown
    assert "<pre>sbatch mine.sh</pre>" in page(folders, tmp_path / "o", options=ReportOptions(command="sbatch mine.sh"))


@pytest.fixture
def repository(tmp_path):
    """Make a repository with one commit; skip where there is no git."""
    made = tmp_path / "checkout"
    made.mkdir()
    (made / "file").write_text("1")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    try:
        for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"], ["tag", "v1"]):
            subprocess.run(["git", *author, *command], cwd=made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no git on PATH")
    return made


def test_the_commit_is_a_short_id_with_a_mark_where_files_differ_from_it(repository):
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"[0-9a-f]{7,}", commit(repository))
    assert head.startswith(commit(repository))
    (repository / "new").write_text("not tracked")
    assert "+" not in commit(repository)
    (repository / "file").write_text("2")
    assert commit(repository).endswith("+changes")
    assert head.startswith(commit(repository).removesuffix("+changes"))


def test_no_commit_is_told_without_git_or_of_a_repository_around_the_checkout(repository, monkeypatch):
    (repository / "copy").mkdir()
    assert commit(repository / "copy") == ""
    assert commit(repository / "nowhere") == ""
    monkeypatch.setenv("PATH", "")
    assert commit(repository) == ""
