"""How passages, a question and an answer become the tokens that a language model reads (docs/llm_rank.md, steps 5 and 7).

    [bos] passage_K ... passage_1 question "Answer:" | answer [eos]

Passages and the question are tokenised by themselves, so that they can be cut, reordered and shared without changing each other's
tokens. What always follows another text (the last words, the answer, the end of a chat turn) has the tokens that it has in the
joined text: to some tokenizers " B" alone is another thing than " B" behind "Answer:".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jmlr.runtime.errors import UserError

THINK = "<think>"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def option_lines(options: Sequence[str]) -> str:
    """Return the options as lines 'A. text'."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))


def passage_text(title: str, text: str) -> str:
    """Return what a retriever reads of a passage."""
    return f"{title}. {text}" if title else text


def query_text(question: str, options: Sequence[str], with_options: bool) -> str:
    """Return what a retriever reads of a question."""
    return f"{question}\n{option_lines(options)}" if with_options and options else question


def query_words(question: str, options: Sequence[str], with_options: bool) -> str:
    """Return the same for a retriever of words, to which the options' letters would be words too."""
    return "\n".join([question, *options]) if with_options else question


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
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    cut: dict[str, int] = field(
        default_factory=lambda: {"passages": 0, "questions": 0, "answers": 0, "dropped_passages": 0}
    )

    def __post_init__(self) -> None:
        self.frame = frame(self.tokenizer, self.chat, self.chat_template_kwargs)
        self.before, self.after = self.frame.before, self.frame.after
        asked = self.question_prompt.format(question="", options="")
        # a turn of a chat begins without a blank
        self._before_answer, self._gap = (self.frame.turn, "") if self.chat else parted(asked + self.answer_prompt)
        fixed = (
            self.llm_answer_tokens
            + len(continued(self.tokenizer, "", self.answer_prompt))
            + len(self.before)
            + len(self.after)
        )
        if self.llm_tokens <= fixed:
            raise UserError(
                f"llm_tokens {self.llm_tokens} leaves no room for a question; answer_prompt and "
                f"llm_answer_tokens {self.llm_answer_tokens} alone take {fixed}"
            )

    def passage(self, title: str, text: str) -> list[int]:
        """Return the tokens that introduce one passage, at most `llm_passage_tokens`."""
        return self.passages([(title, text)])[0]

    def passages(self, pairs: Sequence[tuple[str, str]], *, numbered: bool = False) -> list[list[int]]:
        """Return the same of many passages, each (title, text): one call of the tokenizer.

        numbered: each stands behind its number, [P1] for the first, by which a rationale can cite it.
        """
        texts = [self.passage_prompt.format(passage=text, title=title) for title, text in pairs]
        texts = [f"[P{number}] {text}" for number, text in enumerate(texts, 1)] if numbered else texts
        rows = self.frame.inside(texts)
        self.cut["passages"] += sum(len(ids) > self.llm_passage_tokens for ids in rows)
        return [ids[: self.llm_passage_tokens] for ids in rows]

    def question(self, question: str, options: Sequence[str], last_words: str | None = None) -> list[int]:
        """Return the tokens of the question and of the words before the answer (`answer_prompt`, or what is given instead).

        A long question keeps its end.
        """
        asked = self.question_prompt.format(question=question, options=option_lines(options))
        [ids] = self.frame.inside([asked])
        self.cut["questions"] += len(ids) > self.llm_question_tokens
        last, _ = parted(self.answer_prompt if last_words is None else last_words)
        return ids[-self.llm_question_tokens :] + continued(self.tokenizer, asked, last)

    def answer(self, index: int, options: Sequence[str], text: str = "") -> list[int]:
        """Return the tokens of one answer with the end-of-text token; `index` -1 answers with `text`."""
        ids = continued(self.tokenizer, self._before_answer, self._gap + self.words(index, options, text))
        self.cut["answers"] += len(ids) > self.llm_answer_tokens - 1
        return [*ids[: self.llm_answer_tokens - 1], self.tokenizer.eos_token_id]

    def reasoned(
        self, explanation: str, index: int, options: Sequence[str], text: str, last_words: str, most: int
    ) -> list[int]:
        """Return the tokens of a rationale behind `last_words`, of a line "Answer:" with the answer, and of the end of text.

        explanation: of which at most `most` tokens are kept, and the rest counted as a cut answer. The answer stays whole.
        """
        before, gap = (self.frame.turn, "") if self.chat else parted(last_words)
        thought = gap + explanation.strip()
        ids = continued(self.tokenizer, before, thought)
        self.cut["answers"] += len(ids) > most
        end = continued(self.tokenizer, before + thought, f"\nAnswer: {self.words(index, options, text)}")
        return [*ids[:most], *end, self.tokenizer.eos_token_id]

    def words(self, index: int, options: Sequence[str], text: str = "") -> str:
        """Return the words of one answer; `index` -1 answers with `text`."""
        if index < 0 or self.answer_form == "text":
            return (text if index < 0 else options[index]).strip()
        return (LETTERS[index] if self.answer_form == "letter" else f"{LETTERS[index]}. {options[index]}").strip()

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


