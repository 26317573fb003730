"""MedQuAD's XML: consumers' questions and their answers from twelve NIH sites, one record for each pair.

    {"id": "0000001-1", "title": "...", "question": "What is (are) ...?", "answer": "...", "text": "...", "subject": "information"}

So a file serves as open questions (question, answer) and as passages (title, text). Some sites forbid their answers to be passed
on: those are empty. Source: github.com/abachaa/MedQuAD (Ben Abacha and Demner-Fushman 2019, arXiv 1901.08079).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jmlr.corpus.markup import Vocabulary, line_of

MEDQUAD = Vocabulary(paragraphs=frozenset(), lines=frozenset())


def pairs(root: Any) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a document."""
    about = {"title": line_of(root.find("{*}Focus"), MEDQUAD), "origin": root.get("source", "")}
    for number, pair in enumerate(root.iterfind("{*}QAPairs/{*}QAPair"), 1):
        question, answer = pair.find("{*}Question"), pair.find("{*}Answer")
        given = {} if question is None else question.attrib
        text = "" if answer is None else _paragraphs("".join(answer.itertext()))
        yield {
            "id": given.get("qid") or f"{root.get('id', '')}-{number}",
            **about,
            "question": line_of(question, MEDQUAD),
            "answer": text,
            "text": text,
            "subject": given.get("qtype", ""),
        }


def _paragraphs(text: str) -> str:
    """Return a text whose lines were indented like their source with one blank line between paragraphs."""
    parts = "\n".join(line.strip() for line in text.splitlines()).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts if part.strip())
