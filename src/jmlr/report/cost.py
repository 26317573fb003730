"""What a run cost, from the manifests: time, GPU hours, energy, tokens, FLOPs and what servers took, by stage and by system.

A system's cost has parts: `base`, the models it starts from as far as the run made them from scratch (the stand-in for a
published Llama); `continued`, pre-training that goes on from a model (the conventional road); `training` and `refresh`
(encode, index, search of later rounds); `answering`. What a road adds to a given base, `adaptation`, is continued + training
+ refresh: the paper's 37 h of JMLR-13B against 144 h of pre-training and fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from jmlr.report.load import Job, Run, System, locate
from jmlr.runtime.stages import STAGES

REFRESH = ("encode", "index", "search")
ANSWERING = ("answer", "evaluate")
PAPER = (  # the paper's wall hours and GPU hours
    ("JMLR-13B", 37.0, 148.0),
    ("pre-training, then fine-tuning", 144.0, None),
    ("Meditron-70B", None, 42630.0),
)


@dataclass(frozen=True)
class Asked:
    """What language models behind servers were asked: requests, replies kept from before, tokens as the server counts them, price."""

    requests: float
    cached: float
    tokens_in: float
    tokens_out: float
    price: float


@dataclass(frozen=True)
class Cost:
    """A sum over jobs; the peak is that of the largest. None: no job told its energy (`joules`), none asked a server (`asked`)."""

    name: str
    jobs: int
    seconds: float
    cpu_seconds: float
    gpu_hours: float
    peak_bytes: float
    tokens: float = 0.0
    flops: float = 0.0
    joules: float | None = None
    asked: Asked | None = None


def total(name: str, jobs: Iterable[Job], share: float = 1.0) -> Cost:
    """Add jobs up; `share` divides the sums, for means over seeds."""
    jobs = list(jobs)
    models = [m for j in jobs for m in (j.manifest.get("models") or {}).values()]
    told = [
        v for j in jobs for k, v in (j.manifest.get("energy") or {}).items() if k.endswith("_joules") and v is not None
    ]
    return Cost(
        name=name,
        jobs=len(jobs),
        seconds=sum(j.seconds for j in jobs) * share,
        cpu_seconds=sum(j.cpu_seconds for j in jobs) * share,
        gpu_hours=sum(j.gpu_hours for j in jobs) * share,
        peak_bytes=max((j.peak_bytes for j in jobs), default=0.0),
        tokens=sum(m["tokens_forward"] + m["tokens_gradient"] for m in models) * share,
        flops=sum(m["flops"] for m in models) * share,
        joules=sum(told) * share if told else None,
        asked=_asked(jobs, share),
    )


def _asked(jobs: Iterable[Job], share: float) -> Asked | None:
    """Add up what `answer` noted of its endpoint, and `judge` of each judge that is one."""
    notes = [n for j in jobs for n in (j.manifest.get("notes") or {}).values() if isinstance(n, dict) and "cost" in n]
    sums = (share * sum(n[key] for n in notes) for key in ("requests", "cached", "tokens_in", "tokens_out", "cost"))
    return Asked(*sums) if notes else None


def together(name: str, parts: Iterable[Cost]) -> Cost:
    """Add costs up."""
    parts = list(parts)
    told = [c.joules for c in parts if c.joules is not None]
    asked = [astuple(c.asked) for c in parts if c.asked]
    return Cost(
        name=name,
        jobs=sum(c.jobs for c in parts),
        seconds=sum(c.seconds for c in parts),
        cpu_seconds=sum(c.cpu_seconds for c in parts),
        gpu_hours=sum(c.gpu_hours for c in parts),
        peak_bytes=max((c.peak_bytes for c in parts), default=0.0),
        tokens=sum(c.tokens for c in parts),
        flops=sum(c.flops for c in parts),
        joules=sum(told) if told else None,
        asked=Asked(*map(sum, zip(*asked, strict=True))) if asked else None,
    )


def by_stage(run: Run) -> list[Cost]:
    """Return the cost of each stage over all systems and seeds, in the workflow's order; pre-training by model."""
    groups, order = dict[tuple[int, str], list[Job]](), list(STAGES)
    for job in run.jobs:
        name = f"{job.stage} {job.origin}" if job.stage == "pretrain" and job.origin else job.stage
        place = order.index(job.stage) if job.stage in order else len(order)
        groups.setdefault((place, name), []).append(job)
    return [total(name, jobs) for (_, name), jobs in sorted(groups.items())]


