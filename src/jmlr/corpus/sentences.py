"""Sentences of running text, and passages cut where sentences end.

>>> cut("One two three. Four five. Six seven eight.", most=5, overlap=2)
['One two three. Four five.', 'Four five. Six seven eight.']
"""

from __future__ import annotations

import re
from collections.abc import Callable

Measure = Callable[[list[str]], list[int]]
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
# a full stop, then a blank, then what can begin a sentence; so does a bullet of a list
_BORDER = re.compile(r"(?<=[.!?])[\"”’)\]]*\s+(?=[\"“‘(\[]*[A-Z0-9À-Þ])|\s+(?=• |- [A-Z])")
_NO_END = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|e\.g|i\.e|cf|vs|al|etc|ca|approx|[Ff]igs?|[Tt]ab|[Ee]qs?|[Nn]os?|[Dd]r|[Pp]rof|Mr|Mrs|Ms|St|spp?|var|subsp|U\.S)\.$"
)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; joined by single blanks they are the text with its blanks made single."""
    found: list[str] = []
    begin = 0
    for border in _BORDER.finditer(text):
        if not _NO_END.search(text[max(begin, border.start() - 12) : border.start()]):
            found.append(" ".join(text[begin : border.end()].split()))
            begin = border.end()
    found.append(" ".join(text[begin:].split()))
    return [s for s in found if s]


def words_in(texts: list[str]) -> list[int]:
    """Return the number of words of each text: the measure of length where there is no tokenizer."""
    return [len(t.split()) for t in texts]


def cut(text: str, most: int, overlap: int = 0, length: Measure = words_in) -> list[str]:
    """Cut a text at sentence ends into pieces of at most `most` words; a text that is short enough stays as it is.

    A piece begins with the last whole sentences of the piece before, `overlap` words of them at most. A sentence longer
    than `most` is cut within; a blank line is a border, too.

    Args:
        text: the text
        most: the limit, in what `length` counts
        overlap: the same of the repeated part; less than `most`
        length: how long texts are; a piece is as long as its sentences together
    """
    if length([text])[0] <= most:
        return [text]
    found = [s for paragraph in _PARAGRAPH.split(text) for s in sentences(paragraph)]
    parts = [p for s, n in zip(found, length(found), strict=True) for p in _short_enough(s, n, most, length)]
    pieces: list[list[tuple[str, int]]] = []
    piece: list[tuple[str, int]] = []
    for part in parts:
        if piece and _length(piece) + part[1] > most:
            pieces.append(piece)
            piece = _tail(piece, min(overlap, most - part[1]))
        piece = [*piece, part]
    pieces.append(piece)
    return [" ".join(text for text, _ in piece) for piece in pieces]


def _short_enough(sentence: str, size: int, most: int, length: Measure) -> list[tuple[str, int]]:
    """Return a sentence with its length, or the parts of one that is too long, as many words in each as fit."""
    if size <= most:
        return [(sentence, size)]
    parts: list[tuple[list[str], int]] = [([], 0)]
    words = sentence.split()
    for word, n in zip(words, length(words), strict=True):
        if parts[-1][0] and parts[-1][1] + n > most:
            parts.append(([], 0))
        parts[-1] = ([*parts[-1][0], word], parts[-1][1] + n)
    return [(" ".join(words), n) for words, n in parts]


def _length(parts: list[tuple[str, int]]) -> int:
    return sum(n for _, n in parts)


def _tail(piece: list[tuple[str, int]], room: int) -> list[tuple[str, int]]:
    """Return the last sentences that fit in `room`, but never the whole piece."""
    kept: list[tuple[str, int]] = []
    for part in reversed(piece[1:]):
        if _length(kept) + part[1] > room:
            break
        kept.insert(0, part)
    return kept
