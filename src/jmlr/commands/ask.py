"""`jmlr ask`: put a question to a finished run: to any of its rows, trained or not, on this machine or behind a server.

jmlr ask "Which drug treats gout?" --run results/own --choices '{"A": "colchicine", "B": "aspirin"}'
jmlr ask "Which drug treats gout?" --run results/own --compare        # the passages before training and after, side by side
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.commands.retrieving import passages_of, whole_search
from jmlr.corpus.answers import options_of
from jmlr.options import AnswerOptions, ReadingOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import answered, answering_round, last_training, model_of
from jmlr.runtime.manifest import NAME, anew, read_manifest


def ask(
    question: str,
    /,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    choices: dict[str, str] | list[str] | None = None,
    passages: int = 0,
    compare: bool = False,
) -> None:
    """Answer a question with a finished run's retriever and LLM; show the passages that were read, as they were read.

    Args:
        question: the question, in quotes
        run: folder of the run
        system: whose models answer
        seed: of the training
        choices: JSON object or list of the answers to choose from: '["aspirin", "ibuprofen"]'; none: the answer is written
        passages: how many are read; 0: as many as in training
        compare: also show what the retriever found before training, and what is answered from it

    Example:
        jmlr ask "Which finding is expected on examination?" --choices '["fokzum", "sannom", "taklim", "podfed"]'
    """
    if not question.strip():
        raise UserError("QUESTION is empty")
    row = _row(run, system, seed)
    offered = options_of(choices, "--choices") if choices is not None else None
    texts = offered.texts if offered else []
    count = passages or row.passages
    rounds = {"": row.searches[-1:]}
    if compare:
        if len(row.searches) < 2:
            why = "was not trained, or not better on dev than before training"
            raise UserError(
                f"--compare: the retriever of '{system}' that answers {why}; allowed: a row that answers by a trained one"
            )
        rounds = {"before training": row.searches[:1], "after training": row.searches[-1:]}
    there = {title: [whole_search(run, s) for s in searches if count] for title, searches in rounds.items()}
    answer = _answerer(row)
    for title, searches in there.items():
        found = passages_of(run, searches[0], question, texts, count) if searches else []
        print(f"== {title}" if title else "", end="\n" if title else "")
        answer(question, offered.keys if offered else [], texts, found)


@dataclass(frozen=True)
class Row:
    """A row of the table, as its manifests tell it.

    Attributes:
        run: folder of the run
        llm: folder or hub name; "" for an endpoint
        endpoint: settings of the server
        adapter: what was trained; None: the model as it is
        reading, answer: how it reads and answers
        passages: how many it reads (K)
        searches: of the retriever before training and after, as manifests name them; of one that stays as it is, one; none
            for a closed book
    """

    run: Path
    llm: str
    endpoint: dict[str, Any] | None
    adapter: Path | None
    reading: ReadingOptions
    answer: AnswerOptions
    passages: int
    searches: list[str]


def _row(run: Path, system: str, seed: int) -> Row:
    """Read what a row is from the manifests of its training and its answers.

    Raises:
        UserError: the run has no such row, or it is not finished.
    """
    folder = run / system / f"seed{seed}"
    told = read_manifest(folder / "answer") if (folder / "answer" / NAME).is_file() else None
    settings = told["options"] if told else {}
    answer = AnswerOptions(**{k: settings[k] for k in AnswerOptions.model_fields if k in settings})
    if told and not list(folder.glob("r*/train")):
        notes = told["notes"]
        if not (notes.get("llm") or notes.get("endpoint", {}).get("settings")):
            raise UserError(
                f"'{folder / 'answer'}' does not say who answered: it was made by an earlier version; {anew(folder / 'answer', run)}"
            )
        reading = ReadingOptions(**{k: settings[k] for k in ReadingOptions.model_fields if k in settings})
        answered(run, system, seed)
        searches = notes["searches"]
        llm, endpoint = model_of(run, notes.get("llm", "")), notes.get("endpoint", {}).get("settings")
        return Row(run, llm, endpoint, None, reading, answer, notes["passages"], searches)
    trained = last_training(run, system, seed)
    manifest = read_manifest(trained)
    options = manifest["options"]
    reading = ReadingOptions(**{k: options[k] for k in ReadingOptions.model_fields if k in options})
    first = _before(folder) or read_manifest(folder / "r1/train")["notes"]["candidates"]
    searches = [first] if first else []
    if (trained / "retriever").is_dir() and answering_round(run, system, seed) != 0:
        searches.append(str(trained.parent.relative_to(run) / "search"))
    llm = model_of(run, manifest["notes"]["llm"])
    return Row(run, llm, None, trained / "adapter", reading, answer, options["passages"], searches)


def _before(folder: Path) -> str:
    """Return the search of a row's retriever before training, by its evaluation; "" where there is none yet."""
    evaluated = folder / "evaluate"
    told = read_manifest(evaluated)["inputs"].get("searches", {}) if (evaluated / NAME).is_file() else {}
    return next((str(Path(name).parent) for name in told), "")


