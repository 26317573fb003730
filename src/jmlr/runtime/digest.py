"""Code as an input: one digest for each stage, over the definitions that it reaches with the options chosen.

Editing a loss changes the digest of a training with this loss and of no other; editing a comment, a docstring, a message or what
only records how a stage goes changes none. Of the extension the version of its contract counts (`jmlr.topk.contract`). The
digest is the same for every version of Python, so that a login node and a compute node agree.

    >>> stage_digest("train", target="pdist") == stage_digest("train", target="emdr2")
    False
    >>> stage_digest("search", target="pdist") == stage_digest("search")
    True
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jmlr.runtime.errors import UserError
from jmlr.runtime.reach import Source

PACKAGE = Path(__file__).resolve().parent.parent
COMPILED = "jmlr.topk.contract:CONTRACT"
DATA = ("*.jinja", "*.css", "*.js", "*.svg", "*.json", "*.txt")
# What only says or records how a stage goes, and what hands values over: nothing of it stands in a result.
RECORDS = {
    "jmlr",
    "jmlr.models.card",
    "jmlr.runtime.counting",
    "jmlr.runtime.definitions",
    "jmlr.runtime.digest",
    "jmlr.runtime.duration",
    "jmlr.runtime.energy",
    "jmlr.runtime.errors",
    "jmlr.runtime.extras",
    "jmlr.runtime.meter",
    "jmlr.runtime.progress",
    "jmlr.runtime.reach",
    "jmlr.runtime.synonyms",
    "jmlr.runtime.syntax",
    "jmlr.runtime.job_options",
    "jmlr.runtime.validation",
    "jmlr.runtime.trackers",
    "jmlr.training.boards",
    "jmlr.training.on_card",
    "jmlr.stages.search:_told",
    "jmlr.training.rounds:fall",
    "jmlr.training.watch",
    "jmlr.runtime.manifest:",
    *(
        f"jmlr.runtime.manifest:{name}"
        for name in (
            "anew",
            "check_written",
            "fingerprint",
            "in_checkout",
            "list_outputs",
            "stage_output",
            "state_key",
            "tell_private",
            "verify_outputs",
            "written_by",
        )
    ),
}
# What only one value of an option reaches: definition -> (option, which values). An option that is not known reaches all.
WITHOUT_VECTORS = ("bm25", "fusion")  # kinds of retrievers
Test = Callable[[Any], bool]
VARIANTS: dict[str, tuple[str, Test]] = {
    "jmlr.training.step:ranking_loss": ("target", lambda v: v != "frozen"),
    "jmlr.inference.reading_check:check_reading": ("target", lambda v: v != "frozen"),
    "jmlr.training.live:LiveCandidates": ("live_candidates", bool),
    "jmlr.models.sharded:shard": ("shard_llm", bool),
    "jmlr.models.sharded:gathered": ("shard_llm", bool),
    "jmlr.stages.pretrain:_language_model": ("objective", lambda v: v == "causal"),
    "jmlr.stages.pretrain:_retriever": ("objective", lambda v: v == "inverse_cloze"),
    "jmlr.models.induction:prepare_induction": ("induction_heads", bool),
    "jmlr.inference.answering:by_likelihood": ("method", lambda v: v == "likelihood"),
    "jmlr.inference.answering:by_generation": ("method", lambda v: v == "generate"),
    "jmlr.stages.index:_of_vectors": ("retriever", lambda v: v != "bm25"),
    "jmlr.stages.index:_of_words": ("retriever", lambda v: v == "bm25"),
    "jmlr.stages.search:_scan": ("retriever", lambda v: v not in WITHOUT_VECTORS),
    "jmlr.stages.search:_gather": ("retriever", lambda v: v not in WITHOUT_VECTORS),
    "jmlr.stages.search:_by_words": ("retriever", lambda v: v == "bm25"),
    "jmlr.stages.search:_fused": ("retriever", lambda v: v == "fusion"),
    "jmlr.stages.answer:_from_endpoint": ("endpoint", bool),
    "jmlr.stages.answer:_from_model": ("endpoint", lambda v: not v),
    **dict.fromkeys(
        (
            "jmlr.topk.maxsim:MaxSimIndex",
            "jmlr.topk.two_steps:TwoSteps",
            "jmlr.topk.two_steps:build_first",
            "jmlr.stages.search:_in_two_steps",
            "jmlr.stages.search:_gather_recall",
            "jmlr.stages.search:_write_exhaustive",
        ),
        ("retriever", lambda v: v not in ("dense", *WITHOUT_VECTORS)),
    ),
}
# Folders of variants: what is imported by name counts where the option names its file, without its slow twin and its card.
FOLDERS = {"jmlr.losses": "target", "jmlr.models.kinds": "retriever"}
ASIDE = ("reference", "CARD")
# Modules of variants: a public function counts where the options name it.
NAMED = {"jmlr.corpus.adapters": "adapters"}
OPTIONS = ("target", "live_candidates", "shard_llm", "objective", "induction_heads", "method")


def chosen(*options: Any, **more: Any) -> dict[str, Any]:
    """Return what of a job's options decides which code it reaches.

    Args:
        options: its options models
        more: what no model holds: retriever (its kind, or "" where that cannot be known), endpoint (whether one answers)

    >>> from jmlr.options import TrainOptions
    >>> chosen(TrainOptions(target="pdist"), retriever="dense")
    {'target': 'pdist', 'live_candidates': False, 'shard_llm': False, 'retriever': 'dense'}
    """
    found = {k: getattr(o, k) for o in options for k in OPTIONS if hasattr(o, k)}
    if entries := [e for o in options if hasattr(o, "corpora") for e in (*o.corpora, *o.questions)]:
        found["adapters"] = tuple(sorted({e.adapter for e in entries}))
    found |= {k: v for k, v in more.items() if v != ""}
    return {**found, "retriever": "none"} if found.get("target") == "frozen" else found  # it loads none


def stage_digest(stage: str, *options: Any, package: Path = PACKAGE, **more: Any) -> str:
    """Return the SHA-256 (first 16 hexadecimal digits) of everything a stage computes with.

    Args:
        stage: its name
        options: its options models, and
        more: see `chosen`; what is not given may be anything, and all variants count
        package: folder of the package `jmlr`

    Raises:
        UserError: there is no such stage.
    """
    parts = _parts(stage, package, tuple(sorted(chosen(*options, **more).items())))
    return hashlib.sha256("".join(f"{k} {v}\n" for k, v in parts.items()).encode()).hexdigest()[:16]


def stage_parts(stage: str, *options: Any, package: Path = PACKAGE, **more: Any) -> dict[str, str]:
    """Return the digest (8 hexadecimal digits) of each definition that a stage reaches, by `module:name`, and of its data files."""
    return {k: v[:8] for k, v in _parts(stage, package, tuple(sorted(chosen(*options, **more).items()))).items()}


def counted(stage: str, *options: Any, package: Path = PACKAGE, **more: Any) -> dict[str, Any]:
    """Return the values of options that a stage's result may depend on, as JSON has them.

    Left out is what is at its default and named nowhere in the code that the stage reaches: an option that was added since.

    Args:
        stage: its name
        options: its options models, and
        more: see `chosen`
        package: folder of the package `jmlr`

    >>> from jmlr.options import IndexOptions
    >>> counted("index", IndexOptions())
    {'storage': 'float32', 'originals': True}
    """
    names = _named(stage, package, tuple(sorted(chosen(*options, **more).items())))
    return {k: v for o in options for k, v in _values(o, names).items()}


def _values(value: Any, names: frozenset[str]) -> Any:
    from pydantic import BaseModel
    from pydantic_core import to_jsonable_python

    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        held = {k: (getattr(value, k), f.get_default(call_default_factory=True)) for k, f in fields}
        return {k: _values(v, names) for k, (v, default) in held.items() if k in names or v != default}
    if isinstance(value, dict):
        return {str(k): _values(v, names) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_values(v, names) for v in value]
    return to_jsonable_python(value)


@cache
def _named(stage: str, package: Path, options: tuple[tuple[str, Any], ...]) -> frozenset[str]:
    """Return every identifier in the code that a stage reaches."""
    source = _source(package)
    reached = [node.partition(":") for node in _parts(stage, package, options) if ":" in node]
    found = [
        m.definitions[symbol] for name, _, symbol in reached if (m := source.module(name)) and symbol in m.definitions
    ]
    return frozenset(name for definition in found for name in definition.mentioned)


@cache
def _parts(stage: str, package: Path, options: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    return parts_of(stage, _source(package), dict(options))


@cache
def _source(package: Path) -> Source:
    return Source(package)


def parts_of(stage: str, source: Source, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the whole digest of each definition that a stage reaches in files that are read now."""
    entry = f"jmlr.stages.{stage}"
    if source.module(entry) is None:
        raise UserError(f"no stage '{stage}' in '{source.package / 'stages'}'")
    reached = source.reach(f"{entry}:{stage}", skip=lambda f, t: _skipped(f, t, options), compiled=COMPILED)
    found = {node: hashlib.sha256(text.encode()).hexdigest() for node, text in reached.items()}
    folders = {source.package.joinpath(*node.partition(":")[0].split(".")[1:-1]) for node in reached}
    for file in sorted(
        f for folder in folders for pattern in DATA for f in folder.glob(pattern)
    ):  # templates and the like
        found[str(file.relative_to(source.package))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _skipped(begin: str, target: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a definition does not count: it is for people, or of a variant that is not chosen."""
    module, _, name = target.partition(":")
    if module in RECORDS or target in RECORDS:
        return True
    folder, _, file = module.rpartition(".")
    if folder in FOLDERS and name in ASIDE:
        return True
    if folder in FOLDERS and name in (file, "*"):
        option = FOLDERS[folder]
        return option in options and options[option] != file
    if module in NAMED and name not in ("", "*") and not name.startswith("_") and not begin.startswith(f"{module}:"):
        return NAMED[module] in options and name not in options[NAMED[module]]
    option, test = VARIANTS.get(target, ("", bool))
    return option in options and VARIANTS.get(begin, ("",))[0] != option and not test(options[option])
