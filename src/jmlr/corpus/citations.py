"""Which passages a rationale cites: "[P2]" names the second of its prompt. `answer` and the metrics read them by this alone.

>>> cited("Fever after travel [P2]; a film confirms it [P2, P4], but not everybody has one [see P6-P8, p. 3].")
(2, 4, 6, 7, 8)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

BRACKET = re.compile(r"\[([^\[\]]*)\]")
RUN = re.compile(r"\bP\d{1,6}\b(?:\s*[,;\u2013-]\s*P?\d{1,6}\b)*", re.I)  # [P1], [P1, 3], [P1-P3]
PART = re.compile(r"(\d+)(?:\s*[\u2013-]\s*P?(\d+))?", re.I)
LONGEST_RANGE = 100  # no prompt holds as many passages: beyond it the two ends alone are cited


def cited(text: str) -> tuple[int, ...]:
    """Return the numbers (from 1) of the passages that a text cites, each once, in the order of their first mention."""
    found: list[int] = []
    for part in (p for inside in BRACKET.findall(text) for run in RUN.findall(inside) for p in PART.findall(run)):
        first, last = int(part[0]), int(part[1] or part[0])
        found += range(first, last + 1) if first <= last < first + LONGEST_RANGE else (first, last)
    return tuple(dict.fromkeys(found))


def numbered(text: str, ids: Collection[str], numbers: Mapping[str, int]) -> str:
    """Return a text with the number of a passage in place of its id in brackets; an id without a number goes, with its bracket.

    Args:
        text: an explanation; brackets with anything but one of `ids` stay as they are.
        ids: of the passages that it may cite.
        numbers: id -> number (from 1) of those that are read.

    >>> numbered("Fever [malaria-1], and a rash [zika-2] [sic].", {"malaria-1", "zika-2"}, {"malaria-1": 3})
    'Fever [P3], and a rash [sic].'
    """

    def tag(found: re.Match[str]) -> str:
        blank, id = found.groups()
        if id not in ids:
            return found[0]
        return f"{blank}[P{numbers[id]}]" if id in numbers else ""

    return re.sub(r"(\s*)\[([^\[\]]*)\]", tag, text).strip()
