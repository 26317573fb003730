"""A prompt as another program wrote it, with the row's passages put in front: the log-probabilities of its tokens, or what follows.

    [told] = scored(system, [Prompt("Question: Which drug ...?\nAnswer: aspirin", top=1, more=1)])
    for i, so_far in continuations(system, [Prompt("Question: Which drug ...?\nAnswer:", more=16)], live): ...

The passages are those that the row's search finds for the prompt's question: what stands between the last words that introduce a
question in the row's own prompts and those before its answer, or all of it. So every answer to one question is scored behind the
same passages. They are no part of what is told: a program that counts its own tokens finds them where it put them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jmlr.runtime.errors import UserError
from jmlr.serving.messages import question_in
from jmlr.serving.row import Row
from jmlr.serving.system import Asked, System
from jmlr.serving.writing import steps

TOKENS_AT_ONCE = 4096  # prompts that are read together, padding included


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        given: its text, or its tokens
        top: how many likeliest tokens are told beside each one
        more: tokens to write after it
    """

    given: str | Sequence[int]
    top: int = 0
    more: int = 0


@dataclass(frozen=True)
class Scored:
    """A prompt's tokens, and one more where it was asked for; the first has no log-probability, as at OpenAI.

    tokens: as text; logprobs: in nats; top: the likeliest tokens at each place with theirs; count: tokens that were read.
    """

    tokens: Sequence[str]
    logprobs: Sequence[float | None]
    top: Sequence[dict[str, float] | None]
    count: int


@dataclass(frozen=True)
class Going:
    """How a prompt goes on so far: text, number of tokens, whether it ended by itself, and the tokens of the prompt."""

    text: str = ""
    count: int = 0
    ended: bool = True
    read: int = 0


def words_of(row: Row) -> tuple[str, list[str]]:
    """Return the words by which a row's prompts introduce a question, and those that may stand before its answer."""
    answer = row.answer
    last = [row.reading.answer_prompt, answer.generation_prompt, answer.rationale_prompt]
    return row.reading.question_prompt.partition("{question}")[0], last


def ids_of(system: System, prompt: Prompt) -> list[int]:
    """Return a prompt's tokens, without a beginning of text, which stands before the passages."""
    if isinstance(prompt.given, str):
        return [int(i) for i in system.tokenizer(prompt.given, add_special_tokens=False)["input_ids"]]
    return [int(i) for i in prompt.given[int(_begins(system, prompt)) :]]


def _begins(system: System, prompt: Prompt) -> bool:
    """Tell whether a prompt came as tokens with a beginning of text: then that is the first token that is told."""
    bos, given = system.tokenizer.bos_token_id, prompt.given
    return not isinstance(given, str) and bos is not None and list(given[:1]) == [bos]


def _asked(system: System, prompt: Prompt, ids: Sequence[int]) -> Asked:
    """Return the question of a prompt, by which its passages are searched.

    Of tokens it is looked for in their text, in which a tokenizer may have changed the words around it in the same way.
    """
    lead, last = words_of(system.row)
    if isinstance(prompt.given, str):
        return Asked(*question_in(prompt.given, lead, last))
    decode, encode = system.tokenizer.decode, partial(system.tokenizer, add_special_tokens=False)
    lead, *last = (decode(encode(words)["input_ids"]) for words in (lead, *last))
    return Asked(*question_in(decode(ids), lead, last, anywhere=True))