def continued(tokenizer: Any, before: str, text: str) -> list[int]:
    """Return the tokens that `text` has behind `before`; those it has alone where a token would span the border."""
    return continuations(tokenizer, before, [text])[0]


def continuations(tokenizer: Any, before: str, texts: Sequence[str]) -> list[list[int]]:
    """Return the same of many texts behind the same one: one call of the tokenizer, mostly."""

    def tokens(texts: Sequence[str]) -> list[list[int]]:
        return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []

    first, *rows = tokens([before, *(before + text for text in texts)]) if before else [[], *tokens(texts)]
    rows = [row if row[: len(first)] == first else first + tokens([t])[0] for row, t in zip(rows, texts, strict=True)]
    return [row[len(first) :] for row in rows]


@dataclass(frozen=True)
class Frame:
    """What stands around a prompt: [bos] alone, or what the chat template puts around a message of the user.

    Attributes:
        tokenizer: whose tokens these are.
        lead: the text before the message; "" without a template.
        turn: the text behind it, with which the model's turn begins; "" without a template.
        before: the tokens of `lead`, or [bos].
        after: the tokens of `turn`.
    """

    tokenizer: Any
    lead: str
    turn: str
    before: list[int]
    after: list[int]

    @property
    def opening(self) -> str:
        """What the model's turn begins with that is part of its reply: '<think>', or nothing."""
        return THINK if self.turn.rstrip().endswith(THINK) else ""

    def inside(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens that texts have at the beginning of a message."""
        return continuations(self.tokenizer, self.lead, texts)


def frame(tokenizer: Any, chat: bool, arguments: Mapping[str, Any] | None = None) -> Frame:
    """Return what stands around a prompt; `arguments`: what else a chat template is told. Raises as `chat_frame` does."""
    if not chat:
        return Frame(tokenizer, "", "", [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id], [])
    lead, turn = chat_frame(tokenizer, arguments or {})
    word = "Question"
    first, whole = continued(tokenizer, lead, word), continued(tokenizer, "", lead + word)
    # A blank at the end of the lead may be part of the first word's token; then it must not stand there a second time.
    ends = whole[-len(first) :] == first
    begin = whole[: -len(first)] if ends else continued(tokenizer, "", lead)
    return Frame(tokenizer, lead, turn, begin, continued(tokenizer, word, turn))


def chat_frame(tokenizer: Any, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return the texts that a chat template puts before and after a message of the user; after it begins the model's turn.

    Args:
        tokenizer: one with a chat template.
        arguments: what else the template is told, e.g. enable_thinking: false.

    Raises:
        UserError: there is no template, it does not know an argument, fails, or leaves the message out.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise UserError("chat: the model's tokenizer has no chat template; say false")
    template = str(tokenizer.get_chat_template())
    for name in arguments:
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise UserError(f"chat_template_kwargs: '{name}' does not occur in the model's chat template")
    mark, reason = "the-message-stands-here", "it leaves the message out, or says it twice"
    for content in (mark, [{"type": "text", "text": mark}]):  # some templates want a message in parts
        turn = [{"role": "user", "content": content}]
        try:
            text = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **arguments))
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            continue
        if text.count(mark) == 1:
            before, _, after = text.partition(mark)
            return before, after
    raise UserError(f"chat: the model's chat template cannot be used for one message of the user: {reason}")


def parted(words: str) -> tuple[str, str]:
    """Return the words before an answer without the blanks at their end, and what stands between them and the answer.

    Blanks belong to the answer's first token, in training and in all text that models have seen.

    >>> parted("Answer:"), parted("Answer: "), parted("Answer:\\n")
    (('Answer:', ' '), ('Answer:', ' '), ('Answer:\\n', ''))
    """
    bare = words.rstrip(" \t")
    return bare, words[len(bare) :] or ("" if bare.endswith("\n") else " ")


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
