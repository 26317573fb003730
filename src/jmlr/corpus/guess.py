"""Which of a table's columns are our fields, by the names that people give them: `jmlr init` proposes, `prepare` checks.

>>> question_fields(["nr", "Stem", "A", "B", "C", "D", "Key", "explanation"])
{'id': 'nr', 'question': 'Stem', 'options': 'A, B, C, D', 'answer': 'Key'}
>>> passage_fields(["docid", "title", "contents"])
{'id': 'docid', 'text': 'contents'}

Only what is named otherwise than ours is returned.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

QUESTION = {
    "id": ("id", "qid", "question_id", "nr", "no", "number", "uid", "_id"),
    "question": ("question", "stem", "prompt", "query", "question_text", "item", "text", "frage", "pregunta"),
    "options": ("options", "choices", "alternatives", "answers", "candidates"),
    "answer": (
        *("answer", "key", "correct", "correct_answer", "correct_option", "answer_key", "answer_idx", "gold", "cop"),
        *("label", "solution", "right"),
    ),
    "answer_text": ("answer_text", "short_answer"),
    "explanation": ("explanation", "rationale", "exp", "comment"),
    "subject": ("subject", "subject_name", "topic", "category"),
    "split": ("split", "fold", "partition"),
    "gold_ids": ("gold_ids", "passage_id", "passage_ids", "doc_id", "document_id", "pmid"),
    "gold_section": ("gold_section", "section", "source", "document", "file", "chapter"),
}
PASSAGE = {
    "id": ("id", "_id", "docid", "doc_id", "passage_id", "pmid", "uid"),
    "title": ("title", "heading", "name"),
    "text": ("text", "contents", "content", "body", "passage", "abstract", "note"),
    "section": ("section", "chapter", "module"),
}
_COLUMN = re.compile(r"(?:options?|opt?|choices?|answers?|endings?)?[ _.-]?([a-z]|\d)", re.I)


def question_fields(columns: Sequence[str]) -> dict[str, str]:
    """Return our field -> theirs for a table of questions; options may stand in a column each."""
    found = _named(columns, QUESTION)
    if "options" not in found and (options := _option_columns(columns)):
        found["options"] = ", ".join(options)
    return {ours: found[ours] for ours in QUESTION if ours in found and found[ours] != ours}


def passage_fields(columns: Sequence[str]) -> dict[str, str]:
    """Return our field -> theirs for a table of passages."""
    return {ours: theirs for ours, theirs in _named(columns, PASSAGE).items() if theirs != ours}


def has(columns: Sequence[str], fields: Mapping[str, str], ours: str) -> bool:
    """Tell whether a table has one of our fields, under its own name or the one that was found."""
    return ours in fields or ours in columns


def delimiter(line: str) -> str:
    """Return what parts the cells of a table's first line: ',', ';', '|' or tab.

    >>> delimiter("id;question;a;b;key")
    ';'
    """
    return max(",;|\t", key=line.count)


def _named(columns: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    plain = {re.sub(r"[ .-]+", "_", c.strip().lower()): c for c in reversed(columns)}
    found: dict[str, str] = {}
    for ours, theirs in names.items():
        if (
            match := next((plain[n] for n in theirs if n in plain and plain[n] not in found.values()), None)
        ) is not None:
            found[ours] = match
    return found


def _option_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns that end in a, b, c, ... or in numbers one after the other, at least two of one kind."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for column in columns:
        if match := _COLUMN.fullmatch(column.strip()):
            kinds.setdefault(column.strip()[: -len(match[1])].lower(), []).append((match[1].lower(), column))
    for found in kinds.values():
        ends = [end for end, _ in found]
        if len(found) > 1 and all(ord(b) == ord(a) + 1 for a, b in itertools.pairwise(ends)):
            return [column for _, column in found]
    return []
