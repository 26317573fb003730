"""`jmlr plan`: what a run submits to a cluster, and how long, on how many GPUs and with how many bytes, before anything runs.

jmlr plan docs/slurm/paper.yaml --corpus-passages 25000000 --all-questions 200000 --test-questions 5000 --nodes 2

The jobs are counted from the configuration exactly as the workflow makes them. Hours are operations (jmlr.models.flops)
over a rate of the named device; every rate says whether it was measured, and where, or assumed, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.commands.config import read_config
from jmlr.config import Config
from jmlr.models.flops import Shape, training_flops
from jmlr.models.memory import Training
from jmlr.runtime.checkout import checkout_file
from jmlr.runtime.errors import UserError
from jmlr.runtime.misread import read_mapping
from jmlr.runtime.validation import nearest
from jmlr.training.budget import GPU_TOKENS, steps_in_all


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything, and what computes it."""

    passages: int
    questions: int
    test_questions: int
    options: int
    fill: float
    nodes: int
    gpus_per_node: int


@dataclass(frozen=True)
class Line:
    """One stage: its jobs; hours from the first to the last if no job waits for a node; GPU hours; bytes that stay."""

    stage: str
    jobs: int
    hours: float = 0.0
    gpu_hours: float = 0.0
    bytes: float = 0.0


def plan(
    configs: list[Path],
    /,
    corpus_passages: int,
    all_questions: int,
    rates: Path | None = None,
    device: str = "h100",
    nodes: int = 1,
    gpus_per_node: int = 4,
    test_questions: int = 0,
    question_options: int = 4,
    fill: float = 1.0,
    llm: str = "",
    card_gb: float = 0.0,
) -> None:
    """Print what a run submits and costs: jobs, hours, GPU hours and bytes of every stage, what its LLMs take of a card, and the rates.

    Args:
        configs: configuration of the run: a file, and others over it in their order, as Snakemake takes them
        corpus_passages: how many there are
        all_questions: of all splits: each is encoded and searched in every round
        rates: measured and assumed rates, and the shapes of known models; none: docs/slurm/rates.yaml of the checkout
        device: whose rates count: a key of `devices` in the rates
        nodes: that one training runs on
        gpus_per_node: of each of them; 0 for a machine without
        test_questions: those that are answered
        question_options: that one offers
        fill: share of the limits of tokens that texts fill on average; 1 is the upper bound
        llm: take this model for the run's LLMs: a key of `models` in the rates
        card_gb: memory of a GPU, 10^9 bytes; a training that does not fit ends the plan with one line; 0: none is held against it

    Example:
        jmlr plan config/runs/paper-7b.yaml --corpus-passages 1000000 --all-questions 12000
    """
    rates = rates or checkout_file("docs/slurm/rates.yaml")
    known = read_mapping(rates, "--rates")
    if not isinstance(known.get("devices"), dict):
        raise UserError(f"--rates '{rates}': no mapping 'devices'; docs/slurm/rates.yaml has one")
    if device not in known["devices"]:
        raise UserError(f"--device '{device}'{nearest(device, known['devices'])}; rates: {rates}")
    sizes = Sizes(corpus_passages, all_questions, test_questions, question_options, fill, nodes, gpus_per_node)
    _check(sizes, card_gb)
    run = read_config(*configs, what="CONFIGS")
    here = shapes(
        p for m in run.models.values() if (p := m.path or (m.pretrain.init if m.pretrain else "")) and Path(p).exists()
    )
    known = {**known, "models": {**known["models"], **here}}
    lines = costs(run, sizes, known, device, llm)
    lines.append(total(lines))
    print(f"{'stage':10}{'jobs':>6}{'hours':>10}{'GPU hours':>11}{'GB':>10}")
    print(
        "\n".join(f"{x.stage:10}{x.jobs:>6}{x.hours:>10.2f}{x.gpu_hours:>11.2f}{x.bytes / 1e9:>10.2f}" for x in lines)
    )
    if gpus_per_node:
        print("\n".join(_memory(run, known, nodes * gpus_per_node, llm, card_gb)))
    for name, rate in {**known["devices"][device], **known["everywhere"]}.items():
        print(f"{name}: {float(rate['value']):.3g} {rate['unit']}; {rate['source']}")


