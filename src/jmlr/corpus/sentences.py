"""Sentences of running text, and passages cut where sentences end.

>>> cut("One two three. Four five. Six seven eight.", most=5, overlap=2)
['One two three. Four five.', 'Four five. Six seven eight.']
>>> sentences("体温37.5℃。给予阿司匹林！")
['体温37.5℃。', '给予阿司匹林！']

Sentences end as Unicode's rules have it (UAX #29: the marks of all scripts, a full stop only before what can begin a sentence),
but for initials and common abbreviations, of which English ones are known best. In Thai, Lao, Khmer and Burmese a blank between
words is the end of a clause, and as good a border.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import regex

from jmlr.corpus.words import between, count, one_line, spans

Measure = Callable[[list[str]], list[int]]
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
# a full stop, then a blank, then what can begin a sentence; so does a bullet of a list
_BORDER = re.compile(r"[.!?][\"”’)\]]*\s+(?=[\"“‘(\[]*[A-Z0-9À-Þ])|\s+(?=• |- [A-Z])")
_ENGLISH = (
    r"e\.g|i\.e|cf|vs|al|etc|ca|approx|[Ff]igs?|[Tt]ab|[Ee]qs?|[Nn]os?|[Dd]r|[Pp]rof|Mr|Mrs|Ms|St|spp?|var|subsp|U\.S"
)
_NO_END = re.compile(rf"(?:^|[\s(])(?:[A-Z]|{_ENGLISH})\.$")
# the same for all scripts; slower, so for texts that need it
_NEEDS_ALL = re.compile("[¡¿«»\u0100-\u03b0\u03ca-\u1fff\u2c00-\U0010ffff]")  # not the small Greek letters of English
_CLOSE, _OPEN = r"[\p{Pe}\p{Pf}\"”’]", r"[\p{Ps}\p{Pi}\"“‘¿¡]"
_SOUTH_EAST = r"\p{Line_Break=Complex_Context}"
_ALWAYS = r"[\p{Sentence_Terminal}--[.!?．]]"  # marks that do nothing but end a sentence, with or without a blank
_BORDERS = regex.compile(
    rf"""[.!?…]{_CLOSE}*\s+(?={_OPEN}*[[\p{{Lu}}\p{{Lt}}\p{{Lo}}\p{{N}}]--[ªº]])
    | {_ALWAYS}{_CLOSE}*\s*(?!{_CLOSE}|{_ALWAYS}|(?<=[」』])\p{{Script=Hiragana}})(?=\S)
    | ．(?<=[^\p{{N}}]．)\s*(?=[^\s\p{{N}}])
    | ;(?<=\p{{Script=Greek}};)\s+(?={_OPEN}*\p{{Lu}})
    | \s+(?:(?=•\ |-\ \p{{Lu}})|(?<={_SOUTH_EAST}\s+)(?={_SOUTH_EAST}))""",
    regex.V1 | regex.VERBOSE,
)
_RUSSIAN, _GREEK, _HINDI = r"гг?|рис|табл|см|стр|ст|др|проф|акад|напр|им|ул", r"εικ|πίν|βλ|π\.χ", r"डॉ|प्रो|श्री|मि\.ग्रा"
_NO_ENDS = regex.compile(rf"(?:^|[\s(])(?:\p{{Lu}}|\p{{Lo}}|{_ENGLISH}|{_RUSSIAN}|{_GREEK}|{_HINDI})\.$", regex.V1)


class _Part(NamedTuple):
    """A sentence or a part of one, its length, and what stands between it and the one before."""

    text: str
    size: int
    gap: str


def sentences(text: str) -> list[str]:
    """Return the sentences of a text with their blanks made single (`one_line`)."""
    return [sentence for sentence, _ in _split(text)]


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Yield sentences, each with the blanks of the text before it."""
    borders, no_end = (_BORDERS, _NO_ENDS) if _NEEDS_ALL.search(text) else (_BORDER, _NO_END)
    begin, gap = 0, ""
    for border in borders.finditer(text):
        end = border.start() + (not text[border.start()].isspace())  # behind the mark
        if no_end.search(text[max(begin, end - 12) : end]):
            continue
        given = text[begin : border.end()]
        if sentence := one_line(given):
            yield sentence, gap
        begin, gap = border.end(), given[len(given.rstrip()) :]
    if sentence := one_line(text[begin:]):
        yield sentence, gap


def words_in(texts: list[str]) -> list[int]:
    """Return the number of words of each text: the measure of length where there is no tokenizer."""
    return [count(t) for t in texts]


def cut(text: str, most: int, overlap: int = 0, length: Measure = words_in) -> list[str]:
    """Cut a text at sentence ends into pieces of at most `most` words; a text that is short enough stays as it is.

    A piece begins with the last whole sentences of the piece before, `overlap` words of them at most. A sentence longer
    than `most` is cut within; a blank line is a border, too. Blanks are made single, and where a text has none between
    two sentences, as in Chinese, a piece has none.

    Args:
        text: the text
        most: the limit, in what `length` counts
        overlap: the same of the repeated part; less than `most`
        length: how long texts are; a piece is as long as its sentences together
    """
    if length([text])[0] <= most:
        return [text]
    paragraphs = (enumerate(_split(p)) for p in _PARAGRAPH.split(text))
    found = [(s, gap if n else "\n\n") for paragraph in paragraphs for n, (s, gap) in paragraph]
    sizes = length([s for s, _ in found])
    parts = [p for (s, gap), n in zip(found, sizes, strict=True) for p in _short_enough(s, n, gap, most, length)]
    pieces: list[list[_Part]] = []
    piece: list[_Part] = []
    for part in parts:
        if piece and _length(piece) + part.size > most:
            pieces.append(piece)
            piece = _tail(piece, min(overlap, most - part.size))
        piece = [*piece, part]
    pieces.append(piece)
    return [_joined(piece) for piece in pieces]


def _short_enough(sentence: str, size: int, gap: str, most: int, length: Measure) -> Iterator[_Part]:
    """Yield a sentence, or the parts of one that is too long, as many words in each as fit."""
    if size <= most:
        yield _Part(sentence, size, gap)
        return
    places = spans(sentence)
    begin, end, total = 0, 0, 0
    for (first, last), n in zip(places, length([sentence[a:b] for a, b in places]), strict=True):
        if total and total + n > most:
            yield _Part(sentence[begin:end], total, gap)
            begin, gap, total = first, sentence[end:first], 0
        end, total = last, total + n
    yield _Part(sentence[begin:end], total, gap)


def _joined(piece: list[_Part]) -> str:
    text = piece[0].text
    for part in piece[1:]:
        text += between(text, part.gap, part.text) + part.text
    return text


def _length(parts: list[_Part]) -> int:
    return sum(part.size for part in parts)


def _tail(piece: list[_Part], room: int) -> list[_Part]:
    """Return the last sentences that fit in `room`, but never the whole piece."""
    kept: list[_Part] = []
    for part in reversed(piece[1:]):
        if _length(kept) + part.size > room:
            break
        kept.insert(0, part)
    return kept
