"""Open questions as multiple choice: wrong options are the right answers of other questions about the same section.

    questions, open = multiple_choice(questions, wrong=3, seed=0)

A definition asks for its term: terms of its own module are plausible, and nobody has to invent any. What is drawn depends on the seed
and the question's id alone, so questions that are added elsewhere change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jmlr.corpus.seen import normalised
from jmlr.runtime.seeds import python_random

Row = dict[str, Any]


def multiple_choice(questions: Sequence[Row], wrong: int, seed: int) -> tuple[list[Row], int]:
    """Give every open question with an answer `wrong` wrong options, and its own among them; return how many stay open, too.

    They come from the same `gold_section`, where that has too few from the same `subject`, never from elsewhere. An answer that holds
    the right one, or is held by it, word for word, is no wrong option.
    """
    sections, subjects = _answers(questions, "gold_section"), _answers(questions, "subject")
    made = [
        _choice(q, [sections.get(q["gold_section"], []), subjects.get(q["subject"], [])], wrong, seed)
        for q in questions
    ]
    return made, sum(q["answer"] < 0 and bool(q["answer_text"]) for q in made)


def _choice(question: Row, pools: Iterable[Sequence[str]], wrong: int, seed: int) -> Row:
    right = question["answer_text"]
    if question["options"] or not right:
        return question
    draw = python_random(seed, "distractors", question["dataset"], question["id"])
    chosen: list[str] = []
    for pool in pools:
        usable = [a for a in pool if not any(_alike(a, b) for b in (right, *chosen))]
        while usable and len(chosen) < wrong:
            chosen.append(draw.choice(usable))
            usable = [a for a in usable if not _alike(a, chosen[-1])]
    if len(chosen) < wrong:
        return question
    options = [right, *chosen]
    draw.shuffle(options)
    return {**question, "options": options, "answer": options.index(right)}


def _answers(questions: Iterable[Row], field: str) -> dict[str, list[str]]:
    """Return the answers of open questions by what stands in a field, each once, in their order."""
    found: dict[str, dict[str, str]] = {}
    for q in questions:
        if q[field] and q["answer"] < 0 and q["answer_text"]:
            found.setdefault(q[field], {}).setdefault(normalised(q["answer_text"]), q["answer_text"])
    return {value: list(answers.values()) for value, answers in found.items()}


def _alike(one: str, other: str) -> bool:
    """Tell whether one text holds the other, word for word.

    >>> _alike("Artery", "pulmonary artery"), _alike("vein", "venous")
    (True, False)
    """
    a, b = f" {normalised(one)} ", f" {normalised(other)} "
    return a in b or b in a
