"""Stage `answer`: one answer per question, with the options' scores or what was written, and the passages used.

`answers.parquet`, one row per question: question_id, dataset, split, answer (the key), predicted (-1: unparsed), scores and
probabilities of the options (method likelihood; empty where the answer was written), passages (rows of passages.parquet), ids
and passage_scores of those that stood in the prompt, best first; reply (all that was written), rationale, citations (numbers of
passages as cited, from 1; some may be beyond those read) and cited_ids (of those that were read).

Several ranks share the questions of a model on this machine, as `train` shares its batches (`jmlr.runtime.distributed`), each with
the whole model or, by --shard-llm, with a part of it; the first rank alone writes.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import ValidationError

from jmlr.options import AnswerOptions, EndpointOptions, ReadingOptions
from jmlr.options.fits import check_shared
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import anew, stage_output
from jmlr.runtime.progress import Progress, say, warn
from jmlr.runtime.validation import one_line


def answer(
    out: Path,
    prepared: Path,
    options: AnswerOptions,
    reading: ReadingOptions,
    llm: str = "",
    endpoint: dict[str, Any] | None = None,
    trained: list[Path] | None = None,
    searches: list[Path] | None = None,
    passages: int = 0,
) -> None:
    """Answer the questions of the chosen splits: answers.parquet.

    Of several rounds the one whose retriever is best on the dev split answers (`jmlr.training.rounds`).

    Args:
        out: folder to make
        prepared: output of `prepare`
        llm: the base language model: folder or hub name
        endpoint: an OpenAI-compatible server in its place, as in the configuration's section endpoints
        trained: outputs of `train` of rounds 1, 2, ..., or of one, whose adapter is put on it; none: the model as it is
        searches: outputs of `search` of rounds 0, 1, ..., or of one; none for a closed book
        passages: passages given to the LLM (K); the best stands last, next to the question

    Example:
        jmlr answer --out my/answers --prepared results/demo/prepare --llm results/demo/llm/seed0/pretrain --trained my/rag \\
            --searches results/demo/retriever/seed0/r0/search --passages 3
    """
    rounds, adapters = searches or [], trained or []
    _check(options, reading, llm, endpoint, adapters, rounds, passages)
    inputs = {"prepared": prepared, "llm": Path(llm) if llm else None, "trained": adapters, "candidates": rounds}
    variants = {"endpoint": bool(endpoint)}
    output: Any = stage_output(out, "answer", inputs=inputs, options=[options, reading], variants=variants)
    with _joined(endpoint) as ranks, output if ranks.rank == 0 else nullcontext((out, {})) as (folder, notes):
        records = _records(prepared, options.splits)
        chosen = _best(prepared, rounds, notes) if len(rounds) > 1 else 0
        search = rounds[chosen] if rounds else None
        adapter = adapters[max(chosen, 1) - 1] if adapters else None
        found = _found(search, passages) if search else {}
        missing = next((r["id"] for r in records if found and r["id"] not in found), None)
        if search and missing is not None:
            raise UserError(f"'{search}/candidates.parquet': question '{missing}' has no candidates; {anew(search)}")
        used = [found.get(r["id"], ([], [], [])) for r in records]
        progress = Progress("answer", len(records))
        table = (prepared, [u[0] for u in used])
        if endpoint:
            answers = _from_endpoint(endpoint, records, table, options, reading, notes, progress)
        else:
            answers = _from_model(llm, adapter, records, table, options, reading, notes, progress)
        unparsed = sum(a.predicted < 0 for a in answers)
        if unparsed:
            warn("answer", f"{unparsed} of {len(answers)} replies name no option: unparsed, and counted as wrong")
        notes.update(
            questions=len(answers), unparsed=unparsed, method=options.method, passages=passages, ranks=ranks.size
        )
        notes.update(llm=llm, searches=[str(search)] if search and passages else [])
        if ranks.rank == 0:
            _write(folder, [_row(*each) for each in zip(records, used, answers, strict=True)])


def _joined(endpoint: dict[str, Any] | None) -> Any:
    """Join the other ranks; without loading torch where a server answers, which one process asks.

    Raises:
        UserError: several were started to ask it.
    """
    if endpoint and not {"RANK", "SLURM_STEP_NUM_TASKS"}.intersection(os.environ):
        return nullcontext(SimpleNamespace(rank=0, size=1))
    from jmlr.runtime.distributed import from_environment, joined

    if endpoint and (size := from_environment(os.environ)[0].size) > 1:
        raise UserError(f"--endpoint by {size} processes; allowed: one, since the server shares out the work")
    return joined()


def _check(
    options: AnswerOptions,
    reading: ReadingOptions,
    llm: str,
    endpoint: dict[str, Any] | None,
    adapters: list[Path],
    rounds: list[Path],
    passages: int,
) -> None:
    """Refuse options that need an input which was not given, or that do not go together."""
    if len(rounds) > 1 and len(adapters) != len(rounds) - 1:
        given = f"--searches of {len(rounds)} rounds, --trained of {len(adapters)}"
        raise UserError(f"{given}; allowed: rounds 0 to n have a search each, 1 to n a training, or one of each")
    if passages and not rounds:
        raise UserError(f"--passages {passages}: give --searches, or --passages 0 for a closed book")
    if bool(llm) == bool(endpoint):
        raise UserError("give either --llm or --endpoint")
    if endpoint and options.shard_llm:
        raise UserError("--endpoint with --shard-llm: a server holds its model itself; leave one out")
    try:
        check_shared(options.shard_llm, reading.llm_precision, "answer")
    except ValueError as error:
        raise UserError(str(error)) from None
    if endpoint and (adapters or options.method != "generate"):
        raise UserError(
            "--endpoint: it cannot be trained and tells no likelihoods; only --method generate, without --trained"
        )


def _best(prepared: Path, searches: list[Path], notes: dict[str, Any]) -> int:
    """Return the round that answers, and say why; its figures are noted."""
    from jmlr.training.rounds import SPLIT, hits

    found = hits(prepared, searches)
    chosen = found.best if found.values else len(searches) - 1
    notes.update(round=chosen, dev={"metric": found.what, "values": found.values, "n": found.n})
    if not found.values:
        say(f"answer: the last round answers: no question of '{SPLIT}' tells which is best (train.keep_best)")
        return chosen
    say(f"answer: round {chosen} answers, the best by {found}")
    if told := found.in_vain():
        warn("answer", f"{told}; lower retriever_learning_rate")
    return chosen


def _records(prepared: Path, splits: list[str]) -> list[dict[str, Any]]:
    from jmlr.corpus.tables import read_table

    table = read_table(prepared / "questions.parquet").to_pylist()
    records = [r for r in table if r["split"] in splits and r["options"]]
    if not records:
        what = (
            f"no question with options in splits {', '.join(splits)}; those without an answer count for retrieval alone"
        )
        raise UserError(f"'{prepared}/questions.parquet' has {what}, beside others that are answered")
    return records


def _from_model(
    llm: str,
    trained: Path | None,
    records: list[dict[str, Any]],
    table: tuple[Path, list[list[int]]],
    options: AnswerOptions,
    reading: ReadingOptions,
    notes: dict[str, Any],
    progress: Progress,
) -> list[Any]:
    """Answer with a model on this machine, on every rank."""
    import torch

    from jmlr.corpus.prompt import Prompter
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.inference.answering import by_generation, by_likelihood
    from jmlr.inference.questions import Passages
    from jmlr.models.llm import load_to_answer
    from jmlr.models.sharded import shard
    from jmlr.runtime.devices import device
    from jmlr.runtime.distributed import current
    from jmlr.training.on_card import check_answering

    adapter, where = trained / "adapter" if trained else None, device()
    check_answering(where, llm, options, reading, max((len(rows) for rows in table[1]), default=0))
    cut = options.shard_llm and current().size > 1
    model, tokenizer = load_to_answer(
        llm,
        adapter,
        precision=reading.llm_precision,
        tokens=reading.llm_tokens,
        where=torch.device("cpu") if cut else where,
    )
    if cut:
        shard(model, where)
    chat = options.model_dump(include={"chat", "chat_template_kwargs"})
    prompter = Prompter(tokenizer, **reading.model_dump(exclude={"llm_precision"}), **chat)
    texts, settings = Passages(StoredPassages.open(table[0]), prompter, None, 0), options.model_dump()
    read: list[list[Any]]
    if options.rationale:
        read = [prompter.passages(texts.titles_and_texts(rows), numbered=True) for rows in table[1]]
    else:
        read = [[texts.for_llm(row) for row in rows] for rows in table[1]]
    if options.method == "likelihood":
        answers = by_likelihood(model, prompter, records, read, settings, progress.step)
    else:
        answers = by_generation(model, tokenizer, prompter, records, read, settings, progress.step)
    notes["cut"] = prompter.cut
    return answers


def _from_endpoint(
    endpoint: dict[str, Any],
    records: list[dict[str, Any]],
    table: tuple[Path, list[list[int]]],
    options: AnswerOptions,
    reading: ReadingOptions,
    notes: dict[str, Any],
    progress: Progress,
) -> list[Any]:
    """Answer with a model behind a server."""
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.endpoints.client import Client
    from jmlr.inference.answering import from_endpoint

    try:
        checked = EndpointOptions.model_validate(endpoint)
    except ValidationError as error:
        raise UserError(f"--endpoint: {one_line(error, EndpointOptions)}") from None
    passages = StoredPassages.open(table[0])
    read = [passages.pairs(rows) for rows in table[1]]
    client = Client(**checked.model_dump())
    answers = from_endpoint(client, reading.model_dump(), records, read, options.model_dump(), progress.step)
    notes["endpoint"] = {
        "base_url": checked.base_url,
        "model": checked.model,
        **client.figures,
        "settings": checked.model_dump(),
    }
    return answers


def _found(folder: Path, passages: int) -> dict[str, tuple[list[int], list[str], list[float]]]:
    from jmlr.corpus.tables import read_table

    table = read_table(folder / "candidates.parquet").to_pylist()
    return {r["question_id"]: (r["passages"][:passages], r["ids"][:passages], r["scores"][:passages]) for r in table}


def _row(record: dict[str, Any], used: tuple[list[int], list[str], list[float]], answer: Any) -> dict[str, Any]:
    numbers, ids, scores = (part[: answer.read] for part in used)
    return {
        "question_id": record["id"], "dataset": record["dataset"], "split": record["split"], "answer": record["answer"],
        **answer.row(), "passages": numbers, "ids": ids, "passage_scores": scores,
        "cited_ids": [ids[n - 1] for n in answer.citations if 1 <= n <= len(ids)],
    }  # fmt: skip


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, numbers, text = pa.int32(), pa.list_(pa.float32()), pa.string()
    fields = {"question_id": text, "dataset": text, "split": text, "answer": number, "predicted": number, "scores": numbers,
              "probabilities": numbers, "passages": pa.list_(number), "ids": pa.list_(text), "passage_scores": numbers,
              "reply": text, "rationale": text, "citations": pa.list_(number), "cited_ids": pa.list_(text)}  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(fields.items())))
    pq.write_table(table, folder / "answers.parquet")
