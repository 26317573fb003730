"""Three ways to an answer: the likeliest option, what the LLM writes, what an endpoint writes.

    answers = by_likelihood(llm, prompter, records, passages, settings, done)        # [Answer], one per question
    answers = by_generation(llm, tokenizer, prompter, records, passages, settings, done)
    answers = from_endpoint(client, reading, records, passages, settings, done)

Everywhere: `records` have `question` and `options`; `passages` are those of each question, best first; `settings` has the
fields of `jmlr.options.AnswerOptions`; `done` is called with the number of questions that were just answered. Several ranks share
the questions of the first two, and each returns all answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jmlr.corpus.prompt import Prompter, chat_message, frame
from jmlr.corpus.replies import parse_option, parse_thought, without_thinking
from jmlr.endpoints.client import Client
from jmlr.inference.likelihood import probabilities, score_options
from jmlr.inference.shares import put_together, shares
from jmlr.models.forward import context_of
from jmlr.models.prefix import by_length, write
from jmlr.runtime.errors import UserError

Done = Callable[[int], None]


@dataclass(frozen=True)
class Answer:
    """One answer: the option (-1: unparsed), how many of the passages were in the prompt, and what else there is to keep."""

    predicted: int
    read: int
    scores: Sequence[float] = ()
    reply: str = ""
    rationale: str = ""
    citations: Sequence[int] = ()

    def row(self) -> dict[str, Any]:
        """Return the columns of answers.parquet that come from here; an answer that was written has no scores."""
        return {"predicted": self.predicted, "scores": list(self.scores), "probabilities": probabilities(self.scores),
                "reply": self.reply, "rationale": self.rationale, "citations": list(self.citations)}  # fmt: skip


def by_likelihood(
    llm: Any,
    prompter: Prompter,
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[Sequence[int]]],
    settings: Mapping[str, Any],
    done: Done,
) -> list[Answer]:
    """Answer with the option of the highest log-likelihood; of equal ones the first."""
    room = prompter.llm_answer_tokens
    scored = score_options(
        llm, prompter, records, passages,
        room=room, mean=settings["option_score"] == "mean", batch=settings["answer_batch"], done=done,
    )  # fmt: skip
    return [
        Answer(
            predicted=max(range(len(scores)), key=scores.__getitem__),
            read=prompter.fitting(prompter.question(r["question"], r["options"]), list(read)[::-1], room),
            scores=scores,
        )
        for r, read, scores in zip(records, passages, scored, strict=True)
    ]


def by_generation(
    llm: Any,
    tokenizer: Any,
    prompter: Prompter,
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[Sequence[int]]],
    settings: Mapping[str, Any],
    done: Done,
) -> list[Answer]:
    """Answer with what the LLM writes, greedily: the option alone, or a rationale and then the option.

    For a rationale `passages` are numbered ones, see `Prompter.passages`.
    """
    last_words, room = ending(settings)
    prompts, counts = [], []
    for record, read in zip(records, passages, strict=True):
        question, order = prompter.question(record["question"], record["options"], last_words), list(read)[::-1]
        counts.append(prompter.fitting(question, order, room))
        prompts.append(prompter.prompt(question, order, room))
    answers: dict[int, Answer] = {}
    for numbers in shares(llm, prompts, settings["answer_batch"], done):
        replies = write(llm, tokenizer, [prompts[i] for i in numbers], room)
        for i, reply in zip(numbers, replies, strict=True):
            answers[i] = understood(prompter.frame.opening + reply, records[i]["options"], counts[i], settings)
    return put_together(llm, answers)


def from_endpoint(
    client: Client,
    reading: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    passages: Sequence[Sequence[tuple[str, str]]],
    settings: Mapping[str, Any],
    done: Done,
) -> list[Answer]:
    """Answer with what an endpoint writes; the passages, as (title, text), go uncut."""
    last_words, room = ending(settings)
    prompts = [
        chat_message(reading, r["question"], r["options"], read, last_words, settings["rationale"])
        for r, read in zip(records, passages, strict=True)
    ]
    replies = client.ask(prompts, room, each=lambda: done(1))
    return [
        understood(reply.text, r["options"], len(read), settings)
        for reply, r, read in zip(replies, records, passages, strict=True)
    ]


def replies(
    llm: Any,
    tokenizer: Any,
    messages: Sequence[str],
    most_tokens: int,
    batch: int,
    chat: bool,
    done: Done,
    arguments: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return what a local model writes to each message, which is never cut; UserError where it is too long for the model.

    chat: put each message into the chat template; `arguments`: what else the template is told.
    """
    around = frame(tokenizer, chat, arguments)
    rows = [around.before + ids + around.after for ids in around.inside(messages)]
    most, longest = context_of(llm.config), max(map(len, rows), default=0) + most_tokens
    if most and longest > most:
        raise UserError(f"a message and its reply come to {longest} tokens; this model reads at most {most}")
    said = [""] * len(rows)
    for numbers in by_length(rows, batch):
        for i, text in zip(numbers, write(llm, tokenizer, [rows[i] for i in numbers], most_tokens), strict=True):
            said[i] = around.opening + text
        done(len(numbers))
    return said


def ending(settings: Mapping[str, Any]) -> tuple[str, int]:
    """Return the last words of the prompt, and how many tokens the reply may have."""
    if settings["rationale"]:
        return settings["rationale_prompt"], settings["rationale_tokens"]
    return settings["generation_prompt"], settings["reply_tokens"]


def understood(reply: str, options: Sequence[str], read: int, settings: Mapping[str, Any]) -> Answer:
    """Return what a reply says behind its thinking, if it has any. Citations are numbers of passages, 1 for the best; some may
    name none that was read.
    """
    said = without_thinking(reply)
    if not settings["rationale"]:
        return Answer(parse_option(said, options), read, reply=reply)
    thought = parse_thought(said, options)
    return Answer(thought.option, read, reply=reply, rationale=thought.rationale, citations=thought.cited)
