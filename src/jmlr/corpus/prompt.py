"""How passages, a question and an answer become the tokens that a language model reads (METHOD: "Prompt").

    [bos] passage_K ... passage_1 question "Answer:" | answer [eos]

Each part is tokenised by itself, so that parts can be cut, reordered and shared without changing each other's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jmlr.runtime.errors import UserError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def option_lines(options: Sequence[str]) -> str:
    """Return the options as lines 'A. text'."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))


@dataclass
class Prompter:
    """Turns texts into token ids for one tokenizer; counts what it had to cut in `cut`.

    Example: `Prompter(tokenizer, passage_prompt="Reference: {passage}\\n", ...)`; fields as in `ReadingOptions`.
    """

    tokenizer: Any
    passage_prompt: str
    question_prompt: str
    answer_prompt: str
    answer_form: str
    llm_passage_tokens: int
    llm_question_tokens: int
    llm_answer_tokens: int
    llm_tokens: int
    chat: bool = False
    cut: dict[str, int] = field(
        default_factory=lambda: {"passages": 0, "questions": 0, "answers": 0, "dropped_passages": 0}
    )

    def __post_init__(self) -> None:
        self.before, self.after = frame(self.tokenizer, self.chat)
        fixed = self.llm_answer_tokens + len(self._ids(self.answer_prompt)) + len(self.before) + len(self.after)
        if self.llm_tokens <= fixed:
            raise UserError(
                f"llm_tokens {self.llm_tokens} leaves no room for a question; answer_prompt and "
                f"llm_answer_tokens {self.llm_answer_tokens} alone take {fixed}"
            )

    def passage(self, title: str, text: str) -> list[int]:
        """Return the tokens that introduce one passage, at most `llm_passage_tokens`."""
        ids = self._ids(self.passage_prompt.format(passage=text, title=title))
        self.cut["passages"] += len(ids) > self.llm_passage_tokens
        return ids[: self.llm_passage_tokens]

    def passages(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Return the same of many passages, each (title, text): one call of the tokenizer."""
        texts = [self.passage_prompt.format(passage=text, title=title) for title, text in pairs]
        rows = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        self.cut["passages"] += sum(len(ids) > self.llm_passage_tokens for ids in rows)
        return [ids[: self.llm_passage_tokens] for ids in rows]

    def numbered(self, number: int, passage: Sequence[int]) -> list[int]:
        """Return a passage's tokens behind its number, by which a rationale can cite it."""
        return [*self._ids(f"[P{number}] "), *passage]

    def question(self, question: str, options: Sequence[str], last_words: str | None = None) -> list[int]:
        """Return the tokens of the question and of the words before the answer (`answer_prompt`, or what is given instead).

        A long question keeps its end.
        """
        ids = self._ids(self.question_prompt.format(question=question, options=option_lines(options)))
        self.cut["questions"] += len(ids) > self.llm_question_tokens
        last = self.answer_prompt if last_words is None else last_words
        return ids[-self.llm_question_tokens :] + self._ids(last)

    def answer(self, index: int, options: Sequence[str], text: str = "") -> list[int]:
        """Return the tokens of one answer with the end-of-text token; `index` -1 answers with `text`."""
        if index < 0 or self.answer_form == "text":
            words = text if index < 0 else options[index]
        else:
            words = LETTERS[index] if self.answer_form == "letter" else f"{LETTERS[index]}. {options[index]}"
        ids = self._ids(("" if self.chat else " ") + words.strip())  # a turn begins without a blank
        self.cut["answers"] += len(ids) > self.llm_answer_tokens - 1
        return [*ids[: self.llm_answer_tokens - 1], self.tokenizer.eos_token_id]

    def prompt(self, question: list[int], passages: Sequence[Sequence[int]] = (), room: int = 0) -> list[int]:
        """Join the parts, passages in the given order (the last stands next to the question).

        `room` tokens are kept free for the answer. Where all is longer than `llm_tokens`, the passages farthest from the
        question are dropped first; a question that alone is too long loses its beginning.
        """
        space = self.llm_tokens - len(self.before) - len(self.after) - room
        if space < 1:
            raise UserError(
                f"llm_tokens: {self.llm_tokens} leaves no room for a question beside {room} tokens of answer"
            )
        kept = self.fitting(question, passages, room)
        self.cut["dropped_passages"] += len(passages) - kept
        read = [t for ids in passages[len(passages) - kept :] for t in ids]
        return self.before + read + question[-space:] + self.after

    def fitting(self, question: Sequence[int], passages: Sequence[Sequence[int]], room: int = 0) -> int:
        """Return how many of the passages, from the last backwards, `prompt` has room for."""
        left = self.llm_tokens - len(self.before) - len(self.after) - room - len(question)
        for kept, ids in enumerate(reversed(passages)):
            left -= len(ids)
            if left < 0:
                return kept
        return len(passages)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []


def frame(tokenizer: Any, chat: bool) -> tuple[list[int], list[int]]:
    """Return the tokens before and after a prompt: [bos] alone, or what the chat template puts around a message of the user."""
    if not chat:
        return ([] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]), []
    if not getattr(tokenizer, "chat_template", None):
        raise UserError("chat: the model's tokenizer has no chat template; say false")
    mark = "<message>"
    turn = [{"role": "user", "content": mark}]
    before, _, after = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)).partition(
        mark
    )
    ids = [tokenizer(part, add_special_tokens=False)["input_ids"] if part else [] for part in (before, after)]
    return ids[0], ids[1]


def chat_message(
    reading: Mapping[str, Any],
    question: str,
    options: Sequence[str],
    passages: Sequence[tuple[str, str]],
    last_words: str,
    numbered: bool,
) -> str:
    """Return the same prompt as one message for an endpoint, uncut: titles and texts of the passages, best first.

    As for a local model the best passage stands last, next to the question; `numbered` puts [P1] before the best, [P2] before
    the next one, and so on. `reading` has the fields of `ReadingOptions`.
    """
    parts: list[str] = []
    for number, (title, text) in enumerate(passages, 1):
        tag = f"[P{number}] " if numbered else ""
        parts.insert(0, tag + reading["passage_prompt"].format(passage=text, title=title))
    asked = reading["question_prompt"].format(question=question, options=option_lines(options))
    return "".join(parts) + asked + last_words
