"""How Snakemake is called, and names with braces: what would go wrong without a word is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkout import MINI, Checkout, failure


@pytest.fixture
def clone(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a clone")


def test_a_checkout_below_braces_is_refused_in_one_line(tmp_path: Path):
    done = Checkout(tmp_path / "a {b}/clone").snakemake("--dry-run")
    assert done.returncode != 0
    assert "a {b}/clone': Snakemake takes braces in its folder's name for a wildcard; move the checkout" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_configfile_option_is_refused_and_two_files_after_one_count(clone: Checkout):
    (clone.folder / "more.yaml").write_text("run: other\n")
    done = clone.snakemake("--dry-run", "--configfile", MINI, "--configfile", "more.yaml")
    assert done.returncode != 0
    line = "--configfile stands 2 times, and Snakemake takes the last alone; give it once, with all values after it"
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    done = clone.snakemake("--dry-run", "--configfile", MINI, "more.yaml")
    assert done.returncode == 0, failure(done)
    assert "results/other/report" in done.stdout + done.stderr


def test_a_time_in_sixties_in_a_profile_or_a_runs_file_is_refused_with_its_line(clone: Checkout):
    (clone.folder / "mine").mkdir()
    (clone.folder / "mine/config.yaml").write_text("set-resources:\n  train:\n    runtime: 2:00:00\n")
    done = clone.snakemake("--dry-run", "--profile", "mine", "--cores", "2")
    assert done.returncode != 0
    assert "mine/config.yaml, line 3: runtime: 2:00:00 is read as 7200" in done.stderr
    (clone.folder / "more.yaml").write_text("train: {checkpoint_min: 1:30}\n")
    done = clone.snakemake("--dry-run", "--configfile", MINI, "more.yaml")
    assert done.returncode != 0
    assert "more.yaml, line 1: checkpoint_min: 1:30 is read as 90" in done.stderr


def test_names_with_braces_are_fetched_or_refused_in_one_line(clone: Checkout):
    notes = (clone.folder / "tests/workflow/notes.jsonl").read_text()
    (clone.folder / "my {own} notes").mkdir()
    (clone.folder / "my notes").mkdir()
    for name in ("{.jsonl", "a }b{.jsonl", "{a b}.jsonl", "{}.jsonl"):
        (clone.folder / "my notes" / name).write_text(notes)
    for folder in ("my notes", "my {own} notes"):
        (clone.folder / f"{folder}.yaml").write_text(f"sources: {{notes: {{path: '{folder}'}}}}\n")
    target = ("--", "results/mini/fetch/notes")
    done = clone.snakemake("--configfile", MINI, "my notes.yaml", *target)
    assert done.returncode == 0, failure(done)
    assert len(list((clone.folder / "results/mini/fetch/notes").glob("*.jsonl"))) == 4
    (clone.folder / "my {own} notes/a.jsonl").write_text(notes)
    done = clone.snakemake("--configfile", MINI, "my {own} notes.yaml", *target)
    assert done.returncode != 0
    assert "config: sources.notes.path: 'my {own} notes': Snakemake takes '{own}' for a wildcard" in done.stderr
    assert "Traceback" not in done.stderr
