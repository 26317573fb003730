"""The seeds of a run joined: pooled rows, and differences between systems, with intervals by the bootstrap.

Questions are the same for all seeds and systems, so the bootstrap draws questions and seeds (each with replacement) and
keeps both systems of a difference on the same draw: a paired comparison. Intervals are percentiles of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmlr.metrics import names
from jmlr.report.load import ALL, COLUMNS, Row, Run, System
from jmlr.runtime.errors import UserError

DRAWS, DRAW_SEED = 2000, 20240227


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; where all values are alike it has no width, and says nothing of other questions."""

    value: float
    low: float
    high: float

    @property
    def beyond_zero(self) -> bool:
        """Whether the interval has a width and excludes zero."""
        return not self.alike and (self.low > 0 or self.high < 0)

    @property
    def alike(self) -> bool:
        """Whether all values are the same, so that the bootstrap knows no more."""
        return self.high - self.low < 1e-12  # two sums of the same values may differ in their last bit


def pooled_rows(run: Run) -> list[Row]:
    """Return one row with seed "all" for each figure: the mean over seeds, its interval over questions and seeds.

    One seed: that seed's own interval. The calibration error is no mean over questions and has none, nor has a figure whose
    values are all alike. `n` stays the number of questions.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in run.rows:
        groups.setdefault(row.key, []).append(row)
    pooled = []
    for rows in groups.values():
        if len({row.seed for row in rows}) != len(rows):
            raise UserError(
                f"metrics of system {rows[0].system}, seed {rows[0].seed}: {rows[0].metric} stands there twice"
            )
        first = rows[0]
        if len(rows) > 1:
            parts = _values(run, rows)
            interval = bootstrap(parts) if parts else None
            low, high = (interval.low, interval.high) if interval and not interval.alike else (None, None)
            first = replace(first, value=settled(np.mean([row.value for row in rows])), low=low, high=high)
        pooled.append(replace(first, seed=ALL))
    return pooled


def _values(run: Run, rows: Sequence[Row]) -> list[NDArray[np.float64]]:
    """Return the values behind a figure of several seeds, for each dataset [seeds, questions]; NaN: that seed has none."""
    first = rows[0]
    held = [run.values[first.system, int(row.seed)] for row in rows]
    names = sorted(held[0].datasets) if first.dataset == ALL else [first.dataset]
    parts = []
    for name in names:
        seeds = [values.of(first.round, name, first.split, first.metric, first.k) for values in held]
        ids = list(dict.fromkeys(id for values in seeds for id in values))
        if ids:
            parts.append(np.array([[values.get(id, np.nan) for id in ids] for values in seeds]))
    return parts


def change(run: Run, system: str, metric: str, k: int | None, rounds: tuple[int, int]) -> Estimate | None:
    """Return how a figure of the headline's questions changed between two rounds, question by question; None where it is not known."""
    dataset, split = headline(run)
    rows = [[r for r in run.rows if r.key == (system, n, dataset, split, metric, k)] for n in rounds]
    before, after = (_values(run, own) if own else [] for own in rows)
    if not before or [part.shape for part in before] != [part.shape for part in after]:
        return None
    return bootstrap([b - a for a, b in zip(before, after, strict=True)])


def difference(run: Run, a: str, b: str, dataset: str, split: str) -> Estimate:
    """Return the accuracy of `a` less that of `b`, on the same questions and seeds."""
    return bootstrap(differences(run, a, b, dataset, split))


def differences(run: Run, a: str, b: str, dataset: str, split: str) -> list[NDArray[np.float64]]:
    """Return, for each dataset, 1 where only `a` is right, -1 where only `b` is, else 0: [seeds, questions]."""
    seeds = [seed for seed in run.seeds_of(a) if seed in run.seeds_of(b)]
    if not seeds:
        raise UserError(f"systems {a} and {b} have no seed in common")
    parts = _parts(run, dataset, split)
    return [np.stack([marks(run, a, s, ids) - marks(run, b, s, ids) for s in seeds]) for ids in parts]


def bootstrap(parts: Sequence[NDArray[np.float64]]) -> Estimate:
    """Return the mean over datasets of figures [seeds, questions], with its interval over seeds and questions."""
    low, high = np.percentile(resample(parts), [2.5, 97.5])
    value = np.mean([np.nanmean(part, axis=1).mean() for part in parts])
    return Estimate(settled(value), settled(low), settled(high))


def settled(value: float | np.floating[Any]) -> float:
    """Return a figure as the files have it, so that the page rounds what a reader of the files would.

    >>> mean = (0.2675 + 0.2075 + 0.2675) / 3
    >>> f"{100 * mean:.1f}", f"{100 * settled(mean):.1f}"
    ('24.7', '24.8')
    """
    return round(float(value), 6)


