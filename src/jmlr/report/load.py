"""A finished run, read and checked: metrics, answers, training histories, manifests. A misfit is one line that names the file.

run = read_run("demo", systems, prepared, evaluations, answers, trainings, costs)
run.rows[0].value, run.answers["jmlr", 0].correct, run.histories["jmlr", 0][-1]["loss_lm"]
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import NAME, check_written, read_manifest

COLUMNS = ("run", "system", "seed", "round", "dataset", "split", "metric", "k", "value", "low", "high", "n")
ALL = "all"  # as a seed: pooled over seeds; as a dataset: the mean over datasets


@dataclass(frozen=True)
class System:
    """A row of the table, as the configuration describes it."""

    name: str
    title: str
    llm: str
    retriever: str
    rounds: int
    train: dict[str, Any]

    @property
    def reads(self) -> bool:
        """Whether passages are put into the prompt."""
        return bool(self.train.get("passages", 0))

    @property
    def tuned(self) -> bool:
        """Whether its LLM was trained."""
        return self.rounds > 0 and self.train.get("steps") != 0

    @property
    def joint(self) -> bool:
        """Whether the retriever learns too."""
        return str(self.train.get("target", "frozen")) != "frozen"


@dataclass(frozen=True)
class Row:
    """One line of results.csv; `k`, `low` and `high` are None where they do not apply.

    An interval without a width is none: all values were alike, and the bootstrap knows no more.
    """

    run: str
    system: str
    seed: str
    round: int
    dataset: str
    split: str
    metric: str
    k: int | None
    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What identifies the figure, apart from the seed."""
        return self.system, self.round, self.dataset, self.split, self.metric, self.k


@dataclass(frozen=True)
class Answers:
    """The answers of one system and seed, one entry per question, in the order of the file."""

    ids: list[str]
    datasets: list[str]
    splits: list[str]
    gold: list[int]
    predicted: list[int]
    path: Path

    @property
    def correct(self) -> list[bool]:
        """Whether each question with a gold option was answered with it; an unparsed answer (-1) is wrong."""
        return [g >= 0 and g == p for g, p in zip(self.gold, self.predicted, strict=True)]


@dataclass(frozen=True)
class Values:
    """What the figures of one system and seed are means of; they stay packed until one is asked for."""

    table: pa.Table
    places: dict[tuple[Any, ...], int]

    def of(self, round: int, dataset: str, split: str, metric: str, k: int | None) -> dict[str, float]:
        """Return the value of every question by its id; empty where there is no such figure."""
        place = self.places.get((round, dataset, split, metric, k))
        if place is None:
            return {}
        return dict(zip(self.table["ids"][place].as_py(), self.table["values"][place].as_py(), strict=True))

    @property
    def datasets(self) -> set[str]:
        """The datasets that have any figure."""
        return {key[1] for key in self.places}


@dataclass(frozen=True)
class Job:
    """What one stage's output cost, and where in the run it belongs."""

    stage: str
    origin: str | None
    seed: int | None
    round: int | None
    manifest: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Wall-clock time."""
        return float(self.manifest.get("seconds") or 0.0)

    @property
    def cpu_seconds(self) -> float:
        """Time of all its threads."""
        return float(self.manifest.get("cpu_seconds") or 0.0)

    @property
    def gpu_hours(self) -> float:
        """Wall-clock time of all GPUs that it had."""
        return float(self.manifest.get("gpu_hours") or 0.0)

    @property
    def peak_bytes(self) -> float:
        """The most resident memory."""
        return float(self.manifest.get("peak_bytes") or 0.0)


@dataclass(frozen=True)
class Run:
    """Everything the report says something about."""

    name: str
    systems: list[System]
    seeds: list[int]
    rows: list[Row]
    answers: dict[tuple[str, int], Answers]
    histories: dict[tuple[str, int], list[dict[str, Any]]]
    jobs: list[Job]
    prepared: Path
    values: dict[tuple[str, int], Values] = field(default_factory=dict)
    pooled: list[Row] = field(default_factory=list)

    @property
    def invented(self) -> bool:
        """Whether the demo's generator made up what the run is about."""
        return any((j.manifest.get("options") or {}).get("origin") == "demo" for j in self.jobs if j.stage == "fetch")

    @property
    def private(self) -> bool:
        """Whether a source's texts must not leave the machine, so that none may stand in a page."""
        return any(
            (j.manifest.get("options") or {}).get("private") or (j.manifest.get("notes") or {}).get("private")
            for j in self.jobs
        )

    def system(self, name: str) -> System:
        """Return the system of a name."""
        return next(s for s in self.systems if s.name == name)

    def answering(self, system: System) -> dict[int, int]:
        """Return the round whose retriever answered, by seed, where that is not the last (train.keep_best)."""
        own = [j for j in self.jobs if j.stage == "answer" and j.origin == system.name]
        rounds = {j.seed: (j.manifest.get("notes") or {}).get("round") for j in own if j.seed is not None}
        return {seed: int(n) for seed, n in sorted(rounds.items()) if n is not None and int(n) != system.rounds}

    def seeds_of(self, system: str) -> list[int]:
        """Return the seeds for which a system was evaluated."""
        return [seed for seed in self.seeds if (system, seed) in self.answers]


