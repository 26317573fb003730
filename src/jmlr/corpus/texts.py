"""Documents as people keep them: plain text, also as extracted from PDF, Markdown, web pages, and the field's XML.

    list(read_document("gout.md", "# Gout\n\nIt hurts.\n\n## Care\n\nRest.", "gout.md"))
    # [{"id": "gout.md#1", "title": "Gout", "text": "It hurts.", "section": "gout.md"},
    #  {"id": "gout.md#2", "title": "Gout: Care", "text": "Rest.", "section": "gout.md"}]

Paragraphs stay apart by a blank line, where passages are cut first. XML is of the kinds in `KINDS`, which its first element
tells. Source: Markdown by CommonMark's headings, ATX and, of one line, setext (spec.commonmark.org/0.31.2); a block of YAML
before them, as pandoc and the makers of web sites read it, is no text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO

import yaml
from lxml import etree

from jmlr.corpus import cnxml, jats, medquad, pubmed, webpages
from jmlr.corpus.markup import parse
from jmlr.corpus.quotes import quoted
from jmlr.corpus.words import one_line
from jmlr.runtime.errors import UserError

DOCUMENTS: dict[str, tuple[str, ...]] = {  # kinds, and the endings that tell them
    "txt": (".txt",),
    "md": (".md",),
    "html": (".html", ".htm"),
    "xml": (".xml", ".nxml"),  # of the kind that its first element tells
    "cnxml": (".cnxml",),
    "jats": (),
    "medquad": (),
    "pubmed": (),
}
KINDS = ("cnxml", "html", "jats", "medquad", "pubmed")
CNXML = "http://cnx.rice.edu/cnxml"
ROOTS = {
    **dict.fromkeys(
        ("article", "book", "book-part", "book-part-wrapper", "pmc-articleset", "articles", "oai-pmh"), "jats"
    ),
    **dict.fromkeys(("pubmedarticleset", "pubmedbookarticleset", "pubmedarticle"), "pubmed"),
    "document": "medquad",
    "html": "html",
}
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_UNDERLINED = re.compile(r"^ {0,3}(?![-*+>|#\d])(\S+(?: \S+)*)[ \t]*$")  # a row of a table has wider gaps
_FRONT_MATTER = re.compile(r"\A---[ \t]*(?:\r\n?|\n)(.*?(?:\r\n?|\n))(?:---|\.\.\.)[ \t]*(?:\r\n?|\n|\Z)", re.DOTALL)
_PAGE_END = re.compile(r"\s*(?:\n[ \t]*\d{1,4}[ \t]*\n?)?\f\s*(?:\d{1,4}[ \t]*\n\s*)?")


def read_document(name: str, text: str | BinaryIO, where: str, kind: str = "") -> Iterator[dict[str, Any]]:
    """Yield the records of one document, {id, title, text, section} at least; none of an empty one.

    Args:
        name: what it calls itself in ids
        text: its content; the bytes of XML and HTML are read in the encoding that they declare themselves
        where: its place, for messages
        kind: one of `DOCUMENTS`; empty: by the ending of its name, plain text where that tells nothing

    Raises:
        UserError: malformed XML, or XML of a kind that is not read.
    """
    ending = PurePath(name).suffix.lower()
    kind = kind or next((kind for kind, endings in DOCUMENTS.items() if ending in endings), "txt")
    if kind == "html":
        yield from _records(name, webpages.parts(text if isinstance(text, str) else text.read()), name)
    elif kind not in ("txt", "md"):
        yield from read_xml(name, text, where, "" if kind == "xml" else kind)
    else:
        text = text if isinstance(text, str) else text.read().decode("utf-8-sig")
        yield from _records(name, _markdown(text) if kind == "md" else [([], unwrapped(text))], name)


def read_xml(name: str, text: str | BinaryIO, where: str, kind: str = "") -> Iterator[dict[str, Any]]:
    """Yield the records of an XML document, which its first element tells the kind of; as for `read_document`.

    Sets of articles and citations are read one by one, in memory that does not grow with their number.
    """
    events = parse(*((io.BytesIO(text.encode()), where, "utf-8") if isinstance(text, str) else (text, where)))
    _, root = next(events)
    kind = _kind(etree.QName(root), kind, where)
    if kind == "pubmed":
        found = (pubmed.citation(element) for element in _each(events, root, pubmed.CITATIONS))
        yield from ({**record, "section": name} for record in found if record)
        return
    for number, element in enumerate(_each(events, root, ("article",) if kind == "jats" else ()), 1):
        if kind == "medquad":
            yield from ({**pair, "section": name} for pair in medquad.pairs(element))
            continue
        reader = {"jats": jats.parts, "cnxml": cnxml.parts, "html": lambda page: webpages.parts(etree.tostring(page))}
        yield from _records(name if element is root else f"{name}#{number}", reader[kind](element), name)


def _each(events: Iterator[tuple[str, Any]], root: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """Yield the elements of these names, each once it is read, and free it then; the root where there is none."""
    found = False
    for event, element in events:
        if event == "end" and element is not root and etree.QName(element).localname in names:
            found = True
            yield element
            element.clear()
            while element.getprevious() is not None:  # what came before it, too
                del element.getparent()[0]
    if not found:
        yield root


def _kind(tag: etree.QName, kind: str, where: str) -> str:
    """Return the kind of an XML document by its first element, unless it was named."""
    found = kind or ("cnxml" if tag.namespace == CNXML else ROOTS.get(tag.localname.lower(), ""))
    if not found:
        raise UserError(
            f"{where}: XML that begins with {quoted(tag.localname)} is not read; 'format' names its kind: {', '.join(KINDS)}"
        )
    return found


def _records(id: str, parts: Iterable[tuple[list[str], str]], name: str) -> Iterator[dict[str, str]]:
    """Yield a record for every part (its path of titles, its text) that has a text; numbered if there are several."""
    stem = PurePath(name).stem.replace("_", " ")
    held = [
        (": ".join(dict.fromkeys(t for t in path if t)) or stem, text.strip()) for path, text in parts if text.strip()
    ]
    for number, (title, text) in enumerate(held, 1):
        yield {"id": f"{id}#{number}" if len(held) > 1 else id, "title": title, "text": text, "section": name}


def _markdown(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the sections of a Markdown document, below the title that its front matter gives; that itself is left out."""
    title, begin = "", 0
    if found := _FRONT_MATTER.match(text):
        try:
            matter = yaml.load(found[1], yaml.BaseLoader)  # texts, lists and mappings alone: 'No' stays a title
        except (yaml.YAMLError, RecursionError):
            matter = None
        if isinstance(matter, dict):
            title, begin = matter.get("title", ""), found.end()
    above = [one_line(title)] if isinstance(title, str) else []
    return (([*above, *path], body) for path, body in sections(text[begin:]))


