"""Expected values as data (config/expected/{run}.yaml), and how a run stands beside them: OK, OKISH or FAIL.

    source: JMLR (arXiv 2402.17887), accuracy in %
    okish_points: 3
    n: {medqa_usmle: 1273}                        # questions behind the expected figures, where known
    accuracy:
      jmlr: {title: JMLR-13B, medqa_usmle: 62.5, medmcqa: 65.5, all: 64.0}
      gpt4: {title: GPT-4, medqa_usmle: 74.7}              # a system that this run has not: shown beside it
    hit:
      jmlr: {title: JMLR, world: {value: 64.2, low: 53.5, high: 73.5}}

    differences:                                  # of accuracy, in points; time: the ratio of what the two roads' trainings take
      - {of: jmlr, to: rag, medqa_usmle: 2.6, all: 2.8}
      - {of: jmlr, to: pretrain, time: 0.26}

OK: the expected value is in our interval, or ours in its interval (given, or Wilson's from its n). OKISH: the intervals
overlap, or the two are at most `okish_points` apart. FAIL: else, in either direction. Datasets match whatever their case
and punctuation. A difference is held against the paired interval on the same questions: OK where that excludes zero and holds
what is expected, OKISH where it excludes zero on the same side, FAIL else: a null result replicates nothing. A ratio of time is
OK within a quarter of what is expected, OKISH on the same side of 1. A mean (`all`) compares with a mean over the same datasets only: see `Expected.within`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from jmlr.metrics.statistics.interval import wilson
from jmlr.report.load import ALL, Row
from jmlr.report.pool import Estimate
from jmlr.runtime.errors import UserError

METRICS = ("accuracy", "hit")
KEYS = ("source", "okish_points", "n", *METRICS, "differences")
TIME = "time"
NEAR = 1.25  # times the expected ratio of two times, either way


@dataclass(frozen=True)
class Value:
    """An expected share with its interval, where one is known."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Gap:
    """What one system should have more than another: shares by dataset (`plain` names), and the ratio of their times if known."""

    first: str
    second: str
    values: Mapping[str, float]
    time: float | None = None


@dataclass(frozen=True)
class Expected:
    """What a run should find: values by metric, system and dataset (`plain` names), with the systems' titles."""

    source: str = ""
    okish: float = 0.03
    titles: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[tuple[str, str, str], Value] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # of datasets, as the file has them
    gaps: Sequence[Gap] = ()
    note: str = ""

    def within(self, datasets: Mapping[str, Collection[str]]) -> Expected:
        """Return what is expected of a run that has these datasets, by metric; `note` says what cannot be compared, and why.

        Where the run lacks a dataset, the expected mean is that of the datasets it has; where it has one of which nothing is
        expected, there is no expected mean.
        """
        have = {metric: {plain(d) for d in names} - {ALL} for metric, names in datasets.items()}
        values = {key: v for key, v in self.values.items() if key[2] in have.get(key[0], ())}
        missing: set[str] = set()
        strange: set[str] = set()
        for (metric, system, dataset), mean in self.values.items():
            if dataset != ALL:
                continue
            ours = have.get(metric, set())
            theirs = {d for m, s, d in self.values if (m, s) == (metric, system)} - {ALL}
            missing, strange = missing | (theirs - ours), strange | (ours - theirs)
            parts = [values[metric, system, d] for d in sorted(ours & theirs)]
            n = sum(part.n or 0 for part in parts) if parts and all(part.n for part in parts) else None
            if ours == theirs:
                values[metric, system, ALL] = replace(mean, n=n)
            elif ours and ours < theirs:
                values[metric, system, ALL] = Value(sum(part.value for part in parts) / len(parts), n=n)
        return replace(self, values=values, note=self._note(missing, strange, bool(values)))

    def _note(self, missing: Collection[str], strange: Collection[str], some: bool) -> str:
        if self.values and not some:
            expected = self._called({dataset for _, _, dataset in self.values} - {ALL})
            return f"none of the datasets with expected values is in this run ({expected})"
        if strange:
            return f"no mean is expected, since nothing is known of {self._called(strange)}"
        return (
            f"left out of the expected means, as they are not in this run: {self._called(missing)}" if missing else ""
        )

    def _called(self, datasets: Collection[str]) -> str:
        return ", ".join(sorted(self.names.get(d, d) for d in datasets))

    def of(self, metric: str, system: str, dataset: str) -> Value | None:
        """Return the expected value of a figure; None where nothing is expected."""
        return self.values.get((metric, system, plain(dataset)))

    def knows(self, metric: str, dataset: str) -> bool:
        """Tell whether a figure on this dataset is expected of any system."""
        return any((m, d) == (metric, plain(dataset)) for m, _, d in self.values)

    def verdict(self, metric: str, row: Row | None) -> str:
        """Return OK, OKISH or FAIL for a figure of the run; "" where nothing is expected."""
        value = self.of(metric, row.system, row.dataset) if row else None
        return verdict(row, value, self.okish) if row and value else ""


