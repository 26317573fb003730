# The only functions of the workflow: the checked configuration, and which folder feeds which. All else is in the stages.
import os
import re
import sys
import time
from pathlib import Path

from jmlr.checks import check_cards, checked
from jmlr.config import ConfigError, words
from jmlr.runtime.as_module import add_start, own_jobs
from jmlr.runtime.call import check_call, same_config
from jmlr.runtime.digest import counted, stage_digest
from jmlr.runtime.ending import pass_on_end
from jmlr.runtime.errors import UserError
from jmlr.runtime.launch import launch
from jmlr.runtime.preemption import requeue_preempted
from jmlr.runtime.preflight import check_jobs, files_of, megabytes, minutes
from jmlr.runtime.progress import say, set_pace
from jmlr.runtime.summary import summary
from jmlr.runtime.job_options import values, write_options
from jmlr.runtime.warm import keep_warm

BEGUN = time.monotonic()
shell.prefix("set -euo pipefail; trap : TERM; ")  # at SIGTERM the shell waits until its stage has saved its state
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[
    1
]  # no folder where it is of GitHub
if CHECKOUT.is_dir():
    os.environ.setdefault("JMLR_CHECKOUT", str(CHECKOUT))  # what envs/*.post-deploy.sh install
MODULE = workflow.modifier.namespace or ""  # the name by which another workflow uses this one
# Where a `module:` with a prefix puts a path. Snakemake does so with inputs, outputs and logs by itself, never with params.
placed = workflow.modifier.path_modifier.replace_prefix
TORCH_ENV = f"../../envs/{os.environ.get('JMLR_HARDWARE', 'cpu')}.yaml"  # under --sdm conda, where a stage uses torch

try:
    if workflow.is_main_process:
        check_call(sys.argv, os.environ, workflow.config_settings.configfiles, str(CHECKOUT))
    same_config(config, submitting=workflow.is_main_process, module=MODULE)
    checked_run = checked(config, contents=workflow.is_main_process)
except (ConfigError, UserError) as error:
    sys.exit(str(error))  # one line, before anything runs

for line in checked_run.warnings:
    say(f"warning: {line}")
cfg, SOURCES, REVIEW, KINDS = checked_run.config, checked_run.sources, checked_run.review, checked_run.kinds
READY, RERANKERS, PRETRAINED = checked_run.ready, checked_run.rerankers, checked_run.pretrained
RUN = f"results/{cfg.run}"
FETCHED = [f"{RUN}/fetch/{source}" for source in cfg.sources_read()]  # what `prepare` reads
SHARDS = [f"-{i}-of-{cfg.shards}" for i in range(cfg.shards)]
PARTS = [f"passages{shard}" for shard in SHARDS]


wildcard_constraints:
    run=re.escape(cfg.run),
    source="|".join(map(re.escape, cfg.sources)),
    model="|".join(map(re.escape, PRETRAINED)) or "(?!)",
    system="|".join(map(re.escape, cfg.systems)),
    origin=r"[^/]+(/seed\d+)?",
    seed=r"\d+",
    round=r"\d+",
    part=r"questions|passages-\d+-of-\d+",
    depth=r"(-top\d+)?",
    shard=r"(-\d+-of-\d+)?",


def tokenizer_source(model):
    """Return the fetched folder that a new model's tokenizer comes from, if it comes from one."""
    name = PRETRAINED[model].tokenizer
    return [f"{RUN}/fetch/{name.removeprefix('source:').split('/')[0]}"] if name.startswith("source:") else []


def given(path, patterns=()):
    """Return the files of a local path of the run's own as inputs, which no prefix moves; none for a hub name."""
    return [f if placed(f) == f else os.path.abspath(f) for f in files_of(path, patterns)]


def pretrained(name, seed):
    return f"{RUN}/{name}/seed{seed}/pretrain"


def model(name, seed):
    """Return a model before fine-tuning: a folder or a hub name; "" for an endpoint, which is no file."""
    return "" if name in cfg.endpoints else READY.get(name) or placed(pretrained(name, seed))


def model_input(name, seed):
    """Return the same as an input of a rule."""
    return given(READY[name]) if name in READY else [] if name in cfg.endpoints else pretrained(name, seed)


def initial(name, seed):
    """Return what a model is continued from: (input of a rule, folder or hub name); `model:NAME` is another of the run."""
    kind, _, base = PRETRAINED[name].init.partition("model:")
    if base and not kind:
        return model_input(base, seed), model(base, seed)
    return (given(PRETRAINED[name].init) if PRETRAINED[name].init else []), PRETRAINED[name].init


def trained(system, seed, round):
    return f"{RUN}/{system}/seed{seed}/r{round}/train"


def results_of(name, seed):
    """Return the results of a retriever: a model's, or those of the system that trained it after its last round."""
    rounds = cfg.systems[name].rounds if name in cfg.systems else 0
    return f"{RUN}/{name if cfg.is_fixed(name) else f'{name}/seed{seed}'}/r{rounds}"