def _answerer(row: Row) -> Any:
    """Return what answers a question from passages and prints both: the models are loaded once."""
    if row.endpoint:
        return lambda *arguments: _ask_server(row, *arguments)
    from jmlr.corpus.prompt import Prompter
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.inference.questions import Passages
    from jmlr.models.llm import load_to_answer

    reading = row.reading
    model, tokenizer = load_to_answer(row.llm, row.adapter, precision=reading.llm_precision, tokens=reading.llm_tokens)
    chat = row.answer.model_dump(include={"chat", "chat_template_kwargs"})
    prompter = Prompter(tokenizer, **row.reading.model_dump(exclude={"llm_precision"}), **chat)
    table = StoredPassages.open(row.run / "prepare") if row.searches else None
    texts = Passages(table, prompter, None, 0)
    return lambda *arguments: _ask_model(row, model, prompter, texts, *arguments)


def _ask_model(
    row: Row, model: Any, prompter: Any, texts: Any, question: str, keys: list[str], options: list[str], found: list[tuple[int, float]]
) -> None:  # fmt: skip
    """Answer on this machine: the options by likelihood, or what the model writes."""
    from jmlr.inference.answering import by_generation, by_likelihood
    from jmlr.models.prefix import write

    numbered = row.answer.rationale
    read = prompter.passages(texts.titles_and_texts([n for n, _ in found]), numbered=numbered) if found else []
    record = {"question": question, "options": options}
    if options and row.answer.method == "likelihood":
        [answer] = by_likelihood(model, prompter, [record], [read], row.answer.model_dump(), lambda _: None)
        kept = answer.read
        said = [
            (p, f"{key}. {text}") for p, key, text in zip(answer.row()["probabilities"], keys, options, strict=True)
        ]
        reply = "\n".join(f"{p:7.1%}  {line}" for p, line in sorted(said, key=lambda pair: -pair[0]))
    elif options:
        [answer] = by_generation(
            model, prompter.tokenizer, prompter, [record], [read], row.answer.model_dump(), lambda _: None
        )
        kept, reply = answer.read, f"answer: {answer.reply}"
    else:
        asked = prompter.question(question, [])
        kept = prompter.fitting(asked, read[::-1], prompter.llm_answer_tokens)
        prompt = prompter.prompt(asked, read[::-1], prompter.llm_answer_tokens)
        reply = "answer: " + write(model, prompter.tokenizer, [prompt], prompter.llm_answer_tokens)[0]
    names = texts.table.take([n for n, _ in found[:kept]], ["id"]) if kept else []
    for rank, ((_, score), (name,), ids) in enumerate(zip(found[:kept], names, read, strict=False), 1):
        cut = len(ids) == row.reading.llm_passage_tokens
        _show(rank, score, name, prompter.tokenizer.decode(ids), cut)
    if kept < len(found):
        print(
            f"({len(found) - kept} of {len(found)} passages had no room in {row.reading.llm_tokens} tokens, and were not read)"
        )
    print(reply)


def _ask_server(row: Row, question: str, keys: list[str], options: list[str], found: list[tuple[int, float]]) -> None:
    """Answer behind a server, which reads the passages uncut."""
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.endpoints.client import Client
    from jmlr.inference.answering import from_endpoint

    assert row.endpoint
    del keys
    rows = [n for n, _ in found]
    held = StoredPassages.open(row.run / "prepare").take(rows, ("id", "title", "text")) if found else []
    read = [(title, text) for _, title, text in held]
    for rank, ((_, score), (name, _, text)) in enumerate(zip(found, held, strict=True), 1):
        _show(rank, score, name, text, False)
    record = {"question": question, "options": options}
    client, settings = Client(**row.endpoint), row.answer.model_dump()
    [answer] = from_endpoint(client, row.reading.model_dump(), [record], [read], settings, lambda _: None)
    print(f"answer: {answer.reply}")


def _show(rank: int, score: float, name: str, text: str, cut: bool) -> None:
    ends = " ... (cut here, as it was read)" if cut else ""
    print(f"passage {rank}  {score:+.4f}  {name}\n    {' '.join(text.split())}{ends}")