def _check(sizes: Sizes, card_gb: float) -> None:
    """Raise UserError for a number that there cannot be."""
    s = sizes
    if min(s.passages, s.questions, s.nodes) < 1:
        given = f"--corpus-passages {s.passages}, --all-questions {s.questions}, --nodes {s.nodes}"
        raise UserError(f"{given}: all are 1 or more")
    none_below = min(s.test_questions, s.gpus_per_node, card_gb) >= 0
    if not (0 < s.fill <= 1 and none_below and card_gb < math.inf and s.options > 0):
        given = f"--fill {s.fill:g}, --card-gb {card_gb:g}, --test-questions {s.test_questions}"
        given += f", --gpus-per-node {s.gpus_per_node}, --question-options {s.options}"
        raise UserError(f"{given}: allowed: a fill above 0 and up to 1, at least one option, the others 0 or more")


def _memory(run: Config, known: dict[str, Any], cards: int, llm: str, card_gb: float) -> list[str]:
    """Return a line for each training of a language model: what it takes of a card.

    Raises:
        UserError: one takes more than a card has.
    """
    lines = []
    for where, (training, shard) in trainings(run, known, llm).items():
        found = training.on_a_card(cards, shard=shard)
        how = f"cut over {cards} cards" if shard and cards > 1 else "whole on every card"
        said = f"{where}: {found.total / 1e9:.1f} GB of a card, {how}"
        if card_gb and not found.fits(1e9 * card_gb):
            other = "more cards" if shard and cards > 1 else "shard_llm with several cards"
            raise UserError(
                f"{said}, which a card of {card_gb:g} GB does not hold; allowed: {other}, or a smaller model"
            )
        parts = [f"{k} {getattr(found, k) / 1e9:.1f}" for k in ("weights", "trained", "gathered", "activations")]
        lines.append(f"{said} ({', '.join(parts)})")
    return lines