@dataclass(frozen=True)
class SystemCost:
    """The cost of one system for one seed (the mean over seeds)."""

    system: System
    base: Cost
    continued: Cost
    training: Cost
    refresh: Cost
    answering: Cost

    @property
    def parts(self) -> Sequence[Cost]:
        """The parts, in the order of the table."""
        return self.base, self.continued, self.training, self.refresh, self.answering

    @property
    def all(self) -> Cost:
        """The whole: from the raw models to metrics."""
        return together("all", self.parts)

    @property
    def adaptation(self) -> Cost:
        """What this road adds to a given base model."""
        return together("adaptation", (self.continued, self.training, self.refresh))


def by_system(run: Run) -> list[SystemCost]:
    """Return each system's cost for one seed. What several systems share (models, their first index) counts for each."""
    return [of_system(run, system) for system in run.systems]


def of_system(run: Run, system: System) -> SystemCost:
    """Return one system's cost for one seed."""
    seeds = run.seeds_of(system.name)
    share = 1 / max(len(seeds), 1)
    own = [j for j in run.jobs if j.origin == system.name and j.seed in seeds]
    models = {*_chain(run, system.llm), *(_chain(run, system.retriever) if system.reads or system.joint else ())}
    made = [j for j in run.jobs if j.origin in models - {system.name} and j.stage not in ANSWERING]
    once = [j for j in made if j.seed is None]  # ready-made models: one index for all seeds
    each = [j for j in made if j.seed in seeds]
    base = [total("base", [j for j in each if not _continues(j)], share), total("base", once)]
    return SystemCost(
        system=system,
        base=together("base", base),
        continued=total("continued", [j for j in each if _continues(j)], share),
        training=total("training", [j for j in own if j.stage == "train"], share),
        refresh=total("refresh", [j for j in own if j.stage in REFRESH], share),
        answering=total("answering", [j for j in own if j.stage in ANSWERING], share),
    )


def _init(job: Job) -> str:
    return str((job.manifest.get("options") or {}).get("init") or "") if job.stage == "pretrain" else ""


def _continues(job: Job) -> bool:
    return bool(_init(job))


def _chain(run: Run, model: str) -> list[str]:
    """Return a model and those of the run that it was made from: what its pre-training went on from ('model:NAME', or a model's
    folder), and whose lists a retriever takes."""
    names: list[str] = []
    queue = [model]
    while queue:
        name = queue.pop(0)
        if name in names:
            continue
        names.append(name)
        own = [j for j in run.jobs if j.origin == name]
        inits = {_init(j) for j in own} - {""}
        lists = [path for j in own for path in _lists(j.manifest.get("notes") or {})]
        queue += sorted(i.removeprefix("model:") for i in inits if i.startswith("model:"))
        made = {locate(Path(path)).system for path in [*lists, *(i for i in inits if not i.startswith("model:"))]}
        queue += sorted(system for system in made if system)
    return names


def _lists(notes: Mapping[str, Any]) -> list[str]:
    """Return the searches that a search was made of."""
    return [*notes.get("fused", []), *([notes["search"]] if notes.get("retriever") == "rerank" else [])]


def training_seconds(run: Run, system: str) -> float | None:
    """Return the seconds of fine-tuning for one seed, over all rounds; None if no manifest says."""
    seeds = {j.seed for j in run.jobs if j.stage == "train" and j.origin == system}
    jobs = [j.seconds for j in run.jobs if j.stage == "train" and j.origin == system]
    return sum(jobs) / len(seeds) if jobs else None


def why_no_energy(run: Run) -> list[str]:
    """Return why energy is not known, each reason once; nothing where every job told all of it."""
    found = [(j.manifest.get("energy") or {"why": "older manifests do not hold it"}) for j in run.jobs]
    return list(dict.fromkeys(str(v) for e in found for k, v in e.items() if k.endswith("why") and v))


def size(count: float) -> str:
    """Write bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def amount(count: float | None, unit: str = "") -> str:
    """Write a large number with a prefix of the SI.

    >>> amount(1234567), amount(3.2e15, "FLOP"), amount(None)
    ('1.23 M', '3.20 PFLOP', '–')
    """
    if count is None:
        return "–"
    for exponent, prefix in ((24, "Y"), (21, "Z"), (18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if count >= 10**exponent:
            return _shown(count / 10**exponent, prefix + unit)
    return _shown(count, unit)


def price(paid: float) -> str:
    """Write a price, in the unit of the configuration's.

    >>> price(1234.5), price(0.00421), price(0.0)
    ('1,234.50', '0.0042', '0.00')
    """
    return f"{paid:.2g}" if 0 < paid < 0.1 else f"{paid:,.2f}"


def _shown(value: float, unit: str) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}".rstrip() if unit else f"{value:.0f}"