def named(origin):
    """Return the model or system that an origin of results names, and its seed, if it has one."""
    return Path(origin).parts[0], origin.rpartition("seed")[2]


def list_of(name, seed, most=0):
    """Return the search by which a retriever finds so many passages of every question, or C, if these are more."""
    stage = "rerank" if KINDS[name] == "rerank" else "search"
    return f"{results_of(name, seed)}/{stage}" + (f"-top{most}" if most > cfg.search.candidates else "")


def reads(search):
    """Return what a search reads, by its option: an index and queries, an index of words, the parts of shards, others' lists."""
    own, name = os.path.split(search)
    model, seed = named(str(Path(own).relative_to(RUN).parent))
    deeper, shard = re.fullmatch(r"[a-z]+(-top\d+)?(-\d+-of-\d+)?", name).groups("")
    if KINDS[model] in ("fusion", "rerank"):
        most = max(cfg.models[model].depth, passages_at(deeper))
        lists = [list_of(part, seed, most) for part in cfg.models[model].lists]
        return {"fused": lists} if KINDS[model] == "fusion" else {"search": lists}
    if KINDS[model] == "bm25":
        return {"index": f"{own}/index"}
    if cfg.shards > 1 and not shard:
        return {"parts": [f"{search}{shard}" for shard in SHARDS]}
    return {"index": index_of(own), "queries": f"{own}/encode/questions"}


def passages_at(deeper):
    """Return how many passages of a question a search finds, by what its folder's name ends with where they are more than C."""
    return int(deeper.removeprefix("-top") or cfg.search.candidates)


def encoded(index):
    """Return the encoded passages that an index is made of; none for an index of words."""
    own = os.path.dirname(index)
    return [] if KINDS[Path(own).relative_to(RUN).parts[0]] == "bm25" else [f"{own}/encode/{part}" for part in PARTS]


def search_of(system, seed, round):
    """Return the search that serves a system after `round` rounds: its own, or that of the retriever it starts from."""
    own = round and cfg.train_options(system).joint
    return f"{RUN}/{system}/seed{seed}/r{round}/search" if own else list_of(cfg.systems[system].retriever, seed)


def index_of(own):
    """Return the index for the results `own` of a round: where only the query encoder moves, the base retriever's."""
    system, seed = named(str(Path(own).relative_to(RUN).parent))
    kept = system in cfg.systems and cfg.train_options(system).keeps_passages
    return f"{results_of(cfg.systems[system].retriever, seed) if kept else own}/index"


def searches(system, seed):
    """Return all searches of a system, in the order of rounds; none for a closed book."""
    options = cfg.train_options(system)
    last = cfg.systems[system].rounds if options.joint else 0
    return [search_of(system, seed, n) for n in range(last + 1)] if options.joint or options.passages else []


def begun_with(system, seed):
    """Return the search whose passages a system's first round learns from, where that is not its own retriever's."""
    return [list_of(name, seed) for name in [cfg.systems[system].candidates] if name]


def trainings(system, seed):
    """Return all trainings of a system, in the order of rounds."""
    return [trained(system, seed, n + 1) for n in range(cfg.systems[system].rounds)]


def answering(system):
    """Return where the rounds that may answer begin: at the first where the best on dev does, else at the last."""
    options = cfg.train_options(system)
    return 0 if options.joint and options.keep_best and options.passages else -1


def retriever(origin, round):
    """Return the retriever of an origin after `round` rounds: (input of a rule, folder or hub name)."""
    name, seed = named(origin)
    if name in cfg.models:
        return model_input(name, seed), model(name, seed)
    return trained(name, seed, round), placed(f"{trained(name, seed, round)}/retriever")


def training_retriever(system, seed, round):
    """Return the retriever that a round of training goes on from; none where it stays frozen."""
    if not cfg.train_options(system).joint:
        return ""
    return retriever(f"{system}/seed{seed}", round - 1)[1] if round > 1 else model(cfg.systems[system].retriever, seed)


def every(stage):
    """Return a stage's folders for every system and seed."""
    return [f"{RUN}/{system}/seed{seed}/{stage}" for system in cfg.systems for seed in cfg.seeds_of(system)]


def other_costs():
    """Return the run's folders that stand behind the report without being read by it."""
    made = dict.fromkeys(m for system in cfg.systems for m in cfg.models_of(system) if m in PRETRAINED)
    lists = [s for system in cfg.systems for n in cfg.seeds for s in [*searches(system, n), *begun_with(system, n)]]
    found = [folder for search in dict.fromkeys(lists) for folder in behind(search)]
    return list(dict.fromkeys([*FETCHED, *(pretrained(m, n) for m in made for n in cfg.seeds), *found]))


def behind(folder):
    """Return what a search, an index or an encoding was made from, and itself."""
    name = os.path.basename(folder)
    parts = (
        reads(folder).values()
        if name.startswith(("search", "rerank"))
        else [encoded(folder)] if name == "index" else []
    )
    own = [path for part in parts for path in ([part] if isinstance(part, str) else part)]
    return [*(path for part in own for path in behind(part)), folder]