def read_run(
    name: str,
    systems: dict[str, Any],
    prepared: Path,
    evaluations: Sequence[Path],
    answers: Sequence[Path],
    trainings: Sequence[Path],
    costs: Sequence[Path],
) -> Run:
    """Read a run's folders; raise UserError where they are damaged or do not belong together."""
    known = {key: _system(key, value) for key, value in systems.items()}
    rows: list[Row] = []
    found: dict[tuple[str, int], Path] = {}
    for folder in evaluations:
        own = read_rows(folder / "metrics.csv", name)
        for pair in sorted({(row.system, int(row.seed)) for row in own}):
            if pair[0] not in known:
                raise UserError(f"{folder / 'metrics.csv'}: no system '{pair[0]}' (systems: {', '.join(known)})")
            if pair in found:
                raise UserError(f"system {pair[0]}, seed {pair[1]}: evaluated in both '{found[pair]}' and '{folder}'")
            found[pair] = folder
        rows += own
    replies = {}
    for folder in answers:
        place = locate(folder)
        if place.system is None or place.seed is None:
            raise UserError(f"--answers: '{folder}' is not .../SYSTEM/seedN/answer")
        replies[place.system, place.seed] = read_answers(folder / "answers.parquet")
    for pair in found:
        if pair not in replies:
            raise UserError(
                f"--answers: none of system {pair[0]}, seed {pair[1]}, which was evaluated in '{found[pair]}'"
            )
        _agree(replies[pair], [row for row in rows if (row.system, int(row.seed)) == pair], found[pair])
    return Run(
        name=name,
        systems=[s for s in known.values() if any(pair[0] == s.name for pair in found)],
        seeds=sorted({seed for _, seed in found}),
        rows=rows,
        answers={pair: replies[pair] for pair in found},
        histories=_histories(trainings),
        jobs=read_jobs([prepared, *evaluations, *answers, *trainings, *costs]),
        prepared=prepared,
        values={pair: read_values(folder / "per_question.parquet") for pair, folder in found.items()},
    )


def _system(name: str, value: Any) -> System:
    try:
        return System(
            name, value["title"], value["llm"], value["retriever"], int(value["rounds"]), dict(value["train"])
        )
    except (KeyError, TypeError, ValueError):
        wanted = '{"title", "llm", "retriever", "rounds", "train": {...}}'
        raise UserError(f"--systems: '{name}' must be {wanted} (given: {json.dumps(value)[:200]})") from None


# ------------------------------------------------------------------------------------------------------------ metrics
def read_rows(path: Path, run: str) -> list[Row]:
    """Read a metrics.csv."""
    if not path.is_file():
        raise UserError(f"--evaluations: there is no '{path}'")
    with path.open(newline="", encoding="utf-8") as f:
        reader = csv.DictReader(f)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path}: columns must be {','.join(COLUMNS)} (given: {','.join(reader.fieldnames or ())})")
        rows = [_row(record, f"{path}:{line}", run) for line, record in enumerate(reader, 2)]
    if not rows:
        raise UserError(f"{path}: no rows")
    return rows


def _row(record: dict[str, str], where: str, run: str) -> Row:
    if record["run"] != run:
        raise UserError(f"{where}: run is '{record['run']}', not '{run}'")
    column = ""
    try:
        values: dict[str, Any] = dict(record)
        for column, kind in (("seed", int), ("round", int), ("n", int), ("value", float)):
            values[column] = kind(record[column])
        for column, kind in (("k", int), ("low", float), ("high", float)):
            values[column] = kind(record[column]) if record[column] else None
        if values["low"] == values["high"]:
            values["low"] = values["high"] = None
    except (TypeError, ValueError):
        raise UserError(f"{where}: {column} is not a number ({record[column]!r})") from None
    return Row(**{**values, "seed": str(values["seed"])})


