"""Sentences of running text, and passages cut where sentences end.

>>> cut("One two three. Four five. Six seven eight.", words=5, overlap=2)
['One two three. Four five.', 'Four five. Six seven eight.']
"""

from __future__ import annotations

import re

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


def cut(text: str, words: int, overlap: int = 0) -> list[str]:
    """Cut a text at sentence ends into pieces of at most `words` words; a text that is short enough stays as it is.

    A piece begins with the last whole sentences of the piece before, `overlap` words of them at most. A sentence longer
    than `words` is cut within.
    """
    if len(text.split()) <= words:
        return [text]
    parts = [part for s in sentences(text) for part in _short_enough(s.split(), words)]
    pieces: list[list[list[str]]] = []
    piece: list[list[str]] = []
    for part in parts:
        if piece and _length(piece) + len(part) > words:
            pieces.append(piece)
            piece = _tail(piece, min(overlap, words - len(part)))
        piece = [*piece, part]
    pieces.append(piece)
    return [" ".join(word for part in piece for word in part) for piece in pieces]


def _short_enough(sentence: list[str], words: int) -> list[list[str]]:
    return [sentence[i : i + words] for i in range(0, len(sentence), words)]


def _length(parts: list[list[str]]) -> int:
    return sum(map(len, parts))


def _tail(piece: list[list[str]], room: int) -> list[list[str]]:
    """Return the last sentences that fit in `room` words, but never the whole piece."""
    kept: list[list[str]] = []
    for part in reversed(piece[1:]):
        if _length(kept) + len(part) > room:
            break
        kept.insert(0, part)
    return kept
