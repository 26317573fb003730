"""One cluster for all tests of this folder; where SLURM or its plugin is not installed they skip, saying so.

JMLR_NEED_SLURM=1, as CI sets it once it has installed SLURM, makes them fail instead.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest

from checkout import Checkout


def unavailable(reason: str) -> None:
    """Skip, or fail where SLURM must be there."""
    (pytest.fail if os.environ.get("JMLR_NEED_SLURM") == "1" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Bring up two nodes with two made-up GPUs each; return the environment that leads to them."""
    if missing := cluster.missing():
        unavailable(f"SLURM is not installed: no {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)")
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        unavailable("snakemake-executor-plugin-slurm is not installed: pip install snakemake-executor-plugin-slurm")
    folder = tmp_path_factory.mktemp("slurm")
    # The GPUs are made up, so computing is asked to stay on the CPU; without this every job with a GPU would refuse.
    environment = {**cluster.up(folder), "JMLR_DEVICE": "cpu"}
    try:
        yield environment
    finally:
        cluster.down(folder)


@pytest.fixture
def clone(slurm: dict[str, str], tmp_path: Path) -> Checkout:
    """Return a fresh copy of the checkout, whose commands see the cluster."""
    copy = Checkout(tmp_path / "clone")
    path = f"{slurm['PATH'].split(os.pathsep)[0]}:{copy.environment['PATH']}"
    copy.extra = {**slurm, "PATH": path}
    return copy
