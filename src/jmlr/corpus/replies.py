"""From what a language model wrote to the option it chose: strictly, or not at all.

    >>> parse_option("B. Ibuprofen", ["Aspirin", "Ibuprofen"])
    1
    >>> parse_option("It could be A or B.", ["Aspirin", "Ibuprofen"])      # unparsed: never a guess
    -1

What counts as a choice: a letter of the options, the text of one of them, or both where they agree, alone on its line or after
words such as "The correct answer is". Only the first line that says anything is read (after a rationale: the lines that
begin with "Answer:", which must agree). Two choices, a letter beyond the options and a letter beside another option's text are
none. Marks in pairs (bold, code, quotation, mathematics, \\boxed{}) say nothing about the choice and are taken out first, in
replies and options alike. (The code of MIRAGE, Xiong et al. 2024, takes option A for what it cannot parse.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jmlr.corpus.citations import cited
from jmlr.corpus.seen import normalised

UNPARSED = -1
LEAD = re.compile(
    r"^(?:so|thus|hence|therefore|finally)?[\s,:]*"
    r"(?:(?:the|my)?\s*(?:(?:single\s+)?(?:best|correct|right|final|most likely)\s+)*(?:answer|option|choice)(?:\s+(?:option|choice))?)"
    r"\s*(?:is|would be|:|=)[\s:]*(?:(?:option|choice|answer)\s+)?",
    re.I,
)
LETTER = re.compile(r"^[(\[]?([A-Z])[)\]]?(?:\s*[.:)\-]+\s*|\s+|$)(.*)$", re.S)
ANSWER_LINE = re.compile(r"^[\s*_#>]*(?:final\s+|correct\s+)?answer\s*[*_]*\s*:\s*(.*)$", re.I)
# marks that come in pairs around a piece of text: Markdown, quotation marks, TeX
PAIRED = (
    re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`{1,3}|\${1,2}|[\"'])(?=[^\s*_`$])(.*?)(?<=[^\s*_`$])\1(?!\w)"),
    re.compile(r"()[“„«‘‹](?=\S)([^“”„«»‘’‹›]*)(?<=\S)[”“»’›]"),
    re.compile(r"()\\(?:boxed|fbox|mbox|text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf|tt))\s*\{([^{}]*)\}"),
    re.compile(r"()\\[(\[]\s*(.*?)\s*\\[)\]]"),
)
EDGE = re.compile(r"^(?:[*_`#>\s$]|\\[()\[\]])+|(?:[*_`#>\s$]|\\[()\[\]])+$")


@dataclass(frozen=True)
class Thought:
    """A reply in its parts: the option (-1: unparsed), the rationale before it, the passage numbers cited in it (from 1)."""

    option: int
    rationale: str
    cited: tuple[int, ...]


def without_thinking(reply: str) -> str:
    """Return what a reply says behind its thinking, <think>...</think>; nothing where the thinking was cut off.

    >>> without_thinking("<think>A? No.</think>\\nB")
    '\\nB'
    >>> without_thinking("A? No.</think>B"), without_thinking("<think>A? No")      # the server kept the first mark; cut off
    ('B', '')
    """
    said = reply.rpartition("</think>")[2]
    return "" if said.lstrip().startswith("<think>") else said


def parse_option(reply: str, options: Sequence[str]) -> int:
    """Return the index of the option that the first line of a reply chooses, or -1."""
    lines = [line for line in map(_bare, map(_unmarked, reply.splitlines())) if line]
    return _choice(lines[0], options) if lines else UNPARSED


def parse_thought(reply: str, options: Sequence[str]) -> Thought:
    """Return what a "think, then answer" reply chooses, argues and cites; without a line "Answer:" it chooses nothing."""
    lines = reply.splitlines()
    unmarked = [_unmarked(line) for line in lines]
    found = [(i, m[1]) for i, line in enumerate(unmarked) if (m := ANSWER_LINE.match(line))]
    # "Answer:" alone on its line: the choice stands on the next
    said = [text if _bare(text) else next(filter(_bare, unmarked[i + 1 :]), "") for i, text in found]
    chosen = {_choice(_bare(text), options) for text in said}
    rationale = "\n".join(lines[: found[0][0]] if found else lines).strip()
    return Thought(chosen.pop() if len(chosen) == 1 else UNPARSED, rationale, cited(rationale))


def _bare(text: str) -> str:
    """Return a line without the marks that chat models put at its ends, paired or not."""
    return EDGE.sub("", text)


def _unmarked(line: str) -> str:
    """Return a line without paired marks, from the inside out: "The answer is **\\\\boxed{B}**." is "The answer is B."."""
    before = None
    while line != before:
        before = line
        for pair in PAIRED:
            line = pair.sub(r"\2", line)
    return line


def _choice(line: str, options: Sequence[str]) -> int:
    """Return the option that a line names by its text, its letter or both; two readings that differ are none."""
    rest = _bare(LEAD.sub("", line, count=1))
    named = {_by_text(line, options), _by_text(rest, options), _by_letter(rest, options)} - {UNPARSED}
    return named.pop() if len(named) == 1 else UNPARSED


def _by_text(text: str, options: Sequence[str]) -> int:
    """Return the one option whose text this is; none where two options have the same text."""
    same = [i for i, option in enumerate(options) if _plain(option) == _plain(text) != ""]
    return same[0] if len(same) == 1 else UNPARSED


def _by_letter(text: str, options: Sequence[str]) -> int:
    """Return the option of a letter that stands alone, or before that very option's text."""
    found = LETTER.match(text)
    if not found or (index := ord(found[1]) - ord("A")) >= len(options):
        return UNPARSED
    return index if not _bare(found[2]) or _plain(found[2]) == _plain(options[index]) else UNPARSED


def _plain(text: str) -> str:
    return normalised(_bare(_unmarked(text))).rstrip(" .;,")
