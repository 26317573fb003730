"""Figures reach the boards, numbers only, and what is asked for and missing is said."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import jmlr.runtime.trackers as trackers
import jmlr.training.boards as boards
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import stage_output
from jmlr.training.boards import Boards, drop_figures, keep_events, runs_of
from jmlr.training.state import drop_states


def test_weights_and_biases_asked_for_and_not_installed_is_refused(tmp_path, monkeypatch):
    for module in (boards, trackers):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="mlflow is not installed"):
        Boards(tmp_path, mlflow="experiment")
    with pytest.raises(UserError, match="wandb is not installed"):
        Boards(tmp_path, wandb="project")
    with Boards(tmp_path) as quiet:
        quiet.write(1, {"loss_lm": 1.0})
        assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss_lm": 1.0}\n'  # there while it runs
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_both_boards_get_every_figure_that_is_known(tmp_path, monkeypatch):
    sent = []

    class Writer:
        def __init__(self, folder):
            sent.append(("folder", folder))

        def add_scalar(self, key, value, step):
            sent.append((key, value, step))

        def close(self):
            sent.append("closed")

    run = SimpleNamespace(
        id="w1", log=lambda figures, step: sent.append((figures, step)), finish=lambda: sent.append("finished")
    )
    board, service = ModuleType("torch.utils.tensorboard"), ModuleType("wandb")
    board.SummaryWriter, service.init = Writer, lambda **about: sent.append(about) or run
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "wandb", service)
    for module in (boards, trackers):
        monkeypatch.setattr(module, "find_spec", lambda name: object())
    with Boards(tmp_path / "scratch", wandb="project", name="train r1") as both:
        both.write(3, {"loss_lm": 1.5, "hit": None})
    assert sent == [
        ("folder", str(tmp_path / "scratch/tensorboard")),
        {"project": "project", "name": "train r1", "dir": str(tmp_path / "scratch")},
        ("loss_lm", 1.5, 3),
        ({"loss_lm": 1.5}, 3),
        "closed",
        "finished",
    ]
    sent.clear()
    with Boards(tmp_path / "scratch", wandb="project", name="train r1"):  # after a kill: the same run goes on
        assert runs_of(tmp_path / "scratch") == {"wandb": "w1"}
    assert {
        "project": "project",
        "name": "train r1",
        "dir": str(tmp_path / "scratch"),
        "id": "w1",
        "resume": "allow",
    } in sent


def test_the_events_of_a_finished_training_stay_beside_its_output(tmp_path):
    (tmp_path / "scratch/tensorboard").mkdir(parents=True)
    (tmp_path / "scratch/tensorboard/events").write_text("x")
    (tmp_path / "out").mkdir()
    keep_events(tmp_path / "scratch", tmp_path / "out")
    assert (tmp_path / "out/tensorboard/events").read_text() == "x"


def test_a_finished_training_removes_from_its_scratch_folder_what_is_its_own(tmp_path):
    ours = [
        "step-00000003/state.json",
        ".step-00000004.abcdefgh.partial/state.json",
        "tensorboard/events",
        "metrics.jsonl",
        "boards.json",
    ]
    for name in [*ours, ".step-00000004.abcdefgh.lock", "thesis.txt", "step-by-step/notes.txt"]:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).touch()
    drop_figures(tmp_path / "mine")
    drop_states(tmp_path / "mine")
    left = {str(p.relative_to(tmp_path / "mine")) for p in (tmp_path / "mine").rglob("*") if p.is_file()}
    assert left == {"thesis.txt", "step-by-step/notes.txt"}


def test_the_figures_in_a_trainings_output_do_not_keep_it_from_being_replaced(tmp_path):
    for _ in range(2):
        with stage_output(tmp_path / "out", "train", inputs={}) as (folder, _notes):
            (folder / "adapter").touch()
        (tmp_path / "scratch/tensorboard").mkdir(parents=True)
        (tmp_path / "scratch/tensorboard/events").touch()
        keep_events(tmp_path / "scratch", tmp_path / "out")
    assert (tmp_path / "out/tensorboard/events").exists()