def sections(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (the path of headings, the text below it) of a Markdown text; headings in fenced code are none."""
    path: list[str] = []
    body: list[str] = []
    fenced = False
    for line in re.split(r"\r\n?|\n", text):  # U+2028 and form feeds stand inside lines
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        level, title = (0, "") if fenced else _heading(line, body)
        if not level:
            body.append(line)
            continue
        yield path, "\n".join(body).strip()
        path, body = [*path[: level - 1], *[""] * (level - 1 - len(path)), title], []
    yield path, "\n".join(body).strip()


def _heading(line: str, body: list[str]) -> tuple[int, str]:
    """Return the level and the title of a heading that ends with this line, 0 if none does; a title above it leaves `body`."""
    if atx := _HEADING.match(line):
        return len(atx[1]), atx[2]
    alone = body and not any(b.strip() for b in body[-2:-1])
    if alone and (under := _UNDERLINE.match(line)) and (title := _UNDERLINED.match(body[-1])):
        body.pop()
        return 1 if under[1][0] == "=" else 2, title[1]
    return 0, ""


def unwrapped(text: str) -> str:
    """Return a text with lines that were broken to fit a page joined, and words hyphenated there made whole.

    A form feed ends a page, not a paragraph; a line of digits alone beside it is a page number.
    """
    text = _PAGE_END.sub("\n", text.replace("\r\n", "\n"))
    text = re.sub(r"(?<=[a-zß-ÿ])-\n[ \t]*(?=[a-zß-ÿ])", "", text)
    return "\n\n".join(one_line(p) for p in re.split(r"\n[ \t]*\n", text) if p.strip())
