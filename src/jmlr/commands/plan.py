"""`jmlr plan`: what a run submits to a cluster, and how long, on how many GPUs and with how many bytes, before anything runs.

jmlr plan docs/slurm/paper.yaml --corpus-passages 25000000 --all-questions 200000 --test-questions 5000 --nodes 2
jmlr plan docs/slurm/paper.yaml --corpus-passages 25000000 --all-questions 200000 --profile     # set-resources for profiles/slurm

The jobs are counted from the configuration exactly as the workflow makes them. Hours are operations (jmlr.models.flops)
over a rate of the named device; every rate says whether it was measured, and where, or assumed, and why.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jmlr.checks import answers, trainings
from jmlr.commands.config import read_config
from jmlr.commands.hours import answering, asked_of_servers, judging, pretrained, pretraining, training
from jmlr.commands.profile import fragment
from jmlr.commands.searches import encodings, searches, searches_of, without_rates
from jmlr.commands.sizes import Line, Sizes, indexed_bytes, shape, shapes_here
from jmlr.config import Config
from jmlr.models.memory import FREE
from jmlr.runtime.checkout import checkout_file
from jmlr.runtime.errors import UserError
from jmlr.runtime.misread import read_mapping
from jmlr.runtime.validation import nearest
from jmlr.training.on_card import Answering, Need, advice

HOURS = "hours: shards and answers side by side; stages, models and trainings one after another, each on all nodes"


def plan(
    configs: list[Path],
    /,
    corpus_passages: int,
    all_questions: int,
    rates: Path | None = None,
    device: str = "",
    nodes: int = 1,
    gpus_per_node: int = 4,
    test_questions: int = 0,
    question_options: int = 4,
    fill: float = 1.0,
    llm: str = "",
    card_gb: float = 0.0,
    threads: int = 32,
    profile: bool = False,
) -> None:
    """Print what a run submits and costs: jobs, hours, GPU hours and bytes of every stage, what its models take of a card, and the rates.

    Args:
        configs: configuration of the run: a file, and others over it in their order, as Snakemake takes them
        corpus_passages: how many there are
        all_questions: of all splits: each is encoded and searched in every round
        rates: measured and assumed rates, and the shapes of known models; none: docs/slurm/rates.yaml of the checkout
        device: whose rates count: a key of `devices` in the rates; none: h100, or cpu-thread where a node has no GPU
        nodes: that one training runs on
        gpus_per_node: of each of them; 0 for a machine without
        test_questions: those that are answered
        question_options: that one offers
        fill: share of the limits of tokens that texts fill on average; 1 is the upper bound
        llm: take this model for the run's LLMs: a key of `models` in the rates
        card_gb: memory of a GPU, 10^9 bytes; what does not fit ends the plan with one line; 0: nothing is held against it
        threads: cores of a node that one job may take, for --profile
        profile: print instead what the jobs ask a cluster for, as lines for profiles/slurm/config.yaml

    Example:
        jmlr plan config/runs/paper-7b.yaml --corpus-passages 1000000 --all-questions 12000
    """
    device = device or ("h100" if gpus_per_node else "cpu-thread")
    known = _known(rates or checkout_file("docs/slurm/rates.yaml"), device)
    sizes = Sizes(corpus_passages, all_questions, test_questions, question_options, fill, nodes, gpus_per_node)
    _check(sizes, card_gb, threads)
    run = read_config(*configs, what="CONFIGS")
    known = {**known, "models": {**known["models"], **shapes_here(run)}}
    lines = costs(run, sizes, known, device, llm)
    needs = trainings(run, lambda name: shape(run, name, known, llm), lambda name: shape(run, name, known))
    needs |= answers(run, lambda name: shape(run, name, known, llm))
    if profile:
        print("\n".join(fragment(run, sizes, known, rates_of(known, device), lines, threads, card_gb, llm)))
    else:
        told = [*_table(lines), *without_rates(run), *asked_of_servers(run, sizes)]
        print("\n".join([*told, *(_memory(needs, sizes, card_gb) if gpus_per_node else [])]))
        for name, rate in {**known["devices"][device], **known["everywhere"]}.items():
            print(f"{name}: {float(rate['value']):.3g} {rate['unit']}; {rate['source']}")
    if card_gb:
        _refuse(needs, sizes, card_gb)


def _known(rates: Path, device: str) -> dict[str, Any]:
    """Read the rates; raise UserError where there are none of the device."""
    known = read_mapping(rates, "--rates")
    if not isinstance(known.get("devices"), dict):
        raise UserError(f"--rates '{rates}': no mapping 'devices'; docs/slurm/rates.yaml has one")
    if device not in known["devices"]:
        raise UserError(f"--device '{device}'{nearest(device, known['devices'])}; rates: {rates}")
    return known


def _check(sizes: Sizes, card_gb: float, threads: int) -> None:
    """Raise UserError for a number that there cannot be."""
    s = sizes
    at_least_1: dict[str, float] = {
        "corpus-passages": s.passages,
        "all-questions": s.questions,
        "nodes": s.nodes,
        "question-options": s.options,
        "threads": threads,
    }
    at_least_0: dict[str, float] = {
        "test-questions": s.test_questions,
        "gpus-per-node": s.gpus_per_node,
        "card-gb": card_gb,
    }
    for least, given in enumerate((at_least_0, at_least_1)):
        for name, value in given.items():
            if not least <= value < math.inf:
                raise UserError(f"--{name} {value:g}; allowed: {least} or more")
    if not 0 < s.fill <= 1:
        raise UserError(f"--fill {s.fill:g}; allowed: above 0, up to 1")
    if s.test_questions > s.questions:
        raise UserError(f"--test-questions {s.test_questions}; allowed: up to the {s.questions} of --all-questions")
    if card_gb and not s.gpus_per_node:
        raise UserError(
            f"--card-gb {card_gb:g} with --gpus-per-node 0: there is no card; allowed: 1 or more GPUs on a node"
        )


def _table(lines: list[Line]) -> list[str]:
    """Return the stages and their sum, a line each."""
    head = f"{'stage':10}{'jobs':>6}{'hours':>10}{'GPU hours':>11}{'GB':>10}"
    rows = [
        f"{x.stage:10}{x.jobs:>6}{x.hours:>10.2f}{x.gpu_hours:>11.2f}{x.bytes / 1e9:>10.2f}"
        for x in [*lines, total(lines)]
    ]
    return [head, *rows, HOURS]


def _cards(need: Need, sizes: Sizes) -> int:
    """Return the GPUs that are counted for a training or an answering."""
    if isinstance(need, Answering):
        return sizes.ranks(sizes.questions) if need.shard else 1
    return sizes.ranks(need.options.batch) if need.several else 1


def _memory(needs: dict[str, Need], sizes: Sizes, card_gb: float) -> list[str]:
    """Return a line for each training and each answering: what it takes of a card, and what helps where it may be too much."""
    lines = []
    for where, need in needs.items():
        cards = _cards(need, sizes)
        found = need.on_a_card(cards)
        how = (
            f"cut over {cards} cards"
            if need.shard and cards > 1
            else "whole on every card"
            if cards > 1
            else "one card"
        )
        parts = [f"{k} {v / 1e9:.1f}" for k, v in vars(found).items() if v]
        lines.append(f"{where}: {found.total / 1e9:.1f} GB of a card, {how} ({', '.join(parts)})")
        if card_gb and isinstance(need, Answering) and not found.fits(1e9 * card_gb):
            lines[-1] += f"; prompts as long as they may be do not fit {card_gb:g} GB, less: {advice(need, cards)}"
    asked = max(1, sizes.nodes * sizes.gpus_per_node)
    trained = {k: need for k, need in needs.items() if not isinstance(need, Answering)}
    few = [k for k, need in trained.items() if need.several and need.options.batch < asked]
    if few:
        lines.append(
            f"{', '.join(few)}: the batch is less than {asked} GPUs, which such a run refuses; counted with one for each text"
        )
    return lines


def _refuse(needs: dict[str, Need], sizes: Sizes, card_gb: float) -> None:
    """Raise UserError for what a card does not hold: all of it, with what would help; those alike together.

    Of answers the weights count, since few prompts are as long as they may be.
    """
    alike: dict[str, list[str]] = {}
    for where, need in needs.items():
        cards, part = _cards(need, sizes), "certain" if isinstance(need, Answering) else "total"
        size = getattr(need.on_a_card(cards), part)
        if size > (1 - FREE) * 1e9 * card_gb:
            alike.setdefault(f"{size / 1e9:.1f} GB; less: {advice(need, cards, part)}", []).append(where)
    if alike:
        said = "; ".join(f"{', '.join(names)}: {what}" for what, names in alike.items())
        number = sum(map(len, alike.values()))
        raise UserError(
            f"--card-gb {card_gb:g}, a tenth of it left free, does not hold {number} of {len(needs)} trainings and answers: {said}"
        )


def total(lines: list[Line]) -> Line:
    """Return the sum over all stages."""
    jobs = sum(x.jobs for x in lines)
    return Line("all", jobs, *(sum(getattr(x, k) for x in lines) for k in ("hours", "gpu_hours", "bytes")))


def jobs(run: Config) -> dict[str, int]:
    """Return how many jobs of each stage the workflow submits for a run."""
    seeds, shards = len(run.seeds), run.shards
    found, indexed = (sum(column) for column in zip((0, 0), *encodings(run).values(), strict=True))
    kinds = {name: model.kind for name, model in run.models.items()}
    lists = [(kinds.get(name, ""), name, often) for (name, _), often in searches(run).items()]
    by_vectors = sum(often for kind, _, often in lists if not kind)
    each = sum(len(run.seeds_of(name)) for name in run.systems)
    return {
        "fetch": len(run.sources_fetched()),
        "prepare": 1,
        "pretrain": sum(pretrained(run).values()),
        "encode": found + indexed * shards,
        "index": indexed + len({name for kind, name, _ in lists if kind == "bm25"}),
        "search": by_vectors * (shards + 1 if shards > 1 else 1)
        + sum(often for kind, _, often in lists if kind in ("bm25", "fusion")),
        "rerank": sum(often for kind, _, often in lists if kind == "rerank"),
        "train": sum(s.rounds for s in run.systems.values()) * seeds,
        "answer": each,
        "evaluate": each,
        "judge": int(bool(run.judge.judges)),
        "report": 1,
    }


def rates_of(known: dict[str, Any], device: str) -> dict[str, float]:
    """Return the rates of a device."""
    return {k: float(v["value"]) for k, v in {**known["devices"][device], **known["everywhere"]}.items()}


def costs(run: Config, sizes: Sizes, known: dict[str, Any], device: str, llm: str = "") -> list[Line]:
    """Return the plan stage by stage. Of fetch, prepare, evaluate and report only the jobs are told."""
    rate, count, seeds = rates_of(known, device), jobs(run), len(run.seeds)
    lines = {stage: Line(stage, number) for stage, number in count.items()}
    gpu = bool(sizes.gpus_per_node)
    lines |= {x.stage: x for x in _retrieval(run, sizes, known, rate, count)}
    hours, rows = reranking(run, sizes, known, rate)
    lines["rerank"] = Line("rerank", count["rerank"], hours, hours * gpu, rows)
    made = [(pretraining(run, name, sizes, known, rate, llm), times) for name, times in pretrained(run).items()]
    made_at = sum(x.hours * n for x, n in made), sum(x.hours * n * x.ranks for x, n in made) * gpu
    lines["pretrain"] = Line("pretrain", count["pretrain"], *made_at, sum(x.bytes * n for x, n in made))
    trained = [training(run, name, sizes, known, rate, llm) for name, row in run.systems.items() if row.rounds]
    trained_at = seeds * sum(x.hours for x in trained), seeds * sum(x.hours * x.ranks for x in trained) * gpu
    lines["train"] = Line("train", count["train"], *trained_at, seeds * sum(x.bytes for x in trained))
    asked = [(answering(run, name, sizes, known, rate, llm), len(run.seeds_of(name))) for name in run.systems]
    asked_at = sum(x.hours * n for x, n in asked) / count["answer"], sum(x.hours * n * x.ranks for x, n in asked) * gpu
    lines["answer"] = Line("answer", count["answer"], *asked_at)
    hours = judging(run, sizes, known, rate, llm)
    lines["judge"] = Line("judge", count["judge"], hours, hours * gpu)
    return list(lines.values())


def _retrieval(
    run: Config, sizes: Sizes, known: dict[str, Any], rate: dict[str, float], count: dict[str, int]
) -> list[Line]:
    """Return encode, index and search: all of them for each model that retrievers begin from."""
    s, lengths = sizes, run.retrieval.search_lengths
    encode = count["encode"] * rate["start_s"]
    index = search = vectors = indexes = rows = 0.0
    for name, (found, indexed) in encodings(run).items():
        base = shape(run, name, known)
        query, passage = base.lengths(lengths["query_tokens"], lengths["passage_tokens"], s.fill)
        texts, asked = s.passages * base.forward(passage), s.questions * base.forward(query)
        (many, depth), (few, _) = base.vectors(passage), base.vectors(query)
        held, sought = s.passages * many, s.questions * few
        encode += (texts * indexed + asked * found) / rate["encode_flops"]
        vectors += 4.0 * depth * (held * indexed + sought * found)
        size = indexed_bytes(run, base) * depth * held
        index += 2 * size / rate["disk_bytes_per_s"] * indexed
        indexes += size * indexed
        each = _search_s(run, s, (many, few, depth), bool(base.colbert_depth), rate)
        search += each * sum(often for _, often in searches_of(run, name))
        rows += 2 * s.questions * 32.0 * sum(most * often for most, often in searches_of(run, name))
    gpu = encode / 3600 * bool(s.gpus_per_node)
    return [
        Line("encode", count["encode"], encode / 3600 / run.shards, gpu, vectors),
        Line("index", count["index"], index / 3600, 0.0, indexes),
        Line("search", count["search"], search / 3600 / run.shards, 0.0, rows),
    ]


def reranking(run: Config, sizes: Sizes, known: dict[str, Any], rate: dict[str, float]) -> tuple[float, float]:
    """Return the hours in which cross-encoders read their pairs, and the bytes of what they find."""
    seconds = rows = 0.0
    for (name, most), often in searches(run).items():
        model = run.models.get(name)
        if model and model.rerank:
            base, depth = shape(run, name, known), max(most, model.depth)
            query, passage = base.lengths(
                run.retrieval.retriever_query_tokens, run.retrieval.retriever_passage_tokens, sizes.fill
            )
            seconds += often * (
                sizes.questions * depth * base.forward(query + passage) / rate["encode_flops"] + rate["start_s"]
            )
            rows += 2 * sizes.questions * most * 32.0 * often
    return seconds / 3600, rows


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
    if not options.in_two_steps(sizes.passages, sizes.questions):
        return all_pairs * many * few / maxsim
    reranked = min(1.0, run.shards * options.rerank_count / sizes.passages)
    sampled = options.recall_sample / sizes.questions
    return all_pairs * (1 / rate["search_float32_ops"] + many * few * (reranked + sampled) / maxsim)
