"""`jmlr why` names what changed in the code, not two digests."""

from __future__ import annotations

import json

import pytest

from jmlr.__main__ import main
from jmlr.options import IndexOptions
from jmlr.runtime.manifest import NAME, stage_output


@pytest.fixture
def run(tmp_path):
    for name in ("index", "later"):
        with stage_output(
            tmp_path / name, "index", inputs={}, options=[IndexOptions()], variants={"retriever": "dense"}
        ) as (folder, _):
            (folder / "index.json").write_text("{}")
    return tmp_path


def change(folder, edit):
    manifest = json.loads((folder / NAME).read_text())
    edit(manifest)
    (folder / NAME).write_text(json.dumps(manifest))


def test_of_what_is_as_it_was_nothing_is_said(run, capsys):
    assert main(["why", str(run)]) == 0
    assert capsys.readouterr().out == "2 of 2 outputs were made by the code as it is\n"


def test_what_changed_came_or_went_is_named_with_its_module(run, capsys):
    def edit(manifest):
        held = manifest["definitions"]["digests"]
        held["jmlr.stages.index:index"] = "0" * 8
        held["jmlr.topk.gone:gone"] = "0" * 8
        del held["jmlr.topk.contract:CONTRACT"]

    change(run / "index", edit)
    assert main(["why", str(run)]) == 0
    assert capsys.readouterr().out == (
        "index:\n"
        "    index in jmlr.stages.index: changed\n"
        "    CONTRACT in jmlr.topk.contract: reached now\n"
        "    gone in jmlr.topk.gone: reached no more\n"
        "1 of 2 outputs were made by the code as it is\n"
    )


def test_an_output_of_before_says_so(run, capsys):
    change(run / "later", lambda m: m.pop("definitions"))
    assert main(["why", str(run / "later")]) == 0
    assert "stage index: made before manifests held definitions" in capsys.readouterr().out


def test_a_folder_without_outputs_is_one_line(tmp_path, capsys):
    assert main(["why", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("folder", "said"), [("gone", "FOLDER: there is no 'gone'"), (".", "'.' holds no manifest.json: give a run's")]
)
def test_a_folder_that_is_not_there_or_no_run_is_one_line(tmp_path, monkeypatch, capsys, folder, said):
    monkeypatch.chdir(tmp_path)
    assert main(["why", folder]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