def _framed(system: System, prompts: Sequence[Prompt], rooms: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return what stands before each prompt, and its own tokens.

    Raises:
        UserError: a prompt has no token, or one that the model does not know, or is too long.
    """
    prompter, most = system.prompter, system.row.reading.llm_tokens
    size = system.model.get_input_embeddings().num_embeddings
    tokens = [ids_of(system, p) for p in prompts]
    found = system.found([_asked(system, p, ids) for p, ids in zip(prompts, tokens, strict=True)])
    made = []
    for own, passages, room in zip(tokens, found, rooms, strict=True):
        if not own or not 0 <= min(own) <= max(own) < size:
            raise UserError(f"prompt: allowed: at least one token, of 0 to {size - 1}")
        if len(prompter.before) + len(own) + room > most:
            raise UserError(f"prompt: {len(own)} tokens and {room} to write; this row reads {most} at most")
        order = system.tokens_of(passages)[::-1]
        whole = prompter.prompt(own, order, room)
        made.append((whole[: len(whole) - len(own)], own))
    return made


def scored(system: System, prompts: Sequence[Prompt]) -> list[Scored]:
    """Return what each prompt's tokens have as log-probabilities; at most one token more is told, the likeliest."""
    import torch

    from jmlr.models.parts import in_parts

    framed = _framed(system, prompts, [min(p.more, 1) for p in prompts])
    lengths = [len(before) + len(own) for before, own in framed]
    told: dict[int, Scored] = {}
    with torch.inference_mode():
        for part in in_parts(lengths, TOKENS_AT_ONCE):
            told |= dict(zip(part, _part(system, [framed[i] for i in part], [prompts[i] for i in part]), strict=True))
    return [told[i] for i in range(len(prompts))]


def _part(system: System, framed: Sequence[tuple[list[int], list[int]]], prompts: Sequence[Prompt]) -> list[Scored]:
    """Score prompts that are read together; logits of one at a time, which have a column for each word."""
    from jmlr.models.forward import causal, context_of, hidden_states, logits_of
    from jmlr.models.tensors import at_least_float32, pad_right

    model = system.model
    rows = [before + own for before, own in framed]
    ids = pad_right(rows, next(model.parameters()).device, context_of(causal(model).config))
    states = hidden_states(model, ids)
    made = []
    for i, ((before, own), prompt) in enumerate(zip(framed, prompts, strict=True)):
        first = max(len(before) - 1, 0)  # what predicts the first own token, or, without any before it, the second
        logprobs = at_least_float32(logits_of(model, states[i, first : len(rows[i])])).log_softmax(-1)
        begins = _begins(system, prompt)
        told = [system.tokenizer.bos_token_id, *own] if begins else own
        made.append(_told(system.tokenizer, told, logprobs if begins or not before else logprobs[1:], prompt))
    return made


def _told(tokenizer: Any, own: list[int], logprobs: Any, prompt: Prompt) -> Scored:
    """Return the log-probabilities [len(own), V] after each told token as they are told."""
    more = [int(logprobs[-1].argmax())] if prompt.more else []
    ids = own + more
    values = [None, *(float(logprobs[n, token]) for n, token in enumerate(ids[1:]))]
    top: list[dict[str, float] | None] = [None]
    words = [tokenizer.decode([token]) for token in ids]
    for n in range(len(ids) - 1):
        best = logprobs[n].topk(prompt.top) if prompt.top else None
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
        named: dict[str, float] = {}
        for token, value in pairs:
            named.setdefault(tokenizer.decode([token]), value)
        top.append(named)
    return Scored(words, values, top, len(own))


def continuations(
    system: System, prompts: Sequence[Prompt], live: Callable[[int], bool] = lambda _: True
) -> Iterator[tuple[int, Going]]:
    """Yield (number of the prompt, how it goes on so far) after each step of writing."""
    framed = _framed(system, prompts, [p.more for p in prompts])
    ids: list[list[int]] = [[] for _ in prompts]

    def told(i: int, ended: bool) -> tuple[int, Going]:
        return i, Going(
            system.tokenizer.decode(ids[i], skip_special_tokens=True), len(ids[i]), ended, len(framed[i][1])
        )

    rooms = [p.more for p in prompts]
    for written in steps(system.model, system.tokenizer, [b + o for b, o in framed], rooms, live):
        for i, token in written:
            ids[i].append(token)
            yield told(i, False)
    for i in range(len(prompts)):
        yield told(i, len(ids[i]) < rooms[i])
