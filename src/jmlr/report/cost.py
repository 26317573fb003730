"""What a run cost, from the manifests: by stage, and by system with the models it starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jmlr.report.load import Job, Run, System

STAGES = ("fetch", "prepare", "pretrain", "encode", "index", "search", "train", "answer", "evaluate")
REFRESH = ("encode", "index", "search")


@dataclass(frozen=True)
class Cost:
    """A sum over jobs; the peak is that of the largest."""

    name: str
    jobs: int
    seconds: float
    cpu_seconds: float
    gpu_hours: float
    peak_bytes: float


def total(name: str, jobs: Iterable[Job], share: float = 1.0) -> Cost:
    """Add jobs up; `share` divides the sums, for means over seeds."""
    jobs = list(jobs)
    return Cost(
        name, len(jobs),
        sum(j.seconds for j in jobs) * share, sum(j.cpu_seconds for j in jobs) * share,
        sum(j.gpu_hours for j in jobs) * share, max((j.peak_bytes for j in jobs), default=0.0),
    )  # fmt: skip


def by_stage(run: Run) -> list[Cost]:
    """Return the cost of each stage over all systems and seeds, in the workflow's order; pre-training by model."""
    groups: dict[tuple[int, str], list[Job]] = {}
    for job in run.jobs:
        name = f"{job.stage} {job.origin}" if job.stage == "pretrain" and job.origin else job.stage
        place = STAGES.index(job.stage) if job.stage in STAGES else len(STAGES)
        groups.setdefault((place, name), []).append(job)
    return [total(name, jobs) for (_, name), jobs in sorted(groups.items())]


@dataclass(frozen=True)
class SystemCost:
    """The cost of one system for one seed (the mean over seeds)."""

    system: System
    base: Cost
    training: Cost
    refresh: Cost
    answering: Cost

    @property
    def parts(self) -> Sequence[Cost]:
        """The parts, in the order of the table."""
        return self.base, self.training, self.refresh, self.answering

    @property
    def all(self) -> Cost:
        """The whole: from the raw models to metrics."""
        p = self.parts
        return Cost("all", sum(c.jobs for c in p), sum(c.seconds for c in p), sum(c.cpu_seconds for c in p),
                    sum(c.gpu_hours for c in p), max(c.peak_bytes for c in p))  # fmt: skip


def by_system(run: Run) -> list[SystemCost]:
    """Return each system's cost for one seed. What several systems share (models, their first index) counts for each."""
    return [_of(run, system) for system in run.systems]


def _of(run: Run, system: System) -> SystemCost:
    seeds = run.seeds_of(system.name)
    share = 1 / max(len(seeds), 1)
    own = [j for j in run.jobs if j.origin == system.name and j.seed in seeds]
    models = {system.llm} | ({system.retriever} if system.reads or system.joint else set())
    once = [j for j in run.jobs if j.origin in models and j.seed is None]  # ready-made models: one index for all seeds
    each = [j for j in run.jobs if j.origin in models and j.seed in seeds]
    base, shared = total("base", each, share), total("base", once)
    return SystemCost(
        system=system,
        base=Cost("base", base.jobs + shared.jobs, base.seconds + shared.seconds, base.cpu_seconds + shared.cpu_seconds,
                  base.gpu_hours + shared.gpu_hours, max(base.peak_bytes, shared.peak_bytes)),
        training=total("training", [j for j in own if j.stage == "train"], share),
        refresh=total("refresh", [j for j in own if j.stage in REFRESH], share),
        answering=total("answering", [j for j in own if j.stage in ("answer", "evaluate")], share),
    )  # fmt: skip


def training_seconds(run: Run, system: str) -> float | None:
    """Return the seconds of fine-tuning for one seed, over all rounds; None if no manifest says."""
    seeds = {j.seed for j in run.jobs if j.stage == "train" and j.origin == system}
    jobs = [j.seconds for j in run.jobs if j.stage == "train" and j.origin == system]
    return sum(jobs) / len(seeds) if jobs else None


def duration(seconds: float) -> str:
    """Write seconds so that a person reads them at a glance.

    >>> duration(0.42), duration(42), duration(128), duration(9000)
    ('0.4 s', '42 s', '2 min 08 s', '2 h 30 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Write bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
