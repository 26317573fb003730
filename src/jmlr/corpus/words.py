"""Words of any script: what passages are measured and cut by, and what texts are compared by.

>>> words("Fever of 38.5, 患者は")
['fever', 'of', '38', '5', '患', '者', 'は']
>>> count("Fever of 38.5, 患者は")
6

A word to compare is a run of letters, marks and digits; a word to measure ends at a blank. In scripts that put no blanks
between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) a word is one character with its marks, or a run of Katakana, as
the default word boundaries of Unicode have it (UAX #29): the same in every context, which a dictionary's words are not.
"""

from __future__ import annotations

import re

import regex

from jmlr.corpus.seen import normalised

_SOUTH_EAST = r"\p{Line_Break=Complex_Context}"
_SINGLE = rf"[[\p{{Script=Han}}\p{{Ideographic}}\p{{Script=Hiragana}}{_SOUTH_EAST}]--\p{{M}}]"
_KATAKANA = r"[\p{Script=Katakana}ー]"
_OTHER = rf"(?!{_SINGLE}|{_KATAKANA})"
_OPENING = r"[\p{Ps}\p{Pi}]"
_UNSPACED = rf"(?:{_SINGLE}\p{{M}}*|{_KATAKANA}+)"
_WIDE = r"[[\p{East_Asian_Width=Wide}\p{East_Asian_Width=Fullwidth}]--\p{Script=Hangul}]"
# what holds neither marks nor invisible characters nor a script without blanks: Latin, Greek, Cyrillic, signs
_PLAIN = re.compile(
    "[\x00-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u200a\u2010-\u2029\u2030-\u205f\u2070-\u20cf\u2100-\u2bff]*"
)
_PLAIN_WORD = re.compile(r"[^\W_]+")
_WORD = regex.compile(rf"{_UNSPACED}|(?:{_OTHER}[\p{{L}}\p{{N}}])(?:{_OTHER}[\p{{L}}\p{{N}}\p{{M}}])*", regex.V1)
# a bracket that opens stays with what follows, other marks with what they follow
_UNIT = regex.compile(rf"{_OPENING}*{_UNSPACED}[[^\s]--[\w\p{{Ps}}\p{{Pi}}]]*|(?:{_OTHER}\S)+", regex.V1)
_PLAIN_UNIT = re.compile(r"\S+")
_INVISIBLE = regex.compile(r"\p{Cf}+")
_LINE_END = regex.compile(rf"(?<={_WIDE})[^\S\n]*\n\s*(?={_WIDE})", regex.V1)
_BESIDE_LINE_END = regex.compile(rf"{_WIDE}\n{_WIDE}", regex.V1)
_SHARES = ((regex.compile(rf"{_SOUTH_EAST}", regex.V1), 0.25), (regex.compile(rf"{_SINGLE}", regex.V1), 0.625))


def plain(text: str) -> bool:
    """Tell whether a text holds only scripts whose words are runs of letters and digits between blanks."""
    return text.isascii() or _PLAIN.fullmatch(text) is not None


def words(text: str) -> list[str]:
    """Return the words of a normalised text, without punctuation and invisible characters: what texts are compared by."""
    text = normalised(text)
    return _PLAIN_WORD.findall(text) if plain(text) else _WORD.findall(_INVISIBLE.sub("", text))


def count(text: str) -> int:
    """Return how long a text is in words, as far as blanks and scripts without them tell: the measure of passages."""
    return len(text.split()) if plain(text) else sum(1 for _ in _UNIT.finditer(text))


def spans(text: str) -> list[tuple[int, int]]:
    """Return where each of the words that `count` counts begins and ends."""
    return [m.span() for m in (_PLAIN_UNIT if plain(text) else _UNIT).finditer(text)]


def weight(text: str) -> float:
    """Return how many words of a script with blanks a text holds about as much as.

    A Chinese or Japanese character counts as 5/8 of a word and one of Thai, Lao, Khmer or Burmese as 1/4, since so many
    say the same: '下列说法正确的是' is 'which of the following is correct'.
    """
    found = words(text)
    if plain(text):
        return len(found)
    return sum(next((share for script, share in _SHARES if script.match(w)), 1.0) for w in found)


def one_line(text: str) -> str:
    """Return a text with its blanks made single; a line end between two East Asian characters stands for no blank."""
    return " ".join((text if plain(text) else _LINE_END.sub("", text)).split())


def between(before: str, gap: str, after: str) -> str:
    """Return what `one_line` makes of the blanks between two texts: a single one, or none."""
    if "\n" in gap and not after[:1].isascii() and _BESIDE_LINE_END.match(f"{before[-1:]}\n{after[:1]}"):
        return ""
    return " " if gap else ""
