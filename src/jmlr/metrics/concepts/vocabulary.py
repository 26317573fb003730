"""What counts as a medical concept in a text: a vocabulary of our own by default, UMLS where it is licensed.

An extractor is a function text -> concept ids. The open vocabulary knows `medical_terms.txt` (common terms with synonyms)
and, through `extra`, the terms that a run brings with it: titles of its passages, answers of its glossary questions.

    find = vocabulary(committed_terms())
    find("Heart attacks and fevers.")            # {"myocardial infarction", "fever"}
    find = extractor("my_umls:concepts")         # your function, on your Python path; docs/metrics.md has one for QuickUMLS
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from jmlr.runtime.functions import function_of

Extractor = Callable[[str], Iterable[str]]
TERMS = Path(__file__).with_name("medical_terms.txt")
WORD = re.compile(r"[^\W_]+")
MOST_WORDS = 5


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case, a plural's -s taken off."""
    return [_singular(w) for w in WORD.findall(text.lower())]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def vocabulary(terms: Mapping[str, str]) -> Extractor:
    """Return an extractor that finds the longest known terms from left to right.

    Args:
        terms: term -> concept; several terms may mean one concept
    """
    known = {key: concept for term, concept in terms.items() if 0 < len(key := tuple(tokens(term))) <= MOST_WORDS}

    def find(text: str) -> set[str]:
        words, found, place = tokens(text), set(), 0
        while place < len(words):
            for size in range(min(MOST_WORDS, len(words) - place), 0, -1):
                concept = known.get(tuple(words[place : place + size]))
                if concept is not None:
                    found.add(concept)
                    place += size - 1
                    break
            place += 1
        return found

    return find


def committed_terms() -> dict[str, str]:
    """Return the terms of `medical_terms.txt`: term -> concept."""
    found: dict[str, str] = {}
    for line in TERMS.read_text(encoding="utf-8").splitlines():
        names = [n.strip() for n in line.split("#")[0].split("=") if n.strip()]
        found.update(dict.fromkeys(names, names[0] if names else ""))
    return found


def extra(terms: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """Return those of a run's own terms that occur in the texts, each a concept of its own name.

    `terms` is read as a stream, so a corpus of any size may offer its titles: what is kept is bounded by the texts.
    A single word of fewer than four letters is no term.
    """
    runs = {
        tuple(words[i : i + size])
        for words in map(tokens, texts)
        for size in range(1, MOST_WORDS + 1)
        for i in range(len(words) - size + 1)
    }
    found = {}
    for term in terms:
        key = tuple(tokens(term))
        if key in runs and (len(key) > 1 or len(key[0]) > 3):
            found[term] = " ".join(key)
    return found


def extractor(name: str) -> Extractor:
    """Return the extractor `module:function`, from the Python path.

    Raises:
        UserError: there is no such module or function, or it is not a function.
    """
    return function_of(name, "concepts", "a function text -> concepts, or empty: the open vocabulary")
