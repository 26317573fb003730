"""Two runs beside each other: what was set otherwise, what came out, and which questions were answered otherwise.

compared = Compared.read(run, other)
compared.settings, compared.figures, compared.systems
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.runtime.files import existing
from jmlr.runtime.manifest import NAME, read_manifest
from jmlr.serving.row import row_of, rows_of
from jmlr.serving.stored import Stored, outcome

STAGES = ("train", "answer")  # of a system, whose options are held against each other
SHARED = ("prepare",)
UNTOLD = {"wandb", "mlflow", "checkpoint_min"}  # decide nothing that is measured
METRICS = ("accuracy", "hit", "unparsed")


@dataclass(frozen=True)
class Difference:
    """An option that differs: where, its name, and its value in each run; "": there is none."""

    where: str
    option: str
    values: tuple[str, str]


@dataclass(frozen=True)
class Figure:
    """A figure of a system in both runs: (value, low, high, n) of each; None: that run has none."""

    system: str
    dataset: str
    metric: str
    values: tuple[tuple[str, ...] | None, tuple[str, ...] | None]


@dataclass(frozen=True)
class Compared:
    """What two runs have in common, and what not.

    Attributes:
        names: of the runs
        seed: of the trainings that are compared
        systems: that both have
        settings: that differ
        figures: of the systems that any of them has
        changed: system -> outcome -> ids of the questions that the second run answered otherwise than the first
    """

    names: tuple[str, str]
    seed: int
    systems: Sequence[str]
    settings: Sequence[Difference]
    figures: Sequence[Figure]
    changed: Mapping[str, Mapping[str, Sequence[str]]]

    @classmethod
    def read(cls, first: Path, second: Path, seed: int = 0) -> Compared:
        """Compare two runs; `first` is the one that the second is held against."""
        runs = (first, second)
        have = [[s for s, n in rows_of(run) if n == seed] for run in runs]
        both = [s for s in have[1] if s in have[0]]
        stored = [Stored.read(run, {s: row_of(run, s, seed) for s in both}) for run in runs]
        changed: dict[str, dict[str, list[str]]] = {}
        for system in both:
            before, after = (t.answers[system] for t in stored)
            told = changed[system] = {"gained": [], "lost": []}
            for id, own in after.items():
                if id in before and (what := outcome(before[id].right, own.right)) in told:
                    told[what].append(id)
        names = (first.name, second.name)
        return cls(names, seed, both, _settings(runs, both, seed), _figures(runs, have, seed), changed)


def _settings(runs: tuple[Path, Path], systems: Sequence[str], seed: int) -> list[Difference]:
    found = []
    places = [(stage, stage, stage) for stage in SHARED]
    places += [(f"{s}: {stage}", f"{s}/seed{seed}", stage) for s in systems for stage in STAGES]
    for where, folder, stage in places:
        one, two = (_options(run, folder, stage) for run in runs)
        if one is None or two is None:
            continue
        for key in sorted({*one, *two} - UNTOLD):
            if one.get(key) != two.get(key):
                found.append(Difference(where, key, (_written(one, key), _written(two, key))))
    return found


def _options(run: Path, folder: str, stage: str) -> dict[str, Any] | None:
    """Return the options of a stage's output; of several rounds, the last one's."""
    made = [run / folder] if stage == folder else [*(run / folder).glob(stage), *(run / folder).glob(f"r*/{stage}")]
    made = sorted((p for p in made if (p / NAME).is_file()), key=lambda p: (len(p.parent.name), p.parent.name))
    return dict(read_manifest(made[-1])["options"] or {}) if made else None


def _written(options: Mapping[str, Any], key: str) -> str:
    if key not in options:
        return ""
    value = options[key]
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _figures(runs: tuple[Path, Path], have: Sequence[Sequence[str]], seed: int) -> list[Figure]:
    told: dict[tuple[str, str, str], list[tuple[str, ...] | None]] = {}
    for number, (run, systems) in enumerate(zip(runs, have, strict=True)):
        for system in systems:
            file = run / system / f"seed{seed}" / "evaluate/metrics.csv"
            if not file.is_file():
                continue
            with existing(file, "metrics").open(newline="", encoding="utf-8") as f:
                lines = list(csv.DictReader(f))
            for line in sorted(lines, key=lambda r: int(r["round"])):  # of several rounds the last stays
                if line["metric"] in METRICS and line["k"] in ("", "1"):
                    name = line["metric"] + (f"@{line['k']}" if line["k"] else "")
                    of = told.setdefault((system, line["dataset"], name), [None, None])
                    of[number] = (line["value"], line["low"], line["high"], line["n"])
    return [Figure(*key, (of[0], of[1])) for key, of in sorted(told.items())]
