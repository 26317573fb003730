"""Which systems differ: every pair tested on the same questions, corrected for the number of pairs."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from jmlr.metrics.statistics.holm import holm
from jmlr.metrics.statistics.mcnemar import mcnemar
from jmlr.metrics.statistics.paired import paired_floor, paired_p
from jmlr.report.load import Run, System
from jmlr.report.pool import Estimate, bootstrap, differences, headline, main_joint, resample

MOST_SYSTEMS = (
    4  # with more of them every pair would be a long family; then the joint system is tested against each other
)
COLUMNS = ("first", "second", "difference", "low", "high", "bound", "p_bootstrap", "p_bootstrap_holm", "first_only", "second_only",
           "mcnemar_seed", "p_mcnemar", "p_mcnemar_holm", "n")  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two systems compared. McNemar's counts are of one seed: questions of several seeds are not independent.

    at_floor: no resample turned the difference round, so the bootstrap's p is at most what it says.
    """

    first: System
    second: System
    estimate: Estimate
    p: float
    p_holm: float
    at_floor: bool
    first_only: int
    second_only: int
    seed: int
    p_mcnemar: float
    p_mcnemar_holm: float
    n: int


def pairs(run: Run) -> list[Pair]:
    """Return the comparisons of the headline's accuracy, later systems of the table before earlier ones."""
    dataset, split = headline(run)
    joint = main_joint(run)
    chosen = [(b, a) for a, b in combinations(run.systems, 2)]
    if joint and len(run.systems) > MOST_SYSTEMS:
        chosen = [(joint, s) for s in run.systems if s.name != joint.name]
    found = []
    for a, b in chosen:
        seeds = [s for s in run.seeds_of(a.name) if s in run.seeds_of(b.name)]
        if not seeds:
            continue
        parts = differences(run, a.name, b.name, dataset, split)
        first = np.concatenate([part[0] for part in parts])
        wins, losses = int((first > 0).sum()), int((first < 0).sum())
        draws, p_mcnemar = resample(parts), mcnemar(wins, losses)
        p = paired_p(draws)
        at_floor = p <= paired_floor(len(draws))
        found.append(Pair(
            first=a, second=b, estimate=bootstrap(parts), p=p, p_holm=p, at_floor=at_floor, first_only=wins, second_only=losses,
            seed=seeds[0], p_mcnemar=p_mcnemar, p_mcnemar_holm=p_mcnemar, n=len(first),
        ))  # fmt: skip
    corrected = zip(found, holm([x.p for x in found]), holm([x.p_mcnemar for x in found]), strict=True)
    return [replace(x, p_holm=p, p_mcnemar_holm=q) for x, p, q in corrected]


def significance_csv(found: list[Pair]) -> str:
    """Return the comparisons as a table; differences are shares, not points. `bound` is of the bootstrap's p: "=", or "<=" at its floor."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for x in found:
        e = x.estimate
        writer.writerow([
            x.first.name, x.second.name, *(f"{v:.6f}" for v in (e.value, e.low, e.high)), "<=" if x.at_floor else "=", f"{x.p:.3g}", f"{x.p_holm:.3g}",
            x.first_only, x.second_only, x.seed, f"{x.p_mcnemar:.3g}", f"{x.p_mcnemar_holm:.3g}", x.n,
        ])  # fmt: skip
    return text.getvalue()


def p_value(p: float, at_floor: bool = False) -> str:
    """Write a p-value; one at the floor of a bootstrap is a bound.

    >>> p_value(0.0004), p_value(0.0312), p_value(1.0), p_value(0.00299850, at_floor=True)
    ('< 0.001', '0.031', '1.000', '≤ 0.003')
    """
    if at_floor and p < 1:
        return f"≤ {p:.3f}"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
