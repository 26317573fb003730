"""Documents as people keep them: plain text, also as extracted from PDF, Markdown, and the XML of NCBI's Bookshelf.

    list(read_document("gout.md", "# Gout\n\nIt hurts.\n\n## Care\n\nRest.", "gout.md"))
    # [{"id": "gout.md#1", "title": "Gout", "text": "It hurts.", "section": "gout.md"},
    #  {"id": "gout.md#2", "title": "Gout: Care", "text": "Rest.", "section": "gout.md"}]

Paragraphs stay apart by a blank line, where passages are cut first. Sources: Markdown by CommonMark's ATX headings; the
Bookshelf's XML is JATS/BITS (title, sec, p, list).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from pathlib import PurePath

from jmlr.runtime.errors import UserError

DOCUMENTS = (".txt", ".md", ".nxml")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|small|span|strike|strong|sub|sup|table|tbody|td|th|tr|u|ul)"
    r"(?:\s+[a-z-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'|[^\s\"'<>]+))*\s*/?>",
    re.I,
)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_PAGE_END = re.compile(r"\s*(?:\n[ \t]*\d{1,4}[ \t]*\n?)?\f\s*(?:\d{1,4}[ \t]*\n\s*)?")
# UTF-8's lead bytes of Latin, Greek and punctuation as Windows-1252 shows them, with what follows: "Â°", "â€™"
_CONTINUATION = (  # 0x80 to 0xBF as Windows-1252 shows them
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
)
_MISREAD = re.compile(f"[\u00c2\u00c3\u00ce\u00cf\u00e2][{_CONTINUATION}]{{1,3}}")


def plain(text: str) -> str:
    """Return a text without HTML and invisible characters, and with UTF-8 that was read as Windows-1252 mended.

    Only tags that HTML has, without anything else between the brackets, are taken out: 'p<0.05 and n>3' stays.
    """
    text = _MISREAD.sub(_mended, text)
    text = unescape(_TAG.sub(" ", text)) if "<" in text or "&" in text else text
    return text.translate(_INVISIBLE).replace("\u00a0", " ")


def _mended(found: re.Match[str]) -> str:
    try:
        return found[0].encode("cp1252").decode("utf-8")
    except UnicodeError:
        return found[0]


def read_document(name: str, text: str, where: str) -> Iterator[dict[str, str]]:
    """Yield the records {id, title, text, section} of one document; none of an empty one.

    Args:
        name: its name with the ending that tells its kind
        text: its content
        where: its place, for messages

    Raises:
        UserError: malformed XML.
    """
    kind, stem = PurePath(name).suffix.lower(), PurePath(name).stem.replace("_", " ")
    if kind == ".md":
        parts = [(": ".join(dict.fromkeys(p for p in path if p)) or stem, body) for path, body in sections(text)]
    elif kind == ".nxml":
        parts = list(_jats(text, where))
    else:
        parts = [(stem, unwrapped(text))]
    parts = [(title, body) for title, body in parts if body.strip()]
    for number, (title, body) in enumerate(parts, 1):
        id = f"{name}#{number}" if len(parts) > 1 else name
        yield {"id": id, "title": title, "text": body.strip(), "section": name}


def sections(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (the path of headings, the text below it) of a Markdown text; headings in fenced code are none."""
    path: list[str] = []
    body: list[str] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        heading = None if fenced else _HEADING.match(line)
        if heading is None:
            body.append(line)
            continue
        yield path, "\n".join(body).strip()
        above = path[: len(heading[1]) - 1]
        path, body = [*above, *[""] * (len(heading[1]) - 1 - len(above)), heading[2]], []
    yield path, "\n".join(body).strip()


def unwrapped(text: str) -> str:
    """Return a text with lines that were broken to fit a page joined, and words hyphenated there made whole.

    A form feed ends a page, not a paragraph; a line of digits alone beside it is a page number.
    """
    text = _PAGE_END.sub("\n", text.replace("\r\n", "\n"))
    text = re.sub(r"(?<=[a-zß-ÿ])-\n[ \t]*(?=[a-zß-ÿ])", "", text)
    return "\n\n".join(" ".join(p.split()) for p in re.split(r"\n[ \t]*\n", text) if p.strip())


def _jats(text: str, where: str) -> Iterator[tuple[str, str]]:
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise UserError(f"{where}: malformed XML: {error}") from None
    heading = root.find(".//title")
    title = _words(heading) if heading is not None else ""
    for section in root.iter("sec"):
        own = section.find("title")
        named = _words(own) if own is not None else ""
        blocks = [_words(child) for child in section if child.tag not in ("sec", "title")]
        yield ": ".join(dict.fromkeys(t for t in (title, named) if t)), "\n\n".join(b for b in blocks if b)


def _words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())