def read_values(path: Path) -> Values:
    """Read a per_question.parquet."""
    table = read_parquet(path, ["round", "dataset", "split", "metric", "k", "ids", "values"])
    heads = table.select(["round", "dataset", "split", "metric", "k"]).to_pylist()
    places = {(*list(head.values())[:4], head["k"] or None): i for i, head in enumerate(heads)}
    return Values(table, places)


# ------------------------------------------------------------------------------------------------------------ answers
def read_answers(path: Path) -> Answers:
    """Read who answered what."""
    table = read_parquet(path, ["question_id", "dataset", "split", "answer", "predicted"])
    ids, datasets, splits, gold, predicted = (table[c].to_pylist() for c in table.column_names)
    return Answers(ids, datasets, splits, gold, predicted, path)


def read_parquet(path: Path, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """Read columns of a Parquet file; raise UserError naming it if it is missing, damaged, another than the stage wrote, or lacks a column."""
    check_written(path)
    try:
        missing = set(columns or ()) - set(pq.read_schema(path).names)
        if missing:
            raise UserError(f"{path}: no column '{sorted(missing)[0]}'")
        return pq.read_table(path, columns=list(columns) if columns else None, filters=filters)
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})") from None


def _agree(answers: Answers, rows: Iterable[Row], folder: Path) -> None:
    """Check that metrics were computed from these answers, and not from those of another system or an older run."""
    correct = answers.correct
    for row in rows:
        if row.metric != "accuracy" or row.dataset == ALL:
            continue
        own = [c for c, d, s, g in zip(correct, answers.datasets, answers.splits, answers.gold, strict=True)
               if d == row.dataset and s == row.split and g >= 0]  # fmt: skip
        if len(own) != row.n or abs(sum(own) / max(len(own), 1) - row.value) > 5e-4:
            got = f"{sum(own)} of {len(own)} right"
            raise UserError(f"'{answers.path}' ({got}) does not belong to '{folder}' ({row.value:.4f} of {row.n})")


# -------------------------------------------------------------------------------------------------- histories and jobs
@dataclass(frozen=True)
class Place:
    """Where in the path grammar a folder stands."""

    system: str | None = None
    seed: int | None = None
    round: int | None = None


def locate(folder: Path) -> Place:
    """Read system (or model), seed and round off .../{origin}/seed{seed}/r{round}/{stage}/...

    >>> locate(Path("results/demo/jmlr/seed0/r1/train"))
    Place(system='jmlr', seed=0, round=1)
    """
    parts = folder.parts[-5:]
    seeds = [i for i, part in enumerate(parts) if i and re.fullmatch(r"seed\d+", part)]
    rounds = [i for i, part in enumerate(parts) if i and re.fullmatch(r"r\d+", part)]
    at = seeds[-1] if seeds else (rounds[-1] if rounds else 0)
    return Place(
        system=parts[at - 1] if at else None,
        seed=int(parts[seeds[-1]][4:]) if seeds else None,
        round=int(parts[rounds[-1]][1:]) if rounds else None,
    )


def _histories(trainings: Sequence[Path]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for folder in trainings:
        place = locate(folder)
        if place.system is None or place.seed is None:
            raise UserError(f"--trainings: '{folder}' is not .../SYSTEM/seedN/rN/train")
        found.setdefault((place.system, place.seed), []).extend(read_lines(folder / "metrics.jsonl"))
    return {pair: sorted(records, key=lambda r: r["step"]) for pair, records in sorted(found.items())}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a metrics.jsonl."""
    if not path.is_file():
        raise UserError(f"there is no '{path}'")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            record["step"] = int(record["step"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}:{number}: not a JSON object with a step") from None
        records.append(record)
    return records


def read_jobs(folders: Sequence[Path]) -> list[Job]:
    """Read the manifests of a run's folders, each once, in the order of the workflow's paths."""
    jobs = []
    for folder in sorted({f.resolve(): f for f in folders}.values()):
        if not (folder / NAME).is_file():
            raise UserError(f"there is no '{folder / NAME}'")
        try:
            manifest = read_manifest(folder)
            stage = str(manifest["stage"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{folder / NAME}: not a stage's manifest") from None
        place = locate(folder)
        jobs.append(Job(stage, place.system, place.seed, place.round, manifest))
    return jobs
