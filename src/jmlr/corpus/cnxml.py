"""OpenStax's books as they are published: archives of modules in CNXML, and collections that say which in which order.

    read_books("book.tar.gz", stream, "...", "passages")          # one record for each section of each module
    read_books("book.tar.gz", stream, "...", "multiple-choice")   # questions with options and the key
    read_books("book.tar.gz", stream, "...", "glossary")          # terms with definitions

A module is a page of the book: text in paragraphs and sections, then exercises with their solutions, then a glossary. Exercises
and glossary are no passages, since they would give the answers away. Each record names its module, chapter and book, and
the module is the section that a question's answer is taught in. Source: cnx.org's CNXML 0.7 and collxml, as in
github.com/openstax.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jmlr.corpus.markup import Vocabulary, line_of, local, names, text_of

_EXERCISES = frozenset({"exercise", "glossary", "problem", "solution", "metadata", "commentary", "proof"})
CNXML = Vocabulary(
    paragraphs=names("abstract caption code equation figure list note para quote rule section subfigure table title"),
    lines=frozenset({"footnote", "item", "newline", "row"}),
    cells=frozenset({"entry"}),
    leads=frozenset({"label"}),
    left_out=_EXERCISES | {"media", "iframe"},
)
_ASKED = replace(CNXML, left_out=frozenset({"media", "iframe", "solution", "commentary"}))
_ANSWER = replace(CNXML, left_out=frozenset({"media", "iframe", "label"}))
# sections that are marked as questions, aims, sources or thanks; the rest is text
NO_TEXT = names(
    "multiple-choice fill-in-the-blank true-false short-answer critical-thinking matching free-response interactive-exercise "
    "review-questions learning-objectives references suggested-reading further-research contrib-auth sr-contrib-auth"
)
_KEY = re.compile(r"\(?([A-Za-z])[.)]?")


@dataclass(frozen=True)
class Place:
    """Where a module stands: its number, the titles of the chapters around it from the outermost in, and its book."""

    module: str
    chapters: tuple[str, ...] = ()
    book: str = ""


def places(collection: Any) -> Iterator[Place]:
    """Yield the modules of a collection in the order of the book."""
    book = line_of(next(collection.iter("{*}title"), None), CNXML)

    def inside(element: Any, chapters: tuple[str, ...]) -> Iterator[Place]:
        for child in element:
            if local(child) == "module":
                yield Place(child.get("document", ""), chapters, book)
            elif local(child) == "subcollection":
                yield from inside(child, (*chapters, line_of(child.find("{*}title"), CNXML)))
            elif local(child) == "content":
                yield from inside(child, chapters)

    return inside(collection, ())


def parts(module: Any) -> Iterator[tuple[list[str], str]]:
    """Yield (the titles down to a section, its text) of a module, without exercises, sources and glossary."""
    title = title_of(module)
    return (([title, *path], text) for path, text, _ in _inside(module.find("{*}content"), []))


def passages(module: Any, place: Place) -> Iterator[dict[str, Any]]:
    """Yield a record for each section of a module that has a text."""
    title = title_of(module)
    for path, text, id in _inside(module.find("{*}content"), []):
        if text:
            named = ": ".join(dict.fromkeys(t for t in (title, *path) if t))
            yield {
                "id": f"{place.module}#{id}" if id else place.module,
                "title": named,
                "text": text,
                **_about(title, place),
            }


def terms(module: Any, place: Place) -> Iterator[dict[str, Any]]:
    """Yield a record {id, term, definition} for each entry of a module's glossary."""
    for number, entry in enumerate(module.iterfind("{*}glossary/{*}definition"), 1):
        found = {
            "id": f"{place.module}#{entry.get('id', number)}",
            "term": line_of(entry.find("{*}term"), CNXML),
            "definition": line_of(entry.find("{*}meaning"), CNXML),
        }
        yield {**found, **_about(title_of(module), place)}


def exercises(module: Any, place: Place, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the exercises in the sections of a class, such as 'multiple-choice': {id, question, options, answer}.

    Options are those of the list in the problem, lettered as it is printed. Without a list the answer is the solution's text.
    What has no solution has an empty answer.
    """
    about = {**_about(title_of(module), place), "gold_section": place.module}
    for section in module.iter("{*}section"):
        for number, exercise in enumerate(section.iter("{*}exercise") if section.get("class") == kind else (), 1):
            problem, solution = exercise.find("{*}problem"), exercise.find("{*}solution")
            if problem is None:
                continue
            options = [line_of(item, _ASKED) for item in problem.iterfind(".//{*}list/{*}item")]
            answer = line_of(solution, _ANSWER)
            yield {
                "id": f"{place.module}#{exercise.get('id', number)}",
                "question": " ".join(text_of(problem, _ASKED, frozenset({"list"} if options else ())).split()),
                **({"options": dict(zip(string.ascii_uppercase, options, strict=False))} if options else {}),
                "answer": _key(answer) if options else answer,
                **about,
            }


def title_of(module: Any) -> str:
    """Return the title of a module."""
    return line_of(module.find("{*}title"), CNXML) or line_of(next(module.iter("{*}title"), None), CNXML)


def _inside(element: Any, path: list[str]) -> Iterator[tuple[list[str], str, str]]:
    """Yield (titles, text, id) of what stands in an element itself, then of its sections."""
    if element is None:
        return
    sections = [child for child in element if local(child) == "section" and child.get("class", "") not in NO_TEXT]
    own = [text_of(child, CNXML) for child in element if local(child) not in ("section", "title", *_EXERCISES)]
    yield path, "\n\n".join(text for text in own if text), element.get("id", "")
    for section in sections:
        title = line_of(section.find("{*}title"), CNXML)
        yield from _inside(section, [*path, title] if title else path)


def _about(title: str, place: Place) -> dict[str, Any]:
    return {
        "section": place.module,
        "module_title": title,
        "chapter": " > ".join(place.chapters),
        "book": place.book,
        "subject": place.book,
    }


def _key(answer: str) -> str:
    """Return the letter that a solution names; what names none, or several, stays as it is."""
    found = _KEY.fullmatch(answer)
    return found[1].upper() if found else answer
