"""YAML that reads otherwise than it looks is said with file and line, before it costs anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jmlr.commands.config import read_config
from jmlr.runtime.errors import UserError
from jmlr.runtime.misread import misread, refuse_misread

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train:\n  runtime: 2:00:00", ["line 2: runtime: 2:00:00 is read as 7200; "]),
        (
            "a: {runtime: 1:30, mem_mb: 010}",
            ["line 1: runtime: 1:30 is read as 90; ", "line 1: mem_mb: 010 is read as 8; "],
        ),
        ("a: 1:30.5", ["line 1: a: 1:30.5 is read as 90.5; "]),
        ("seeds:\n- 0\n- 010", ["line 3: 010 is read as 8; "]),
        ("train: {steps: 1}\nrun: x\ntrain: {batch: 2}", ["line 3: 'train' stands in line 1 already, "]),
        ("a: &x {t: 1:00}\nb: *x\nc: {<<: *x}", ["line 1: t: 1:00 is read as 60; "]),
    ],
)
def test_what_is_read_otherwise_than_it_looks_is_said_once(text, said):
    found = list(misread(text))
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found


@pytest.mark.parametrize(
    "text",
    ["a: 120", "a: '2:00:00'", "a: 02:00:00", "a: 0", "a: 0.5", "a: 08", "a: 2026-01-02", "a: 10:20:pm", "- {a: 1}\n- {a: 2}",
     "", "a: [", "a: 2h", "x: {<<: {a: 1}, b: 2}", '{"a": 1}'],
)  # fmt: skip
def test_other_text_is_left_alone(text):
    assert list(misread(text)) == []


def test_the_files_of_the_checkout_are_read_as_they_look():
    files = [p for folder in ("config", "profiles", "docs", "envs") for p in (ROOT / folder).rglob("*.yaml")]
    assert len(files) > 20
    refuse_misread(files)


def test_a_runs_file_is_refused_by_the_check_of_the_configuration(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("run: mine\ntrain:\n  checkpoint_min: 1:30\n")
    assert yaml.safe_load(file.read_text())["train"]["checkpoint_min"] == 90
    with pytest.raises(UserError, match=r"run\.yaml, line 3: checkpoint_min: 1:30 is read as 90"):
        read_config(file)
