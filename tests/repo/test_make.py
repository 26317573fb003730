"""`make clean` and `make purge`: what is lost is builds alone, or what was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = ("results/demo", "logs/demo", "scratch/demo", "benchmarks/rules/demo", ".snakemake/metadata")


def make(folder: Path, target: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = ["make", "--makefile", str(ROOT / "Makefile"), "--directory", str(folder), target]
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in (*RUNS, "build", "benchmarks/mine"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_make_clean_removes_builds_and_no_run(runs: Path) -> None:
    """Fix: `clean` may remove build/ alone; what holds runs belongs to `purge`."""
    done = make(runs, "clean")
    assert done.returncode == 0, done.stderr
    assert not (runs / "build").exists()
    assert all((runs / name).is_dir() for name in RUNS)


@pytest.mark.parametrize("said", ["", "\n", "no\n", "y\n"])
def test_make_purge_removes_nothing_without_a_yes(runs: Path, said: str) -> None:
    """Fix: `purge` asks first, and takes anything but `yes` for a no."""
    done = make(runs, "purge", said)
    assert done.returncode != 0
    assert "nothing was removed" in done.stdout
    assert all((runs / name).is_dir() for name in (*RUNS, "build"))


def test_make_purge_shows_the_runs_and_removes_them_after_a_yes(runs: Path) -> None:
    """Fix: Name in RUNS of the Makefile every folder that runs leave behind."""
    done = make(runs, "purge", "yes\n")
    assert done.returncode == 0, done.stderr
    assert "results/demo" in done.stdout
    assert not any((runs / name).exists() for name in (*RUNS, "build"))
    assert (runs / "benchmarks/mine").is_dir()
    assert "nothing to remove" in make(runs, "purge").stdout
