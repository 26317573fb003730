import os
import sys

import pytest

from jmlr.runtime import progress
from jmlr.runtime.progress import Progress, set_pace


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        (10, "0.1 it/s | 30 h 00 min left"),
        (0.01, "100.0 it/s | 1 min 48 s left"),
        (1e-4, "10000.0 it/s | 1.1 s left"),
    ],
)
def test_the_time_that_is_left_is_told_in_units_that_a_person_reads(seconds, end):
    counted = Progress("train", 10_900)
    counted.done = 100
    assert counted.line(counted._start + 100 * seconds) == f"train: 100/10900 | {end}"


def test_before_the_first_unit_nobody_knows_and_at_the_end_the_whole_time_is_told():
    counted = Progress("train", 10)
    assert counted.line(counted._start + 5) == "train: 0/10 | 0.0 it/s | ? left"
    counted.done = 10
    assert counted.line(counted._start + 9000) == "train: 10/10 | 2 h 30 min"


@pytest.mark.parametrize(("local", "terminal", "pace"), [(True, True, "5.0"), (True, False, ""), (False, True, "")])
def test_only_stages_of_this_machine_speak_often_at_its_terminal(monkeypatch, local, terminal, pace):
    """What stands in the environment goes into every job that sbatch submits, whose log no terminal shows."""
    monkeypatch.setenv("JMLR_PROGRESS_S", "1")
    monkeypatch.delenv("JMLR_PROGRESS_S")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    set_pace(local=local)
    assert os.environ.get("JMLR_PROGRESS_S", "") == pace
    assert progress.interval_s() == (5.0 if pace or terminal else 60.0)


def test_a_pace_that_was_asked_for_stays(monkeypatch):
    monkeypatch.setenv("JMLR_PROGRESS_S", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    set_pace(local=True)
    assert progress.interval_s() == 1.0