def resample(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean over datasets in each of the bootstrap's draws, float64 [DRAWS].

    A seed's mean is over the drawn questions that have a value there (all, but for figures such as the share of cited passages).
    """
    rng = np.random.default_rng(DRAW_SEED)
    seeds = parts[0].shape[0]
    seed_draws = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds  # [R, seeds]
    means = np.zeros(DRAWS)
    for part in parts:
        size, known = part.shape[1], ~np.isnan(part)
        filled = np.where(known, part, 0.0)
        for i in range(0, DRAWS, 100):  # in blocks: a large test set need not fit 2,000 times
            block = slice(i, i + 100)
            draws = rng.multinomial(size, np.full(size, 1 / size), size=len(means[block])) / size  # [R, questions]
            weights = draws @ known.T  # [R, seeds]: 1 where every question has a value
            own = np.divide(draws @ filled.T, weights, out=np.zeros_like(weights), where=weights > 0)
            means[block] += (seed_draws[block] * own).sum(1) / len(parts)
    return means


def marks(run: Run, system: str, seed: int, ids: Sequence[str]) -> NDArray[np.float64]:
    """Return 1 for each question answered right, else 0, in the order of `ids`."""
    answers = run.answers[system, seed]
    right = dict(zip(answers.ids, answers.correct, strict=True))
    missing = next((i for i in ids if i not in right), None)
    if missing is not None:
        raise UserError(f"'{answers.path}': no answer to question '{missing}', which other systems answered")
    return np.array([right[i] for i in ids], dtype=np.float64)


def _parts(run: Run, dataset: str, split: str) -> list[list[str]]:
    """Return the ids of the questions with a gold option, by dataset."""
    answers = next(iter(run.answers.values()))
    parts: dict[str, list[str]] = {}
    for i, d, s, g in zip(answers.ids, answers.datasets, answers.splits, answers.gold, strict=True):
        if s == split and g >= 0 and dataset in (d, ALL):
            parts.setdefault(d, []).append(i)
    return [parts[d] for d in sorted(parts)]


def headline(run: Run) -> tuple[str, str]:
    """Return the dataset and split that the tables are about: all datasets (or the only one) of the test split."""
    rows = [row for row in run.rows if row.metric == "accuracy"]
    if not rows:
        raise UserError("no accuracy in any metrics.csv")
    splits = list(dict.fromkeys(row.split for row in rows))
    split = "test" if "test" in splits else splits[0]
    names = list(dict.fromkeys(row.dataset for row in rows if row.split == split))
    return (ALL if ALL in names else names[0]), split


def datasets(run: Run) -> dict[str, set[str]]:
    """Return the datasets of the headline's split that each metric has a figure of."""
    split = headline(run)[1]
    found: dict[str, set[str]] = {}
    for row in run.rows:
        if row.split == split:
            found.setdefault(row.metric, set()).add(row.dataset)
    return found


def ordered(run: Run, rows: Sequence[Row]) -> list[Row]:
    """Sort rows: system as in the table, then seed (pooled last), split, dataset, metric, k, round."""
    place = {system.name: i for i, system in enumerate(run.systems)}
    metric = {name: i for i, name in enumerate(names())}
    return sorted(
        rows,
        key=lambda r: (
            place[r.system], (1, 0) if r.seed == ALL else (0, int(r.seed)), r.split, r.dataset,
            metric.get(r.metric, len(metric)), r.metric, r.k or 0, r.round,
        ),
    )  # fmt: skip


def counterpart(run: Run, joint: System) -> System | None:
    """Return the system that differs from a joint one in that its retriever stays frozen; None if there is none.

    Its LLM was trained too: beside one as it is, what fine-tuning gains would pass for a gain of joint training.
    """
    same = (s for s in run.systems if s.reads and not s.joint and (s.llm, s.retriever) == (joint.llm, joint.retriever))
    return next((s for s in same if s.tuned), None)


def without_passages(run: Run, reading: System) -> System | None:
    """Return the system that differs from a reading one in that it reads nothing: of the same LLM, trained as that is or not."""
    closed = (s for s in run.systems if not s.reads)
    return next((s for s in closed if (s.llm, s.tuned) == (reading.llm, reading.tuned)), None)


def main_joint(run: Run) -> System | None:
    """Return the joint system that the report is about: LLM-Rank (the paper's) before its ablations."""
    joint = [s for s in run.systems if s.joint]
    paper = [s for s in joint if s.name == "jmlr"] or [s for s in joint if s.train.get("target") == "llm_rank"] or joint
    return paper[0] if paper else None


def lookup(
    run: Run, system: str, metric: str, *, seed: str = ALL, dataset: str = "", split: str = "", k: int | None = None
) -> dict[int, Row]:
    """Return a figure by round."""
    dataset, split = dataset or headline(run)[0], split or headline(run)[1]
    rows = run.pooled if seed == ALL else run.rows
    wanted = (system, metric, seed, dataset, split, k)
    return {r.round: r for r in rows if (r.system, r.metric, r.seed, r.dataset, r.split, r.k) == wanted}


def fields(row: Row) -> list[str]:
    """Return the cells of a row of results.csv; numbers have at most six decimals."""
    values = [getattr(row, column) for column in COLUMNS]
    return [
        ("" if v is None else f"{v:.6f}".rstrip("0").rstrip(".") if isinstance(v, float) else str(v)) for v in values
    ]
