"""How long the stages with language models take: operations over a rate, and for texts that are written the weights read at each token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jmlr.commands.sizes import Sizes, shape
from jmlr.config import Config
from jmlr.judging.verdicts import rubric
from jmlr.models.flops import COLBERT, Shape, cloze_flops, next_token_flops, training_flops
from jmlr.models.memory import BYTES
from jmlr.options import PretrainOptions
from jmlr.runtime.errors import UserError
from jmlr.training.budget import steps_in_all

TOKENS_A_WORD = 1.4
Rates = dict[str, float]


@dataclass(frozen=True)
class Cost:
    """Of one job, or of one seed's rounds: hours on all its GPUs at once, how many these are, bytes that stay."""

    hours: float
    ranks: int
    bytes: float = 0.0


@dataclass(frozen=True)
class Writing:
    """Texts that a language model writes in one job: by whom, how many, tokens of a prompt and of a reply, how many at a time."""

    model: str
    requests: int
    prompt: float
    written: float
    batch: int
    precision: str


def pretrained(run: Config) -> dict[str, int]:
    """Return the models that `pretrain` makes, and for how many seeds each: a judge, which answers nothing, for the first alone."""
    found = {m: len(run.seeds) for name in run.systems for m in run.models_of(name) if run.models[m].pretrain}
    for name in run.judge.judges:
        while (model := run.models.get(name)) and model.pretrain:
            found.setdefault(name, 1)
            name = model.pretrain.init.removeprefix("model:")
    return found


def pretraining(run: Config, name: str, sizes: Sizes, known: dict[str, Any], rate: Rates, llm: str = "") -> Cost:
    """Return what it takes to make a model once.

    Raises:
        UserError: it reads every document so often, and their number stands nowhere.
    """
    made = run.models[name].pretrain
    assert made is not None
    causal = made.objective == "causal"
    model = shape(run, name, known, llm if causal else "")
    if causal:
        tokens, length = next_tokens(run, name, made, sizes)
        ranks = sizes.ranks(made.batch)
        flops = next_token_flops(model, tokens=tokens, length=length, recompute=made.gradient_checkpointing)
    else:
        passage, ranks = sizes.fill * made.max_tokens, 1  # one process, whatever the job was given
        if model.colbert_depth:
            query, passage = min(made.max_tokens, COLBERT[0]), min(passage, COLBERT[1])
        else:
            query = made.noise_words  # its own words are missing in the passage
        flops = made.steps * cloze_flops(model, pairs=made.batch, query=query, passage=passage)
    kept = 4.0 * (model.weights if causal else model.body + model.head)
    return Cost(_seconds(flops, rate["train_flops"], ranks, sizes, rate) / 3600 + rate["start_s"] / 3600, ranks, kept)


def next_tokens(run: Config, name: str, made: PretrainOptions, sizes: Sizes) -> tuple[float, float]:
    """Return (tokens that a language model is trained on, tokens of a text)."""
    length = made.max_tokens if made.pack else sizes.fill * made.max_tokens
    if made.tokens:
        return made.tokens, length
    if not made.epochs:
        return made.steps * made.batch * length, length
    passage = sizes.fill * run.reading.llm_passage_tokens
    if made.reads == "passages":
        return made.epochs * sizes.passages * (passage if made.pack else min(passage, made.max_tokens)), length
    return made.epochs * documents(run, name, sizes) * length, length


def documents(run: Config, name: str, sizes: Sizes) -> int:
    """Return how many documents language models are pre-trained on."""
    found = 0
    for part in run.prepare.documents:
        if part.source and run.sources[part.source].origin != "demo":
            what = f"models.{name}.pretrain.epochs: how many documents source '{part.source}' has is not known before it is fetched"
            raise UserError(f"{what}; to plan it, say `steps` or `tokens`")
        found += run.sources[part.source].demo.documents if part.source else part.cloze + part.plain * sizes.passages
    return found


def training(run: Config, system: str, sizes: Sizes, known: dict[str, Any], rate: Rates, llm: str = "") -> Cost:
    """Return what all rounds of one system's training take for one seed."""
    options, read, fill = run.train_options(system), run.reading_options(system), sizes.fill
    rounds = run.systems[system].rounds
    reader = shape(run, run.systems[system].llm, known, llm)
    retriever = shape(run, run.systems[system].retriever, known) if options.joint else None
    most = options.retriever_train_passage_tokens or run.retrieval.retriever_passage_tokens
    query, passage = (retriever or reader).lengths(run.retrieval.retriever_query_tokens, most, fill)
    answer = read.llm_answer_tokens + options.rationale * options.rationale_tokens
    asked = fill * read.llm_question_tokens + answer
    steps = steps_in_all(options, questions=sizes.questions - sizes.test_questions, rounds=rounds)
    flops = steps * options.batch * training_flops(
        reader, retriever, recompute=options.gradient_checkpointing, answer=answer,
        prompt=min(asked + options.passages * fill * read.llm_passage_tokens, read.llm_tokens),
        judged=asked + fill * read.llm_passage_tokens if options.teacher == "llm" else 0, samples=options.samples, candidates=run.search.candidates,
        passage=0.0 if options.keeps_passages else passage, query=query,
    )  # fmt: skip
    ranks = sizes.ranks(options.batch)
    hours = _seconds(flops, rate["train_flops"], ranks, sizes, rate) / 3600 + rounds * rate["start_s"] / 3600
    own = (1 if options.retriever_encoders == "shared" else 2) * (retriever.body + retriever.head) if retriever else 0
    return Cost(hours, ranks, 4.0 * rounds * (reader.lora(options.lora_rank, options.lora_targets) + own))


