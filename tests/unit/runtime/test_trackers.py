"""What was measured in the end reaches the boards that a training was sent to, in its run, and a board that fails takes nothing away."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from jmlr.runtime import trackers
from jmlr.runtime.trackers import open_runs, send_final

FIGURES = [(0, "test/d/hit_at_1", 0.25), (2, "test/d/hit_at_1", 0.5), (2, "test/d/hit_at_1_n", 8.0)]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for both services: what they hold, by run."""
    held: dict[str, Any] = {"wandb": {}, "mlflow": {}, "ended": []}

    def init(*, project: str, name: str, dir: str, id: str = "w1", resume: str = "") -> Any:
        run = held["wandb"].setdefault(id, {"project": project, "name": name, "summary": {}})
        assert (resume == "allow") == (id != "w1")
        return SimpleNamespace(
            id=id, log=lambda figures, step: run.update({step: figures}), summary=run["summary"],
            finish=lambda: held["ended"].append(id))  # fmt: skip

    class MlflowClient:
        def get_experiment_by_name(self, name: str) -> Any:
            return None

        def create_experiment(self, name: str) -> str:
            return f"number of {name}"

        def create_run(self, number: str, run_name: str) -> Any:
            held["mlflow"]["m1"] = {"experiment": number, "name": run_name}
            return SimpleNamespace(info=SimpleNamespace(run_id="m1"))

        def log_metric(self, id: str, key: str, value: float, step: int | None = None) -> None:
            held["mlflow"].setdefault(id, {})[key, step] = value

        def set_terminated(self, id: str) -> None:
            held["ended"].append(id)

    for name, content in (("wandb", {"init": init}), ("mlflow", {"MlflowClient": MlflowClient})):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)  # no TensorBoard
    return held


def test_the_last_rounds_figures_go_into_the_run_of_the_training(services: dict[str, Any], tmp_path: Path) -> None:
    asked, known = {"wandb": "project", "mlflow": "experiment"}, {"wandb": "w9", "mlflow": "m9"}
    send_final(tmp_path, asked, "evaluate jmlr", known, FIGURES)
    last = {"test/d/hit_at_1": 0.5, "test/d/hit_at_1_n": 8.0}
    assert services["wandb"] == {"w9": {"project": "project", "name": "evaluate jmlr", "summary": last}}
    assert services["mlflow"] == {"m9": {(key, None): value for key, value in last.items()}}
    assert services["ended"] == ["w9", "m9"]


def test_a_row_without_a_training_gets_a_run_of_its_own(services: dict[str, Any], tmp_path: Path) -> None:
    send_final(tmp_path, {"wandb": "", "mlflow": "experiment"}, "evaluate zero", {}, FIGURES)
    assert services["wandb"] == {}
    told = {"experiment": "number of experiment", "name": "evaluate zero"}
    assert services["mlflow"]["m1"].items() >= {**told, ("test/d/hit_at_1", None): 0.5}.items()


def test_steps_reach_both_services(services: dict[str, Any], tmp_path: Path) -> None:
    runs = open_runs({"wandb": "project", "mlflow": "experiment"}, "train r1", tmp_path, {})
    for run in runs.values():
        run.log({"loss_lm": 1.5}, 3)
        run.finish()
    assert services["wandb"]["w1"][3] == {"loss_lm": 1.5}
    assert services["mlflow"]["m1"]["loss_lm", 3] == 1.5
    assert {name: run.id for name, run in runs.items()} == {"wandb": "w1", "mlflow": "m1"}


def test_a_service_that_fails_is_one_line_and_the_other_gets_its_figures(
    services: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(**_: Any) -> Any:
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(sys.modules["wandb"], "init", down)
    send_final(tmp_path, {"wandb": "project", "mlflow": "experiment"}, "evaluate jmlr", {"mlflow": "m9"}, FIGURES)
    told = f"evaluate jmlr: warning: wandb did not get the figures (no route to host); {tmp_path} has them\n"
    assert capsys.readouterr().err == told
    assert "m9" in services["mlflow"]


def test_tensorboard_shows_every_round_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="shown where tensorboard is installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    send_final(tmp_path, {}, "evaluate jmlr", {}, FIGURES)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors("test/d/hit_at_1")]
    assert found == [(0, 0.25), (2, 0.5)]