def trainings(run: Config, known: dict[str, Any], llm: str = "") -> dict[str, tuple[Training, bool]]:
    """Return what decides the memory of each training of a language model, and whether it is cut over the cards, by its key."""
    found = {}
    for name, system in run.systems.items():
        if not system.rounds or system.llm not in run.models:
            continue
        options, read = run.train_options(name), run.reading_options(name)
        longest = max(options.forward_tokens or GPU_TOKENS, read.llm_tokens)
        found[f"systems.{name}"] = (
            Training.of_adapter(
                shape(run, system.llm, known, llm), rank=options.lora_rank, precision=read.llm_precision, tokens=longest,
                predicted=max(1, longest // max(1, read.llm_passage_tokens)) * read.llm_answer_tokens,
                recompute=options.gradient_checkpointing, embedding="embed_tokens" in options.train_modules,
                half=options.train_precision == "bfloat16",
            ),
            options.shard_llm,
        )  # fmt: skip
    for name, model in run.models.items():
        if (made := model.pretrain) and made.objective == "causal":
            longest = max(GPU_TOKENS, made.max_tokens)
            half = made.pretrain_precision == "bfloat16"
            all_weights = Training.of_all(
                shape(run, name, known, llm), tokens=longest, recompute=made.gradient_checkpointing, half=half
            )
            found[f"models.{name}"] = all_weights, made.shard_llm
    return found


def total(lines: list[Line]) -> Line:
    """Return the sum over all stages."""
    jobs = sum(x.jobs for x in lines)
    return Line("all", jobs, *(sum(getattr(x, k) for x in lines) for k in ("hours", "gpu_hours", "bytes")))


def searches(run: Config, indexed: bool = False) -> int:
    """Return how many times questions are encoded and searched; `indexed`: only those for which passages are, too."""
    seeds = len(run.seeds)
    options = {name: run.train_options(name) for name in run.systems}
    reading = [name for name, o in options.items() if o.joint or o.passages]
    bases = {run.systems[n].retriever for n in reading} & set(run.models)  # a system's retriever is counted as its own
    moved = [n for n in reading if options[n].joint and not (indexed and options[n].keeps_passages)]
    own = sum(run.systems[n].rounds for n in moved)
    return sum(seeds if run.models[m].pretrain else 1 for m in bases) + own * seeds


def jobs(run: Config) -> dict[str, int]:
    """Return how many jobs of each stage the workflow submits for a run."""
    seeds, found, indexed, shards = len(run.seeds), searches(run), searches(run, True), run.shards
    bases = {m for name in run.systems for m in run.models_of(name) if run.models[m].pretrain}
    judges = {name for name in run.judge.judges if name in run.models and run.models[name].pretrain} - bases
    each = sum(len(run.seeds_of(name)) for name in run.systems)
    return {
        "fetch": len(run.sources_fetched()),
        "prepare": 1,
        "pretrain": len(bases) * seeds + len(judges),
        "encode": found + indexed * shards,
        "index": indexed,
        "search": found * (shards + 1 if shards > 1 else 1),
        "train": sum(s.rounds for s in run.systems.values()) * seeds,
        "answer": each,
        "evaluate": each,
        "judge": int(bool(run.judge.judges)),
        "report": 1,
    }


def shape(run: Config, name: str, known: dict[str, Any], llm: str = "") -> Shape:
    """Return the shape of a run's model, from its configuration or by its name from the rates."""
    model = run.models[name]
    while not llm and model.pretrain and model.pretrain.init.startswith("model:"):
        model = run.models[model.pretrain.init.removeprefix("model:")]
    if not llm and model.pretrain and model.pretrain.architecture:
        return Shape.of(model.pretrain.architecture, model.pretrain.vocab_size, model.pretrain.colbert_depth)
    path = llm or (model.pretrain.init if model.pretrain else model.path)
    key = next((k for k in known["models"] if path.rstrip("/").endswith(k)), None)
    if key is None:
        raise UserError(f"models.{name} '{path}': unknown shape{nearest(path, known['models'])}; add it to the rates")
    return Shape.of(known["models"][key])


def shapes(paths: Iterable[str]) -> dict[str, Any]:
    """Return the configurations of ready-made models, by their paths: folders, hub names, or GGUF files.

    Raises:
        UserError: one cannot be read.
    """
    wanted = list(dict.fromkeys(paths))
    if not wanted:
        return {}
    from transformers import AutoConfig

    from jmlr.models.load import gguf_of, pretrained

    found = {}
    for path in wanted:
        folder, file = gguf_of(path)
        found[path.rstrip("/")] = pretrained(AutoConfig, folder, "configuration of", **file).to_dict()
    return found


def costs(run: Config, sizes: Sizes, known: dict[str, Any], device: str, llm: str = "") -> list[Line]:
    """Return the plan stage by stage. Of fetch, prepare, pretrain, evaluate, judge and report only the jobs are told."""
    rate = {k: float(v["value"]) for k, v in {**known["devices"][device], **known["everywhere"]}.items()}
    count, found, indexed, seeds, s = jobs(run), searches(run), searches(run, True), len(run.seeds), sizes
    one_gpu = 1 if s.gpus_per_node else 0
    lines = {stage: Line(stage, number) for stage, number in count.items()}

    base = shape(run, next(r for s in run.systems.values() if (r := s.retriever) in run.models), known)
    lengths = run.retrieval.search_lengths
    query, passage = base.lengths(lengths["query_tokens"], lengths["passage_tokens"], s.fill)
    texts, asked = s.passages * base.forward(passage), s.questions * base.forward(query)
    (many, depth), (few, _) = base.vectors(passage), base.vectors(query)
    held, sought = s.passages * many, s.questions * few
    start = rate["start_s"] / 3600
    hours = (texts * indexed + asked * found) / rate["encode_flops"] / 3600 + count["encode"] * start
    vectors = 4.0 * depth * (held * indexed + sought * found)
    lines["encode"] = Line("encode", count["encode"], hours / run.shards, hours * one_gpu, vectors)
    # bytes of a coordinate: the originals, and codes
    each = {"float32": 4.0, "bfloat16": 6.0, "int8": 5.0}[run.index.storage]
    each -= 4.0 * bool(base.colbert_depth and not run.index.originals)
    hours = 2 * each * depth * held / rate["disk_bytes_per_s"] / 3600 * indexed
    lines["index"] = Line("index", count["index"], hours, 0.0, each * depth * held * indexed)
    hours = _search_s(run, s, (many, few, depth), bool(base.colbert_depth), rate) / 3600 * found
    rows = 2 * s.questions * run.search.candidates * 32.0
    lines["search"] = Line("search", count["search"], hours / run.shards, 0.0, rows * found)

    trained = [_training(run, name, sizes, known, rate, llm) for name, row in run.systems.items() if row.rounds]
    hours, gpu_hours, kept = (sum(column) * seeds for column in zip((0.0, 0.0, 0.0), *trained, strict=True))
    lines["train"] = Line("train", count["train"], hours, gpu_hours, kept)
    flops = 0.0
    for name, system in ((n, x) for n, x in run.systems.items() if x.llm in run.models):
        prompt = s.fill * (
            run.reading.llm_question_tokens + run.train_options(name).passages * run.reading.llm_passage_tokens
        )
        flops += shape(run, system.llm, known, llm).forward(min(prompt, run.reading.llm_tokens), s.options)
    hours = flops * s.test_questions * seeds / rate["read_flops"] / 3600 + count["answer"] * start
    lines["answer"] = Line("answer", count["answer"], hours / len(run.systems) / seeds, hours * one_gpu)
    return list(lines.values())


def _search_s(
    run: Config, sizes: Sizes, vectors: tuple[float, float, int], late: bool, rate: dict[str, float]
) -> float:
    """Return the seconds of one search of all passages, in all shards together.

    vectors: (of a passage, of a query, their depth); late: token vectors, in a large index searched in two steps.
    """
    (many, few, depth), options, storage = vectors, run.search, run.index.storage
    all_pairs = 2.0 * depth * sizes.passages * sizes.questions  # operations, of one vector each
    maxsim = rate[f"maxsim_{storage}_ops"]
    if not late:
        return all_pairs * many * few / rate[f"search_{storage}_ops"]
    small = sizes.passages <= options.exhaustive_passages or sizes.questions <= options.recall_sample
    if options.exhaustive or small:
        return all_pairs * many * few / maxsim
    reranked = min(1.0, run.shards * options.rerank_count / sizes.passages)
    sampled = options.recall_sample / sizes.questions
    return all_pairs * (1 / rate["search_float32_ops"] + many * few * (reranked + sampled) / maxsim)


def _training(
    run: Config, system: str, sizes: Sizes, known: dict[str, Any], rate: dict[str, float], llm: str
) -> tuple[float, float, float]:
    """Return (hours, GPU hours, bytes) of one system's training for one seed."""
    options, read, fill = run.train_options(system), run.reading, sizes.fill
    rounds = run.systems[system].rounds
    reader = shape(run, run.systems[system].llm, known, llm)
    retriever = shape(run, run.systems[system].retriever, known) if options.joint else None
    most = options.retriever_train_passage_tokens or run.retrieval.retriever_passage_tokens
    query, passage = (retriever or reader).lengths(run.retrieval.retriever_query_tokens, most, fill)
    asked = fill * read.llm_question_tokens + read.llm_answer_tokens
    steps = steps_in_all(options, questions=sizes.questions - sizes.test_questions, rounds=rounds)
    flops = steps * options.batch * training_flops(
        reader, retriever, recompute=options.gradient_checkpointing, answer=read.llm_answer_tokens,
        prompt=min(asked + options.passages * fill * read.llm_passage_tokens, read.llm_tokens),
        judged=asked + fill * read.llm_passage_tokens, samples=options.samples, candidates=run.search.candidates,
        passage=0.0 if options.keeps_passages else passage, query=query,
    )  # fmt: skip
    gpus = max(1, sizes.gpus_per_node * sizes.nodes)
    share = 1.0 if gpus == 1 else rate["several_gpus"] if sizes.nodes == 1 else rate["several_nodes"]
    hours = flops / (rate["train_flops"] * gpus * share) / 3600 + rounds * rate["start_s"] / 3600
    own = (1 if options.retriever_encoders == "shared" else 2) * (retriever.body + retriever.head) if retriever else 0
    kept = 4.0 * rounds * (reader.lora(options.lora_rank) + own)
    return hours, hours * gpus * bool(sizes.gpus_per_node), kept
