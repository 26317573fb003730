"""Can joint training work? The LLM's mean loss of the answer with the answer's passage before it, and with another one.

The retriever learns from differences between the LLM's losses. If the answer is no likelier with its passage in the prompt than with
some other passage, these differences are noise, and no GPU hour will fix it; so it is measured before training.

    found = check_reading(llm, passages, questions, seed=0, answer_tokens=16, forward_tokens=16_384, precision="float32")
    print(found)            # reading check: loss 0.84 nats with the answer's passage, 2.31 without (64 questions): 1.47 less, standard error 0.11
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import nn

from jmlr.inference.passage_losses import passage_losses
from jmlr.inference.questions import Passages, Question
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import say, warn
from jmlr.runtime.seeds import python_random

QUESTIONS = 64
SHORTEST = 4  # letters; shorter answers stand in too many passages by chance


@dataclass(frozen=True)
class ReadingCheck:
    """What the check found. Losses are means over questions, in nats per answer token."""

    questions: int
    present: float
    absent: float
    standard_error: float

    @property
    def works(self) -> bool:
        """Whether the answer's passage lowers the loss by at least two standard errors."""
        return self.absent - self.present > 2 * self.standard_error

    def __str__(self) -> str:
        gain = self.absent - self.present
        return (
            f"reading check: loss {self.present:.3f} nats with the answer's passage, {self.absent:.3f} with another "
            f"({self.questions} questions): {abs(gain):.3f} {'less' if gain >= 0 else 'more'}, standard error {self.standard_error:.3f}"
        )


def check_reading(
    llm: nn.Module,
    passages: Passages,
    questions: Sequence[Question],
    *,
    seed: int,
    answer_tokens: int,
    forward_tokens: int,
    precision: Precision,
    most: int = QUESTIONS,
) -> ReadingCheck | None:
    """Measure the loss of up to `most` answers twice: with a passage that holds the answer, and with one of their candidates that does not.

    The passage that holds the answer is one in which its words stand, a gold one where one of these does. Only where words tell of
    fewer than two questions, a gold passage counts as it is: a whole section may be gold, and most of its passages hold no
    answer. Gold is used for this figure alone, never for training.

    Returns:
        None where fewer than two questions have both kinds of passage.
    """
    order = list(questions)
    python_random(seed, "judge").shuffle(order)
    pairs = _pairs(order, passages, by_words, most)
    if len(pairs) < 2:
        pairs = _pairs(order, passages, by_gold, most)
    if len(pairs) < 2:
        return None
    losses = []
    for i in range(0, len(pairs), 16):
        part = pairs[i : i + 16]
        columns = torch.arange(2).expand(len(part), 2)
        found = passage_losses(
            llm,
            passages,
            part,
            columns,
            answer_tokens=answer_tokens,
            forward_tokens=forward_tokens,
            precision=precision,
        )
        losses.append(found.cpu())
    present, absent = torch.cat(losses).double().unbind(1)
    gaps = (absent - present).tolist()
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    return ReadingCheck(len(gaps), present.mean().item(), absent.mean().item(), error)


def _pairs(
    questions: Sequence[Question],
    passages: Passages,
    find: Callable[[Question, Passages], tuple[int, int] | None],
    most: int,
) -> list[Question]:
    """Return up to `most` questions that both kinds of passage were found for, with these two as their candidates."""
    found = (question_on(q, pair) for q in questions if (pair := find(q, passages)) is not None)
    return list(islice(found, most))


def by_words(question: Question, passages: Passages) -> tuple[int, int] | None:
    """Return the rows of a passage that holds the answer's words, gold if possible, and of a candidate that is neither gold nor holds
    them; None where either is missing."""
    words = answer_pattern(question.answer_text)
    if words is None:
        return None
    rows = [*sorted(question.gold), *question.candidates]
    pairs = zip(rows, passages.titles_and_texts(rows), strict=True)
    holds = {row: bool(words.search(" ".join(pair))) for row, pair in pairs}
    present = next((row for row in rows if holds[row]), -1)
    others = [row for row in question.candidates if not holds[row] and row not in question.gold]
    return (present, others[len(others) // 2]) if present >= 0 and others else None


def by_gold(question: Question, _: Passages) -> tuple[int, int] | None:
    """Return the rows of a gold passage and of a candidate that is not; None where either is missing."""
    others = [row for row in question.candidates if row not in question.gold]
    return (min(question.gold), others[len(others) // 2]) if question.gold and others else None


def answer_pattern(answer: str) -> re.Pattern[str] | None:
    """Return what finds an answer's words in a passage, whatever their case; None for an answer too short to tell."""
    words = re.findall(r"\w+", answer)
    if sum(map(len, words)) < SHORTEST:
        return None
    return re.compile(r"\b" + r"\W+".join(map(re.escape, words)) + r"\b", re.IGNORECASE)


def question_on(question: Question, pair: tuple[int, int]) -> Question:
    """Return a question whose only candidates are the two passages."""
    return replace(question, candidates=list(pair), scores=[0.0, 0.0])


def report(found: ReadingCheck | None, name: str) -> None:
    """Say what was found, and warn where joint training cannot work."""
    if found is None:
        say(
            f"{name}: reading check: no questions with a passage that holds their answer; whether the LLM reads cannot be told"
        )
        return
    say(f"{name}: {found}")
    if not found.works:
        warn(
            name,
            "the answer is hardly likelier with its passage than with another, so the LLM has nothing to teach the "
            "retriever; train it to read first (pretrain, or rank_after_steps), or take a larger one",
        )
