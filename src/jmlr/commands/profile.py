"""What a run's jobs ask a cluster for, as lines for profiles/slurm/config.yaml: GPUs, memory, time and threads, each with its reason.

Memory is what a stage holds at its most, half as much again, in whole GB; time twice the plan's hours of the longest job, in
whole hours. `evaluate` and `report` need no more than their rules say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jmlr.commands.hours import answering, documents, pretrained, pretraining, training, verdicts
from jmlr.commands.searches import encodings
from jmlr.commands.sizes import Line, Sizes, indexed_bytes, shape
from jmlr.config import Config
from jmlr.models.memory import BYTES

PROCESS, WITH_GPU = 1.5e9, 4e9  # bytes of a process: Python with its libraries; the same with CUDA
OF_A_TEXT = 64.0  # bytes that `encode` holds of a text beside its token ids: where it begins, its length, its turn
LETTERS_A_TOKEN = 4.5
THREADS = 8  # of a process that computes on a GPU
MARGIN, LONGER = 1.5, 2


@dataclass(frozen=True)
class Ask:
    """What a job of one rule asks for; `several`: processes that share it, by torchrun."""

    rule: str
    held: float
    hours: float
    why: str
    gpus: int = 0
    several: bool = False


def fragment(
    run: Config,
    sizes: Sizes,
    known: dict[str, Any],
    rate: dict[str, float],
    lines: list[Line],
    threads: int,
    card_gb: float,
    llm: str = "",
) -> Iterator[str]:
    """Yield the lines, which are YAML."""
    counted = {x.stage: x for x in lines if x.jobs}
    gpu = 1 if sizes.gpus_per_node else 0
    asked = [*_data(run, sizes, rate), *_vectors(run, sizes, known, counted, threads, gpu)]
    asked += _models(run, sizes, known, rate, counted, gpu, llm)
    asked = sorted((a for a in asked if a.rule in counted), key=lambda a: list(counted).index(a.rule))
    yield "set-resources:"
    yield from (f"  {ask.rule}: {{{_resources(ask, sizes, card_gb)}}} # {ask.why}" for ask in asked)
    named = {a.rule: THREADS * (-(-a.gpus // sizes.nodes) if a.several else 1) for a in asked if a.gpus}
    named |= {"search": threads}
    yield f"set-threads: {{{', '.join(f'{k}: {min(threads, named[k])}' for k in counted if k in named)}}} # of {threads} at most"


def _resources(ask: Ask, sizes: Sizes, card_gb: float) -> str:
    """Return what a job asks for, as Snakemake's resources."""
    nodes = max(1, -(-ask.gpus // max(1, sizes.gpus_per_node))) if ask.several else 1
    each = ask.gpus // nodes if ask.several else 1
    gpus = each * nodes if ask.several else ask.gpus
    wanted: dict[str, Any] = {"gpu": gpus} if gpus or ask.rule == "judge" else {}
    if nodes > 1:
        wanted |= {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "\"'srun'\""}
    if card_gb and (ask.rule in ("train", "pretrain") or (ask.rule == "answer" and gpus)):
        wanted["card_gb"] = max(1, int(card_gb))  # resources are whole numbers
    wanted["mem_mb"] = 1000 * math.ceil(MARGIN * max(1, each) * ask.held / 1e9)
    wanted["runtime"] = 60 * max(1, math.ceil(LONGER * ask.hours))
    return ", ".join(f"{k}: {v}" for k, v in wanted.items())


def _data(run: Config, sizes: Sizes, rate: dict[str, float]) -> Iterator[Ask]:
    """Yield what brings and cuts the data: flat in memory."""
    letters = LETTERS_A_TOKEN * sizes.fill * sizes.passages * (run.retrieval.retriever_passage_tokens or 256)
    fetched = letters / rate["fetch_bytes_per_s"] / 3600
    yield Ask("fetch", PROCESS, fetched, f"some {letters / 1e9:.1f} GB of text: {fetched:.1f} h, if all of one source")
    cut = sizes.passages * rate["prepare_s_per_passage"] / 3600
    near = ", without near_duplicates" if run.prepare.near_duplicates else ""
    yield Ask("prepare", PROCESS, cut, f"{cut:.1f} h of one core to cut, decontaminate and hash{near}")


def _vectors(
    run: Config, sizes: Sizes, known: dict[str, Any], counted: dict[str, Line], threads: int, gpu: int
) -> Iterator[Ask]:
    """Yield what encodes, indexes and searches: a shard's vectors."""
    most = tokens = weights = indexed = 0.0
    share = sizes.passages / run.shards
    for name in encodings(run):
        base = shape(run, name, known)
        _, passage = base.lengths(0, run.retrieval.retriever_passage_tokens, sizes.fill)
        many, depth = base.vectors(passage)
        most, tokens = max(most, 4.0 * share * many * depth), max(tokens, 4.0 * share * passage)
        indexed = max(indexed, indexed_bytes(run, base) * share * many * depth)
        weights = max(weights, 4.0 * base.weights)
    encode, index, search, rerank = (counted.get(k, Line(k, 0)) for k in ("encode", "index", "search", "rerank"))
    times = max(1, index.jobs)
    hours = encode.hours / times
    held = (WITH_GPU if gpu else PROCESS) + weights + tokens + OF_A_TEXT * share
    said = f"a shard's token ids, {tokens / 1e9:.1f} GB; vectors, {most / 1e9:.1f} GB, go to disk; {hours:.1f} h"
    yield Ask("encode", held, hours, said, gpu)
    hours = index.hours / times
    whole = 2 * index.bytes / times / 1e12
    yield Ask("index", PROCESS, hours, f"in pieces: {whole:.2f} TB read and written: {hours:.1f} h")
    scans = search.jobs - search.jobs // (run.shards + 1) if run.shards > 1 else search.jobs
    hours = search.hours * run.shards / max(1, scans)
    hours *= 2 / threads
    said = f"a shard's vectors with their codes, {indexed / 1e9:.1f} GB, mapped; {hours:.1f} h of {threads} threads"
    yield Ask("search", PROCESS + indexed, hours, said)
    readers = [4.0 * shape(run, name, known).weights for name, model in run.models.items() if model.rerank]
    held, hours = max(readers, default=0.0), rerank.hours / max(1, rerank.jobs)
    said = f"{held / 1e9:.1f} GB of weights; {hours:.1f} h"
    yield Ask("rerank", (WITH_GPU if gpu else PROCESS) + held, hours, said, gpu)


def _models(
    run: Config,
    sizes: Sizes,
    known: dict[str, Any],
    rate: dict[str, float],
    counted: dict[str, Line],
    gpu: int,
    llm: str,
) -> Iterator[Ask]:
    """Yield what makes, trains and asks language models: the weights of one while it is loaded, in every process."""
    process = WITH_GPU if gpu else PROCESS
    own = {name: row for name, row in run.systems.items() if row.llm in run.models}
    held = {
        n: BYTES[run.reading_options(n).llm_precision] * shape(run, s.llm, known, llm).weights for n, s in own.items()
    }
    trained = {n: training(run, n, sizes, known, rate, llm) for n, s in own.items() if s.rounds}
    if trained:
        hours = max(x.hours / run.systems[n].rounds for n, x in trained.items())
        most, ranks = max(held[n] for n in trained), max(x.ranks for x in trained.values())
        said = f"{most / 1e9:.1f} GB of weights in each of {ranks} process{'es' * (ranks > 1)}; a round: {hours:.1f} h"
        yield Ask("train", process + most, hours, said, ranks * gpu, True)
    most = max(held.values(), default=0.0)
    asked = [answering(run, name, sizes, known, rate, llm) for name in run.systems]
    hours, ranks = max(x.hours for x in asked), max(x.ranks for x in asked)
    said = f"{most / 1e9:.1f} GB of weights{f' in each of {ranks} processes' if ranks > 1 else ''}; {hours:.1f} h"
    yield Ask("answer", process + most, hours, said, ranks * gpu if held else 0, ranks > 1)
    judges = {w.model for w in verdicts(run, sizes) if w.model in run.models}
    most = max((4.0 * shape(run, name, known).weights for name in judges), default=0.0)
    hours = counted["judge"].hours if "judge" in counted else 0.0
    said = f"{most / 1e9:.1f} GB of weights; {hours:.1f} h" if judges else "endpoints: nothing to load"
    yield Ask("judge", (process if judges else PROCESS) + most, hours, said, gpu if judges else 0)
    if made := pretrained(run):
        yield _pretrain(run, list(made), sizes, known, rate, gpu, llm)


def _pretrain(
    run: Config, names: list[str], sizes: Sizes, known: dict[str, Any], rate: dict[str, float], gpu: int, llm: str
) -> Ask:
    """Return what the largest model that is made asks for: its weights, and all texts with their tokens, in every process."""
    texts = LETTERS_A_TOKEN * sizes.fill * sizes.passages * run.reading.llm_passage_tokens
    held, hours, ranks = 0.0, 0.0, 1
    for name in names:
        made, cost = run.models[name].pretrain, pretraining(run, name, sizes, known, rate, llm)
        assert made is not None
        count = sizes.passages if made.reads_passages else documents(run, name, sizes)
        length = sizes.fill * (run.reading.llm_passage_tokens if made.reads_passages else made.max_tokens)
        tokens = 16.0 * count * length if made.objective == "causal" else 0.0  # 8 bytes each, and the same while joined
        held = max(held, 4.0 * shape(run, name, known, llm if tokens else "").weights + tokens + texts)
        hours, ranks = max(hours, cost.hours), max(ranks, cost.ranks)
    said = f"{held / 1e9:.1f} GB of weights, texts and their tokens in each of {ranks} process{'es' * (ranks > 1)}; {hours:.1f} h"
    return Ask("pretrain", (WITH_GPU if gpu else PROCESS) + held, hours, said, ranks * gpu, True)
