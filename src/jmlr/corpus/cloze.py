"""Reading documents made from passages alone, which teach a small model to use the passage in front of it.

    Reference: <part of a passage>                     one to three of them, in any order, one of which holds the answer
    Question: <a sentence of that passage with a gap>
    Answer: <the word of the gap>                      <- the target; the text ends with it, as in the joint step

The prompts are the run's, so that what is practised is what is read later. Without that practice an LLM's losses do not say
whether a passage helps. The word is a rare one of its sentence, so that it must be read, not guessed. Everything follows from
the seed; memory is bounded by the passages drawn from, not by the corpus.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jmlr.corpus.sentences import sentences
from jmlr.corpus.tables import stored_rows
from jmlr.runtime.errors import UserError
from jmlr.runtime.seeds import python_random

GAP = "________"
MOST_PASSAGES, MOST_DRAWN = 3, 200_000
SENTENCE_WORDS = range(6, 41)
COMMON_SHARE = 0.05
NEIGHBOUR_SHARE = 0.5
_WORD = re.compile(r"[^\W\d_][\w’'-]*\w")


@dataclass(frozen=True)
class Passage:
    """A passage as its title and sentences."""

    title: str
    sentences: list[str]


def cloze_documents(
    passages: Path, count: int, prompts: Mapping[str, str], *, seed: int, passage_words: int = 60
) -> Iterator[dict[str, Any]]:
    """Yield `count` documents from passages.parquet.

    Args:
        passages: the table
        count: how many
        prompts: `passage_prompt`, `question_prompt` and `answer_prompt`
        seed: of all draws
        passage_words: most words of a passage in a document; so much around the sentence that is asked for

    Raises:
        UserError: no passage has a sentence to ask for.
    """
    drawn = _drawn(passages, min(MOST_DRAWN, 4 * count), seed)
    frequency = Counter(word for p in drawn for word in {w.casefold() for s in p.sentences for w in _WORD.findall(s)})
    for number in range(count):
        rng = python_random(seed, "cloze", number)
        place, sentence, word = _asked(rng, drawn, frequency)
        others = [_other(rng, place, len(drawn)) for _ in range(rng.randrange(MOST_PASSAGES))]
        chosen = [(drawn[i], rng.randrange(len(drawn[i].sentences))) for i in dict.fromkeys(others) if i != place]
        chosen.insert(rng.randint(0, len(chosen)), (drawn[place], sentence))
        excerpts = [(p.title, _excerpt(p, s, passage_words)) for p, s in chosen]
        text = "".join(prompts["passage_prompt"].format(title=title, passage=part) for title, part in excerpts)
        gapped = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", GAP, drawn[place].sentences[sentence])
        text += prompts["question_prompt"].format(question=gapped, options="") + prompts["answer_prompt"]
        text += "" if text[-1:].isspace() else " "
        yield {"text": text + word, "targets": [{"start": len(text), "end": len(text) + len(word)}]}


def _drawn(path: Path, most: int, seed: int) -> list[Passage]:
    total = pq.ParquetFile(path).metadata.num_rows
    rows = None if total <= most else set(python_random(seed, "cloze", "passages").sample(range(total), most))
    stored = stored_rows(path, ["row", "title", "text"])
    found = (Passage(p["title"], sentences(p["text"])) for p in stored if rows is None or p["row"] in rows)
    return [p for p in found if p.sentences]


def _asked(rng: random.Random, drawn: Sequence[Passage], frequency: Counter[str]) -> tuple[int, int, str]:
    """Draw a passage, one of its sentences, and one of its words; the rarer, the likelier."""
    most = max(3, COMMON_SHARE * len(drawn))
    for _ in range(1000 if drawn else 0):
        place = rng.randrange(len(drawn))
        fitting = [i for i, s in enumerate(drawn[place].sentences) if len(s.split()) in SENTENCE_WORDS]
        if not fitting:
            continue
        sentence = rng.choice(fitting)
        words = [w for w in dict.fromkeys(_WORD.findall(drawn[place].sentences[sentence])) if len(w) >= 4]
        words = [w for w in words if frequency[w.casefold()] <= most]
        if words:
            weights = [math.log(1 + len(drawn) / frequency[w.casefold()]) ** 2 for w in words]
            return place, sentence, rng.choices(words, weights)[0]
    lengths = f"{SENTENCE_WORDS[0]} to {SENTENCE_WORDS[-1]}"
    raise UserError(f"cloze: no passage has a sentence of {lengths} words with a rare word to ask for")


def _other(rng: random.Random, place: int, total: int) -> int:
    """Draw another passage: often one that stands nearby, and so speaks of something like it."""
    if rng.random() < NEIGHBOUR_SHARE:
        return min(max(place + rng.choice((-2, -1, 1, 2)), 0), total - 1)
    return rng.randrange(total)


def _excerpt(passage: Passage, sentence: int, words: int) -> str:
    """Return the sentence with as many neighbours as fit; a sentence too long by itself is cut."""
    first, last = sentence, sentence + 1
    left = words - len(passage.sentences[sentence].split())
    while True:
        after = len(passage.sentences[last].split()) if last < len(passage.sentences) else words + 1
        before = len(passage.sentences[first - 1].split()) if first else words + 1
        if min(after, before) > left:
            break
        if after <= left:
            last, left = last + 1, left - after
        if before <= left:
            first, left = first - 1, left - before
    text = " ".join(passage.sentences[first:last])
    return " ".join(text.split()[:words])
