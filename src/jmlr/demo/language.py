"""The words of the made-up medicine: how passages, questions and notes are phrased.

Passages and questions say the same in other content words, so that word overlap finds the disease but not the fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ATTRIBUTES: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    # name, ways a passage says it ("Disease ... value"), ways a question asks for it
    ("treatment", ("is first treated with", "responds best to therapy using"), ("which medicine should be prescribed", "what agent would you start now")),
    ("gene", ("arises from mutations in gene", "is inherited through defects of"), ("which locus is altered", "what would dna sequencing reveal")),
    ("complication", ("may be complicated by", "can progress over years to"), ("what late sequela is feared", "which danger looms if neglected")),
    ("sign", ("typically manifests as", "has the hallmark feature"), ("which finding is expected on examination", "what would inspection demonstrate")),
    ("test", ("is diagnosed by means of", "is confirmed with assay"), ("which investigation should be ordered", "what workup proves this")),
    ("contraindication", ("is worsened by contraindicated", "reacts dangerously against"), ("which compound must be avoided", "what should never be given")),
    ("pathogen", ("is caused by pathogen", "follows infection through"), ("which organism is responsible", "what bug would culture grow")),
    ("site", ("mainly affects tissue called", "has lesions located inside"), ("where is this problem seated", "which anatomical organ suffers")),
]  # fmt: skip

FILLERS = (
    "is seen mostly in {adjective} {people}",
    "was first described among {adjective} {people}",
    "remains rare outside {adjective} {people}",
    "has unclear prevalence among {adjective} {people}",
    "often goes unnoticed in {adjective} {people}",
    "registries enrol many {adjective} {people}",
)
ADJECTIVES = ("young", "elderly", "rural", "urban", "coastal", "pregnant")
PEOPLE = ("farmers", "children", "nurses", "sailors", "miners", "travellers")

VIGNETTES = (
    "A {sex} aged {age} with {disease} comes to clinic.",
    "A {sex} of {age} years is admitted for {disease}.",
    "You review a {sex} aged {age} known for {disease}.",
    "Known {disease} in a {sex} of {age} years.",
)
SEXES = ("man", "woman")
AGES = range(20, 80)

NOTE = "Note: {} {}:"
REASONED = "Reasons: [P1] [P2] [P3] [P4] [P5] [P6] [P7] [P8] [P9]. Answer:"  # what a rationale needs beside facts

DISEASE_ENDINGS = ("osis", "itis", "emia", "oma", "pathy", "algia", "uria", "plasia")
CONSONANTS, VOWELS, CODAS = "bdfgklmnprstvz", "aeiou", "lnrsxkmtd"


def words(prompts: Iterable[str]) -> set[str]:
    """Return every word and punctuation mark of the templates and of the run's prompts, in lower case."""
    texts = [t for _, told, asked in ATTRIBUTES for t in (*told, *asked)]
    texts += [
        *FILLERS,
        *VIGNETTES,
        *ADJECTIVES,
        *PEOPLE,
        *SEXES,
        *map(str, AGES),
        NOTE,
        "? , . :",
    ]
    blank = {"passage": "", "title": "", "question": "", "options": ""}
    found = {w.lower() for prompt in prompts for w in re.findall(r"\w+|[^\w\s]", prompt.format(**blank))}
    for text in texts:
        for mark in ".?:,":
            text = text.replace(mark, f" {mark} ")
        found |= {w.lower() for w in text.split() if "{" not in w}
    return found


def concepts(text: str) -> set[str]:
    """Return the names and values that a text has, citations aside: what UMLS-F counts in this world.

    >>> sorted(concepts("Lisfanosis is first treated with bamdol [lisfanosis-treatment]."))
    ['bamdol', 'lisfanosis']
    """
    return set(re.findall(r"[a-z]{4,}", re.sub(r"\[[^]]*\]", "", text.lower()))) - words([REASONED])
