"""The benchmark of the joint step still runs, and all contestants compute the same losses."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_all_contestants_compute_the_same_losses(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import train_cpu

    shape = replace(train_cpu.SHAPES[0], vocabulary=200, batch=3, candidates=5, samples=3, passages=2)
    losses, seconds = {}, {}
    for name in ("fast", "twin", "released"):
        bench = train_cpu.Bench.make(shape, "cpu", name)
        with train_cpu.phases(seconds):
            losses[name] = bench.step(name)
    assert losses["twin"] == pytest.approx(losses["fast"], rel=1e-4)
    assert losses["released"] == pytest.approx(losses["fast"], rel=1e-4)
    assert set(seconds) == set(train_cpu.PHASES)
    sys.modules.pop("train_cpu")
