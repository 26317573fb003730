"""What a run was made with, from its manifests: base models with their sizes, each system's training, what differs from the defaults.

settings(run, defaults)      # defaults: {stage: {option: value}}; the report knows no option by itself
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.report.load import Job, Run, System

PROMPTS = ("passage_prompt", "question_prompt", "answer_prompt", "generation_prompt", "rationale_prompt")
# Lists of sources have a section of their own; the others decide nothing that is measured.
UNTOLD = {"corpora", "questions", "documents", "wandb", "mlflow", "checkpoint_min"}
HEADS = {
    "target": "the retriever learns by",
    "passages": "K",
    "samples": "S",
    "steps": "steps",
    "batch": "batch",
    "llm_learning_rate": "LLM's rate",
    "retriever_learning_rate": "retriever's rate",
    "lora_rank": "LoRA rank",
    "lora_alpha": "alpha",
}
OF_RETRIEVER = {"samples", "retriever_learning_rate"}
OF_TRAINING = {*HEADS} - {"target", "passages"}


@dataclass(frozen=True)
class Model:
    """A base model: which, what it is for, how many parameters it has (embeddings and head included), and which systems use it."""

    name: str
    role: str
    origin: str
    size: int | None
    systems: list[System]


@dataclass(frozen=True)
class Difference:
    """An option that is not at its default, and where: "" is everywhere in its stage."""

    stage: str
    where: str
    option: str
    value: str
    default: str


@dataclass(frozen=True)
class Settings:
    """Everything that the section shows."""

    models: list[Model]
    candidates: list[int]
    searches: list[str]
    trainings: list[tuple[System, list[str]]]
    differences: list[Difference]
    prompts: dict[str, str]


def settings(run: Run, defaults: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return a run's settings."""
    found = {int(c) for j in run.jobs if j.stage == "search" and (c := _options(j).get("candidates"))}
    return Settings(
        _models(run),
        sorted(found),
        _searches(run),
        [(s, [_cell(s, key) for key in HEADS]) for s in run.systems],
        differences(run, defaults),
        _prompts(run),
    )


def _searches(run: Run) -> list[str]:
    """Say what each search in two steps found of the exhaustive search's passages; of shards, what they found together."""
    found = []
    for job in run.jobs:
        told = (job.manifest.get("notes") or {}).get("two_steps") if job.stage == "search" else None
        if told and told["shard"] == "0/1":
            low, high = told["interval"]
            where = ", ".join(
                [*_titles(run, [job.origin or ""]), *([f"round {job.round}"] if job.round is not None else [])]
            )
            found.append(
                f"{where}: {told['recall']:.3f} [{low:.3f}, {high:.3f}] of the best {told['candidates']}, from "
                f"{told['reranked']:,} of {told['passages']:,} passages, on {told['sample']:,} questions"
            )
    return found


def _options(job: Job) -> dict[str, Any]:
    return dict(job.manifest.get("options") or {})


def _cell(system: System, key: str) -> str:
    """Return a setting of a system's training; a dash where it bears on nothing."""
    idle = (key in OF_RETRIEVER and not system.joint) or (key in OF_TRAINING and not system.rounds)
    value = system.train.get(key)
    if key == "steps" and value is None and not idle and (epochs := system.train.get("epochs")):
        return f"{shown(epochs)} epoch{'s' if epochs != 1 else ''}"
    return "–" if idle or value is None else shown(value)


def shown(value: Any) -> str:
    """Write a value as a configuration would.

    >>> shown(2e-05), shown(0.002), shown(True), shown(["a"]), shown("")
    ('2e-5', '0.002', 'true', '["a"]', '""')
    """
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")
    return value if isinstance(value, str) and value.strip() == value != "" else json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------------- models
def _models(run: Run) -> list[Model]:
    made = []
    for role, names in (("language model", [s.llm for s in run.systems]),
                        ("retriever", [s.retriever for s in run.systems if s.reads or s.joint])):  # fmt: skip
        for name in dict.fromkeys(names):
            users = [
                s
                for s in run.systems
                if name == (s.llm if role == "language model" else (s.reads or s.joint) and s.retriever)
            ]
            made.append(Model(name, role, _origin(run, name, role, users), _size(run, name, role, users), users))
    return made