def plain(dataset: str) -> str:
    """Return a dataset's name without case and punctuation: 'MMLU-Med' is 'mmlu_med'."""
    return "".join(c for c in dataset.lower() if c.isalnum())


def verdict(ours: Row, theirs: Value, okish: float) -> str:
    """Return OK, OKISH or FAIL; see the head of this file."""
    mine, given = _interval(ours), _interval(theirs)
    if (mine and mine[0] <= theirs.value <= mine[1]) or (given and given[0] <= ours.value <= given[1]):
        return "OK"
    meet = mine is not None and given is not None and mine[0] <= given[1] and given[0] <= mine[1]
    return "OKISH" if meet or abs(ours.value - theirs.value) <= okish + 1e-9 else "FAIL"


def gap_verdict(ours: Estimate, theirs: float) -> str:
    """Return OK, OKISH or FAIL for a difference; see the head of this file."""
    if not ours.beyond_zero or (ours.value > 0) != (theirs > 0):
        return "FAIL"
    return "OK" if ours.low <= theirs <= ours.high else "OKISH"


def time_verdict(ours: float, theirs: float) -> str:
    """Return OK, OKISH or FAIL for a ratio of times; see the head of this file."""
    if 1 / NEAR <= ours / theirs <= NEAR:
        return "OK"
    return "OKISH" if (ours < 1) == (theirs < 1) else "FAIL"


def _interval(figure: Row | Value) -> tuple[float, float] | None:
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)


def read_expected(path: Path | None) -> Expected:
    """Read a file of expected values; without one nothing is expected.

    Raises:
        UserError: the file is missing, is no mapping, or has a wrong key or value.
    """
    if path is None:
        return Expected()
    if not path.is_file():
        raise UserError(f"--expected: there is no '{path}'")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(given, dict) or set(given) - set(KEYS):
        wrong = sorted(set(given) - set(KEYS)) if isinstance(given, dict) else "no mapping"
        raise UserError(f"{path}: {wrong}; allowed: a mapping with {', '.join(KEYS)}")
    sizes = {plain(k): int(v) for k, v in (given.get("n") or {}).items()}
    titles: dict[str, str] = {}
    names: dict[str, str] = {}
    values: dict[tuple[str, str, str], Value] = {}
    for metric in METRICS:
        for system, row in (given.get(metric) or {}).items():
            titles[system] = str(row.get("title", system))
            for dataset, value in row.items():
                if dataset != "title":
                    names[plain(dataset)] = dataset
                    where = f"{path}: {metric}.{system}.{dataset}"
                    values[metric, system, plain(dataset)] = _value(value, sizes.get(plain(dataset)), where)
    gaps = [_gap(entry, f"{path}: differences[{i}]") for i, entry in enumerate(given.get("differences") or [])]
    return Expected(
        str(given.get("source", "")), float(given.get("okish_points", 3)) / 100, titles, values, names, gaps
    )


def _gap(given: Any, where: str) -> Gap:
    """Read {of, to, dataset: points, time: ratio}."""
    try:
        rest = dict(given)
        first, second, time = str(rest.pop("of")), str(rest.pop("to")), rest.pop(TIME, None)
        values = {plain(dataset): float(points) / 100 for dataset, points in rest.items()}
        return Gap(first, second, values, None if time is None else float(time))
    except (TypeError, ValueError, KeyError):
        raise UserError(
            f"{where}: {given!r}; allowed: {{of: SYSTEM, to: SYSTEM, DATASET: points, time: ratio}}"
        ) from None


def _value(given: Any, n: int | None, where: str) -> Value:
    """Read a percentage, or {value, low, high}."""
    try:
        if isinstance(given, dict):
            value, low, high = (float(given[k]) / 100 for k in ("value", "low", "high"))
            return Value(value, low, high, n)
        value = float(given) / 100
    except (TypeError, ValueError, KeyError):
        raise UserError(f"{where}: {given!r}; allowed: a percentage, or {{value, low, high}}") from None
    return Value(value, *wilson(value, n), n) if n else Value(value)
