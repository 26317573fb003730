"""How passages, a question and an answer become the tokens that a language model reads (METHOD: "Prompt").

    [bos] passage_K ... passage_1 question "Answer:" | answer [eos]

Each part is tokenised by itself, so that parts can be cut, reordered and shared without changing each other's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    cut: dict[str, int] = field(
        default_factory=lambda: {"passages": 0, "questions": 0, "answers": 0, "dropped_passages": 0}
    )

    def __post_init__(self) -> None:
        fixed = self.llm_answer_tokens + len(self._ids(self.answer_prompt)) + (self.tokenizer.bos_token_id is not None)
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

    def question(self, question: str, options: Sequence[str]) -> list[int]:
        """Return the tokens of the question and of the words before the answer; a long question keeps its end."""
        ids = self._ids(self.question_prompt.format(question=question, options=option_lines(options)))
        self.cut["questions"] += len(ids) > self.llm_question_tokens
        return ids[-self.llm_question_tokens :] + self._ids(self.answer_prompt)

    def answer(self, index: int, options: Sequence[str], text: str = "") -> list[int]:
        """Return the tokens of one answer with the end-of-text token; `index` -1 answers with `text`."""
        if index < 0 or self.answer_form == "text":
            words = text if index < 0 else options[index]
        else:
            words = LETTERS[index] if self.answer_form == "letter" else f"{LETTERS[index]}. {options[index]}"
        ids = self._ids(" " + words.strip())
        self.cut["answers"] += len(ids) > self.llm_answer_tokens - 1
        return [*ids[: self.llm_answer_tokens - 1], self.tokenizer.eos_token_id]

    def prompt(self, question: list[int], passages: Sequence[Sequence[int]] = (), room: int = 0) -> list[int]:
        """Join the parts, passages in the given order (the last stands next to the question).

        `room` tokens are kept free for the answer. Where all is longer than `llm_tokens`, the passages farthest from the
        question are dropped first; a question that alone is too long loses its beginning.
        """
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        left = self.llm_tokens - len(bos) - room - len(question)
        kept: list[Sequence[int]] = []
        for ids in reversed(passages):
            left -= len(ids)
            if left < 0:
                break
            kept.insert(0, ids)
        self.cut["dropped_passages"] += len(passages) - len(kept)
        return bos + [t for ids in kept for t in ids] + question[-(self.llm_tokens - len(bos) - room) :]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
