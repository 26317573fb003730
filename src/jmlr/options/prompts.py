"""The prompts of a run: one source for reading, answering, training and the practice documents of a language model."""

from __future__ import annotations

from string import Formatter

from pydantic import ValidationInfo, field_validator

from jmlr.options.base import Closed, option

# prompt -> its fields: the first must be there, the others may be
FIELDS = {"passage_prompt": ("passage", "title"), "question_prompt": ("question", "options")}


class PromptOptions(Closed):
    """How passages and a question stand in a prompt: shared by train, answer and the documents that a model practises on."""

    passage_prompt: str = option("Reference: {passage}\n", "introduces one passage; '{title}' may be used")
    question_prompt: str = option(
        "Question: {question}\n{options}\n", "the question; '{options}' may be used: 'A. ...' lines"
    )
    answer_prompt: str = option("Answer:", "the last words before the answer")

    @field_validator(*FIELDS)
    @classmethod
    def _is_filled(cls, prompt: str, info: ValidationInfo) -> str:
        names = FIELDS[str(info.field_name)]
        allowed = f"allowed: {', '.join(f'{{{n}}}' for n in names)}; a brace of the text itself is written twice, {{{{ or }}}}"
        try:
            parts = [(name, form, change) for _, name, form, change in Formatter().parse(prompt) if name is not None]
        except ValueError as error:
            raise ValueError(f"{prompt!r}: {error}; {allowed}") from None
        for name, form, change in parts:
            if name not in names or form or change:
                field = name + (f"!{change}" if change else "") + (f":{form}" if form else "")
                raise ValueError(f"{prompt!r}: '{{{field}}}' is no field; {allowed}")
        if names[0] not in {name for name, _, _ in parts}:
            raise ValueError(f"{prompt!r}: it leaves out the {names[0]}; {allowed}")
        return prompt

    @field_validator("answer_prompt")
    @classmethod
    def _is_not_filled(cls, prompt: str) -> str:
        return unfilled(prompt)


DEFAULT_PROMPTS = PromptOptions()
RATIONALE_PROMPT = (
    "Think step by step. Cite each passage that you rely on by its number, as [P1]. "
    "End with a line of its own: 'Answer:' and the correct option.\nReasoning:"
)


def fields_of(prompt: str) -> list[str]:
    """Return the names of a prompt's fields.

    >>> fields_of("{question} {{x}}")
    ['question']
    """
    return [name for _, name, _, _ in Formatter().parse(prompt) if name is not None]


def unfilled(prompt: str) -> str:
    """Return a prompt that is taken as it stands; raise ValueError where it has a field of one that is filled in."""
    for field in (f"{{{n}}}" for names in FIELDS.values() for n in names):
        if field in prompt:
            raise ValueError(f"{prompt!r}: '{field}' is not filled in here; put it into {' or '.join(FIELDS)}")
    return prompt