def _origin(run: Run, name: str, role: str, users: list[System]) -> str:
    """Say what a model is: a name of the hub, a folder's name, made by the run, of another system, or behind a server."""
    for job in run.jobs:
        if job.origin == name and job.stage == "pretrain":
            return _made(_options(job))
    if any(name == s.name for s in run.systems):
        return f"as trained by {run.system(name).title}"
    mine = [j for j in run.jobs if j.origin in {name, *(s.name for s in users)}]
    servers = [s for j in mine if isinstance(s := (j.manifest.get("notes") or {}).get("endpoint"), dict)]
    if role == "language model" and servers:
        return f"{servers[0].get('model')}, behind a server"
    # What encoded for a later round is what was trained, so the first in line are those who say what they began from.
    keys = ["llm"] if role == "language model" else ["retriever_origin", "retriever"]
    told = [path for key in keys for j in sorted(mine, key=lambda j: j.round or 0)
            if (path := (j.manifest.get("notes") or {}).get(key))]  # fmt: skip
    if not told:
        return "not said"
    return told[0] if not Path(told[0]).is_absolute() and not told[0].startswith(".") else Path(told[0]).name


def _made(options: Mapping[str, Any]) -> str:
    if init := str(options.get("init") or ""):
        name = init.removeprefix("model:")
        return f"goes on from {Path(name).name if Path(name).is_absolute() else name}"
    form = options.get("architecture") or {}
    shape = [f"{key} {form[key]}" for key in ("model_type", "num_hidden_layers", "hidden_size") if key in form]
    return ", ".join(["made from scratch", *shape])


def _size(run: Run, name: str, role: str, users: list[System]) -> int | None:
    """Return how many parameters a model has, by what any job that loaded it counted; adapters are not in it."""
    what, stages = (
        ("llm", ("answer", "train", "pretrain")) if role == "language model" else ("retriever", ("encode", "pretrain"))
    )
    own = {name, *(s.name for s in users if role == "language model")}
    sizes = [
        (j.manifest.get("models") or {}).get(what, {}).get("size") or (j.manifest.get("notes") or {}).get("parameters")
        for j in run.jobs
        if j.origin in own and j.stage in stages
    ]
    return max((int(n) for n in sizes if n), default=None)


# -------------------------------------------------------------------------------------------------------- differences
def differences(run: Run, defaults: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """Return every option of the run's stages that is not at its default, told once for all jobs that share the value."""
    found = []
    for stage, usual in defaults.items():
        jobs = [j for j in run.jobs if j.stage == stage]
        values: dict[tuple[str, str], list[str]] = {}
        for job in jobs:
            for key, value in _options(job).items():
                if key in usual and key not in UNTOLD and value != usual[key]:
                    values.setdefault((key, shown(value)), []).append(job.origin or "")
        everyone = {j.origin or "" for j in jobs}
        for (key, value), origins in values.items():
            where = "" if everyone <= {*origins} else ", ".join(_titles(run, origins))
            found.append(Difference(stage, where, key, value, shown(usual[key])))
    return found


def _titles(run: Run, origins: Iterable[str]) -> list[str]:
    titles = {s.name: s.title for s in run.systems}
    return [titles.get(name, name) for name in dict.fromkeys(origins)]


def _prompts(run: Run) -> dict[str, str]:
    """Return the prompts that answers were asked with; of those that are written last, the one that was used."""
    options = next((_options(j) for j in run.jobs if j.stage == "answer"), {})
    last = (
        "rationale_prompt"
        if options.get("rationale")
        else "generation_prompt"
        if options.get("method") == "generate"
        else "answer_prompt"
    )
    return {
        k: options[k] for k in PROMPTS if k in options and (k in ("passage_prompt", "question_prompt") or k == last)
    }
