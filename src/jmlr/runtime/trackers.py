"""Services that hold the figures of runs, where they are asked for: Weights & Biases and MLflow; and TensorBoard's events.

    runs = open_runs({"wandb": "my-project", "mlflow": ""}, "train jmlr r1", scratch, known={})
    runs["wandb"].log({"loss_lm": 1.3}, step=10)
    runs["wandb"].id                                # by which a later process goes on with the same run

Numbers only: no question, passage or answer leaves the machine, and no configuration either. Where a service is, and as whom it is
asked, it reads from its own variables (WANDB_API_KEY, MLFLOW_TRACKING_URI ...).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import BESIDE
from jmlr.runtime.progress import say


class Wandb:
    """A run of a project of Weights & Biases."""

    def __init__(self, project: str, name: str, folder: Path, known: str = "") -> None:
        import wandb

        again = {"id": known, "resume": "allow"} if known else {}
        self._run = wandb.init(project=project, name=name, dir=str(folder), **again)
        self.id = str(self._run.id)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Show the figures of a step."""
        self._run.log(dict(figures), step=step)

    def finish(self, figures: Mapping[str, float] | None = None) -> None:
        """End the run, with figures of its end where there are some."""
        if figures:
            self._run.summary.update(dict(figures))
        self._run.finish()


class Mlflow:
    """A run of an experiment of MLflow."""

    def __init__(self, experiment: str, name: str, folder: Path, known: str = "") -> None:
        from mlflow import MlflowClient

        del folder
        self._client = MlflowClient()
        found = None if known else self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else "" if known else self._client.create_experiment(experiment)
        self.id = known or str(self._client.create_run(number, run_name=name).info.run_id)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Show the figures of a step."""
        for name, value in figures.items():
            self._client.log_metric(self.id, name, value, step=step)

    def finish(self, figures: Mapping[str, float] | None = None) -> None:
        """End the run, with figures of its end where there are some."""
        for name, value in (figures or {}).items():
            self._client.log_metric(self.id, name, value)
        self._client.set_terminated(self.id)


SERVICES: dict[str, type[Wandb] | type[Mlflow]] = {"wandb": Wandb, "mlflow": Mlflow}


def check_installed(asked: Mapping[str, str]) -> None:
    """Raise UserError where a service is asked for whose package is not installed."""
    for service, place in asked.items():
        if place and find_spec(service) is None:
            raise UserError(
                f"--{service} {place}: the package {service} is not installed; install it (pip install {service}) or leave --{service} empty"
            )


def open_runs(asked: Mapping[str, str], name: str, folder: Path, known: Mapping[str, str]) -> dict[str, Wandb | Mlflow]:
    """Begin a run with each service that is asked for, or go on with the one that is known.

    Args:
        asked: service -> project or experiment; "": not asked for
        name: of a new run
        folder: for what a service keeps on this machine
        known: service -> id of a run that it holds already
    """
    return {s: SERVICES[s](place, name, folder, known.get(s, "")) for s, place in asked.items() if place}


def send_final(
    out: Path, asked: Mapping[str, str], name: str, known: Mapping[str, str], figures: Iterable[tuple[int, str, float]]
) -> None:
    """Show what was measured in the end: to each service by its last round, and as TensorBoard's events in `out`, where installed.

    What was measured stands in `out` already, so a service that fails is a warning.

    Args:
        out: a stage's finished output
        asked, name, known: as for `open_runs`
        figures: (round, name, value)
    """
    rows = list(figures)
    last = max((number for number, _, _ in rows), default=0)
    if find_spec("tensorboard") is not None:
        from tensorboard.summary import Writer  # torch's own writes the same, and needs torch

        writer = Writer(str(out / BESIDE))
        for number, key, value in rows:
            writer.add_scalar(key, value, step=number)
        writer.close()
    for service in (s for s, place in asked.items() if place):
        try:
            run = open_runs({service: asked[service]}, name, out / BESIDE, known)[service]
            run.finish({key: value for number, key, value in rows if number == last})
        except Exception as error:  # of whatever library the service has
            said = textwrap.shorten(" ".join(str(error).split()) or type(error).__name__, 160, placeholder=" ...")
            say(f"{name}: warning: {service} did not get the figures ({said}); {out} has them")