def _seconds(flops: float, speed: float, ranks: int, sizes: Sizes, rate: Rates) -> float:
    """Return the seconds of a training that so many GPUs share."""
    share = 1.0 if ranks == 1 else rate["several_gpus"] if ranks <= sizes.gpus_per_node else rate["several_nodes"]
    return flops / (speed * ranks * share)


def answering(run: Config, system: str, sizes: Sizes, known: dict[str, Any], rate: Rates, llm: str = "") -> Cost:
    """Return what it takes to answer for one seed: on one GPU, or on all where the model is cut over them; a server's hours are not ours."""
    if run.systems[system].llm not in run.models:
        return Cost(0.0, 1)
    reader = shape(run, run.systems[system].llm, known, llm)
    read, how = run.reading_options(system), run.answer_options(system)
    ranks = sizes.ranks(sizes.questions) if how.shard_llm else 1
    if how.method == "generate":
        what = written(run, system, sizes)
        passes, once = what.written, (writing_hours(what, reader, rate) - rate["start_s"] / 3600) * 3600
    else:
        options = sizes.options * max(1.0, sizes.fill * read.llm_answer_tokens)
        flops = reader.forward(_prompt(run, system, sizes) + options, options)
        passes, once = 2.0, flops * sizes.test_questions / rate["read_flops"]
    if ranks > 1:  # each pass puts the whole model together
        batches = sizes.test_questions / max(1, min(how.answer_batch, -(-sizes.test_questions // ranks))) / ranks
        gathered = passes * batches * BYTES[read.llm_precision] * reader.weights / rate["gathered_bytes_per_s"]
        once = _seconds(once, 1.0, ranks, sizes, rate) + gathered
    return Cost((once + rate["start_s"]) / 3600, ranks)


def _prompt(run: Config, system: str, sizes: Sizes) -> float:
    """Return the tokens of a prompt that is answered."""
    read, passages = run.reading_options(system), run.train_options(system).passages
    return min(sizes.fill * (read.llm_question_tokens + passages * read.llm_passage_tokens), read.llm_tokens)


def written(run: Config, system: str, sizes: Sizes) -> Writing:
    """Return the answers that a system writes for one seed."""
    answer, name = run.answer_options(system), run.systems[system].llm
    reply = answer.rationale_tokens if answer.rationale else answer.reply_tokens
    precision = run.reading_options(system).llm_precision
    return Writing(name, sizes.test_questions, _prompt(run, system, sizes), reply, answer.answer_batch, precision)


def verdicts(run: Config, sizes: Sizes) -> Iterator[Writing]:
    """Yield what each judge writes of each pair: two verdicts of every question, one for each order."""
    judge, fill = run.judge, sizes.fill
    asked = min(judge.judged_questions or sizes.test_questions, sizes.test_questions)
    for name in judge.judges:
        for pair in judge.pairs:
            prompt = TOKENS_A_WORD * len(rubric().split()) + fill * run.reading.llm_question_tokens
            for system in pair:
                answer = run.answer_options(system)
                prompt += run.train_options(system).passages * fill * run.reading_options(system).llm_passage_tokens
                prompt += answer.rationale_tokens if answer.rationale else 0
            yield Writing(name, 2 * asked, prompt, judge.judge_tokens, judge.judge_batch, "float32")


def judging(run: Config, sizes: Sizes, known: dict[str, Any], rate: Rates, llm: str = "") -> float:
    """Return the hours in which the run's own models judge; a server's are not ours."""
    own = [w for w in verdicts(run, sizes) if w.model in run.models]
    answer = {s.llm for s in run.systems.values()}
    each = (writing_hours(w, shape(run, w.model, known, llm if w.model in answer else ""), rate) for w in own)
    return sum(each)


def writing_hours(what: Writing, model: Shape, rate: Rates) -> float:
    """Return the hours of a job that writes: operations, the weights read once for each token of a batch, and a start."""
    flops = model.forward(what.prompt + what.written, what.written) / rate["read_flops"]
    read = what.written * BYTES[what.precision] * model.weights / what.batch / rate["weight_bytes_per_s"]
    return (what.requests * (flops + read) + rate["start_s"]) / 3600


def asked_of_servers(run: Config, sizes: Sizes) -> Iterator[str]:
    """Yield a line for each endpoint: the most that it is asked, and what that costs by its prices."""
    for name, endpoint in run.endpoints.items():
        answers = [written(run, s, sizes) for s, row in run.systems.items() if row.llm == name]
        asked = [*answers, *(w for w in verdicts(run, sizes) if w.model == name)]
        sent = sum(w.requests * w.prompt for w in asked) / 1000
        received = sum(w.requests * w.written for w in asked) / 1000
        cost = sent * endpoint.price_in + received * endpoint.price_out
        price = f": {cost:.2f} by its prices" if cost else ""
        price += f", of which it may cost {endpoint.most_cost:g}" if endpoint.most_cost else ""
        requests = sum(w.requests for w in asked)
        yield f"endpoints.{name}: {requests} requests, at most {sent:.0f} thousand tokens sent and {received:.0f} received{price}"
