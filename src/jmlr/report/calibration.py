"""How far each system's confidence can be trusted, from the probabilities stored with its answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from jmlr.metrics.ece import Bin, ece, reliability, sure
from jmlr.report.load import ALL, Run, System, read_parquet
from jmlr.report.pool import headline

COLUMNS = ("dataset", "split", "answer", "predicted", "probabilities")


@dataclass(frozen=True)
class Calibration:
    """One system's reliability over the headline's questions, all seeds taken together."""

    system: System
    bins: list[Bin]
    ece: float
    seeds: int
    n: int


def calibrations(run: Run) -> list[Calibration]:
    """Return the calibration of every system whose answers have probabilities."""
    dataset, split = headline(run)
    found = []
    for system in run.systems:
        parts = []
        for seed in run.seeds_of(system.name):
            path = run.answers[system.name, seed].path
            if "probabilities" not in pq.read_schema(path).names:
                continue
            rows = read_parquet(path, COLUMNS).to_pylist()
            own = (r for r in rows if r["split"] == split and dataset in (r["dataset"], ALL))
            parts.append([pair for r in own if (pair := sure(r))])
        if any(parts):
            confidence, correct = np.array([pair for part in parts for pair in part]).T
            bins = reliability(confidence, correct)
            found.append(Calibration(system, bins, ece(confidence, correct), len(parts), len(confidence)))
    return found
