# The only functions of the workflow: the checked configuration, and which folder feeds which. All else is in the stages.
import json
import os
import re
import shlex
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from jmlr.config import Config, ConfigError, flags
from jmlr.runtime import environment
from jmlr.runtime.digest import stage_digest
from jmlr.runtime.errors import UserError

# In every rule's shell line `2> >(tee {log} >&2)` sends progress to terminal and log; a stage cannot see the terminal for itself.
os.environ.setdefault("JMLR_PROGRESS_S", "5" if sys.stderr.isatty() else "60")
TORCH_ENV = f"../../envs/{os.environ.get('JMLR_HARDWARE', 'cpu')}.yaml"  # under --sdm conda, where a stage uses torch


def located(path, key, local=False):
    """Return a path of the configuration with its environment variables put in; a local one must exist."""
    full = environment.expand(path, f"config: {key}")
    if (local or os.path.isabs(full) or full.startswith(".")) and not os.path.exists(full):
        raise UserError(f"config: {key}: there is no '{full}'" + (f" (from '{path}')" if full != path else ""))
    return full


def files_of(path, patterns=()):
    """Return the files of a local file or folder as inputs, so that Snakemake sees their content; none for a hub name."""
    if os.path.isfile(path):
        return [path]
    names = (str(f.relative_to(path)) for f in Path(path).rglob("[!.]*") if f.is_file())
    return sorted(os.path.join(path, n) for n in names if not patterns or any(fnmatchcase(n, p) for p in patterns))


try:
    cfg = Config.load(config)
    SOURCES = {k: located(s.path, f"sources.{k}.path", True) for k, s in cfg.sources.items() if s.origin == "local"}
    READY = {k: located(m.path, f"models.{k}.path") for k, m in cfg.models.items() if m.path}
    PRETRAINED = {
        k: m.pretrain.model_copy(
            update={x: located(getattr(m.pretrain, x), f"models.{k}.pretrain.{x}") for x in ("init", "tokenizer")}
        )
        for k, m in cfg.models.items()
        if m.pretrain
    }
except (ConfigError, UserError) as error:
    sys.exit(str(error))  # one line, before anything runs

RUN = f"results/{cfg.run}"
PARTS = [f"passages-{i}-of-{cfg.shards}" for i in range(cfg.shards)]


wildcard_constraints:
    run=re.escape(cfg.run),
    source="|".join(map(re.escape, cfg.sources)),
    model="|".join(map(re.escape, PRETRAINED)) or "(?!)",
    system="|".join(map(re.escape, cfg.systems)),
    origin=r"[^/]+(/seed\d+)?",
    seed=r"\d+",
    round=r"\d+",
    part=r"questions|passages-\d+-of-\d+",


def sources_used():
    """Return the fetched folders that `prepare` reads."""
    parts = (*cfg.prepare.corpora, *cfg.prepare.questions, *cfg.prepare.documents)
    return [f"{RUN}/fetch/{source}" for source in dict.fromkeys(p.source for p in parts if p.source)]


def tokenizer_source(model):
    """Return the fetched folder that a new model's tokenizer comes from, if it comes from one."""
    name = PRETRAINED[model].tokenizer
    return [f"{RUN}/fetch/{name.removeprefix('source:').split('/')[0]}"] if name.startswith("source:") else []


def model(name, seed):
    """Return a model before fine-tuning: a folder or a hub name; "" for an endpoint, which is no file."""
    return "" if name in cfg.endpoints else READY.get(name, f"{RUN}/{name}/seed{seed}/pretrain")


def model_input(name, seed):
    """Return the same as an input of a rule."""
    return files_of(READY[name]) if name in READY else model(name, seed) or []


def initial(name, seed):
    """Return what a model is continued from: (input of a rule, folder or hub name); `model:NAME` is another of the run."""
    kind, _, base = PRETRAINED[name].init.partition("model:")
    if base and not kind:
        return model_input(base, seed), model(base, seed)
    return (files_of(PRETRAINED[name].init) if PRETRAINED[name].init else []), PRETRAINED[name].init


def trained(system, seed, round):
    return f"{RUN}/{system}/seed{seed}/r{round}/train"


def search_of(system, seed, round):
    """Return the search that serves a system after `round` rounds: its own, or that of the retriever it starts from."""
    if round and cfg.is_joint(system):
        return f"{RUN}/{system}/seed{seed}/r{round}/search"
    name = cfg.systems[system].retriever
    return f"{RUN}/{name if name in READY else f'{name}/seed{seed}'}/r0/search"


def searches(system, seed):
    """Return all searches of a system, in the order of rounds; none for a closed book."""
    if cfg.is_joint(system):
        return [search_of(system, seed, n) for n in range(cfg.systems[system].rounds + 1)]
    return [search_of(system, seed, 0)] if cfg.reads(system) else []


def retriever(origin, round):
    """Return the retriever of an origin after `round` rounds: (input of a rule, folder or hub name)."""
    name, seed = (*Path(origin).parts, "seed")[:2]
    seed = seed.removeprefix("seed")
    if name in cfg.models:
        return model_input(name, seed), model(name, seed)
    return trained(name, seed, round), f"{trained(name, seed, round)}/retriever"


def training_retriever(system, seed, round):
    """Return the retriever that a round of training goes on from; none where it stays frozen."""
    if not cfg.is_joint(system):
        return ""
    return f"{trained(system, seed, round - 1)}/retriever" if round > 1 else model(cfg.systems[system].retriever, seed)


def every(stage):
    """Return a stage's folders for every system and seed."""
    return [f"{RUN}/{system}/seed{seed}/{stage}" for system in cfg.systems for seed in cfg.seeds_of(system)]


def other_costs():
    """Return the run's folders that stand behind the report without being read by it."""
    bases = [m for system in cfg.systems for m in cfg.models_of(system) if m in PRETRAINED]
    found = [*sources_used(), *(f"{RUN}/{m}/seed{n}/pretrain" for m in dict.fromkeys(bases) for n in cfg.seeds)]
    for search in dict.fromkeys(s for system in cfg.systems for n in cfg.seeds for s in searches(system, n)):
        origin = os.path.dirname(search)
        found += [*(f"{origin}/encode/{part}" for part in ["questions", *PARTS]), f"{origin}/index", search]
    return found


def option(name, value):
    """Return an option with its value or values, quoted; nothing if there is no value."""
    values = [value] if isinstance(value, str) else list(value or [])
    return shlex.join([name, *values]) if values and values != [""] else ""
