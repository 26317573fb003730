"""Marked-up text as running text: inline elements join without a blank, block elements part.

A number raised after a digit gets a `^`, since 10<sup>9</sup>/L must not become 109/L.

    text_of(tree, JATS)      # 'CO2 rises.\n\nSo does HCO3.' for <sec><p>CO<sub>2</sub> rises.</p><p>So does ...</p></sec>

A vocabulary says what the elements of a language are; those that it does not name are inline. Mathematics is MathML in all
of them: fractions get their stroke, so that 1/2 does not become 12. Trees are those of lxml.
"""

from __future__ import annotations

import html.entities
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from lxml import etree

from jmlr.corpus.quotes import quoted
from jmlr.runtime.errors import UserError

PARAGRAPH, LINE, CELL = "\n\n", "\n", " | "
_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,31});")
_OF_XML = {b"amp", b"lt", b"gt", b"quot", b"apos"}
_CHUNK = 1 << 16
_BLANKS = re.compile(r"\s+")
_NUMBER = re.compile(r"[-+\u2212\u2013]?\s*[0-9]+(?:[.,/][0-9]+)?")
_WIDTH = ("", " ", CELL, LINE, PARAGRAPH)


@dataclass(frozen=True)
class Vocabulary:
    """The elements of a language by what they do to the text; all names are local ones, without a namespace.

    Attributes:
        paragraphs: a blank line stands before and after
        lines: a line of their own
        cells: parted from their neighbour in a row
        leads: what comes next goes on in their line, such as a label
        left_out: their content is no text
        pointers: marks such as the number of a reference, which are left out where they are raised
        as_typed: blanks and line ends in texts stay as they are
    """

    paragraphs: frozenset[str]
    lines: frozenset[str]
    cells: frozenset[str] = frozenset()
    leads: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    pointers: frozenset[str] = frozenset()
    as_typed: bool = False


def names(text: str) -> frozenset[str]:
    """Return the words of a text, as the names of elements."""
    return frozenset(text.split())


def local(element: Any) -> str:
    """Return the name of an element without namespace and prefix; '' for what is none, such as an entity."""
    tag = element.tag
    return tag.rpartition("}")[2].rpartition(":")[2].lower() if isinstance(tag, str) else ""


def text_of(element: Any, words: Vocabulary, without: frozenset[str] = frozenset()) -> str:
    """Return the text of an element and all in it, paragraphs parted by a blank line.

    Args:
        element: of lxml
        words: its language
        without: further elements to leave out, such as the sections inside a section
    """
    flow = _Flow(words.as_typed)
    steps = etree.iterwalk(element, events=("start", "end"))
    left_out: Any = None
    for event, node in steps:
        name = local(node)
        if event == "start" and left_out is None:
            if node is not element and (name in without or _left_out(node, name, words)):
                left_out = node
                steps.skip_subtree()
                continue
            flow.begin(name, words)
            flow.add("^" * (flow.ends_in_digit and _raised(node, name)) + _before(node, name) + (node.text or ""))
        elif event == "end":
            if left_out is None:
                flow.add(_after(node, name))
                flow.end(name, words)
            elif node is left_out:
                flow.part(_border(name, words))
                left_out = None
        if event == "end" and left_out is None and node is not element:
            flow.add(node.tail)
    return flow.text()


def line_of(element: Any, words: Vocabulary) -> str:
    """Return the text of an element on one line; '' where there is no element."""
    return "" if element is None else " ".join(text_of(element, words).split())


def _border(name: str, words: Vocabulary) -> str:
    if name in words.paragraphs:
        return PARAGRAPH
    if name in words.lines or name in ("mtr", "mlabeledtr"):
        return LINE
    return CELL if name in words.cells else " " if name == "mtd" else ""


def _left_out(node: Any, name: str, words: Vocabulary) -> bool:
    """Tell whether an element is no text: by its name, as TeX beside MathML, or as the raised number of a reference."""
    if name in words.left_out or name in ("annotation", "annotation-xml"):
        return True
    if name == "tex-math":
        return any(local(other) == "math" for other in node.getparent())
    if not words.pointers or name not in (*words.pointers, "sup"):
        return False
    if name != "sup":
        return any(local(child) == "sup" for child in node)
    inside = "".join(node.itertext())
    return any(local(child) in words.pointers for child in node) or not inside.strip(" ,;–-\n\t")


def _raised(node: Any, name: str) -> bool:
    """Tell whether an element is a raised number: an exponent, where it stands after a digit."""
    above = node.getparent()
    power = above is not None and local(above) == "msup" and node.getprevious() is not None
    return (name == "sup" or power) and bool(_NUMBER.fullmatch("".join(node.itertext()).strip()))


def _before(node: Any, name: str) -> str:
    if name in ("msqrt", "mroot"):
        return "√("
    if name == "mfenced":
        return str(node.get("open", "("))
    return "(" if _compound(node) else " " if name == "mspace" else ""


def _after(node: Any, name: str) -> str:
    if name in ("msqrt", "mroot"):
        return ")"
    if name == "mfenced":
        return str(node.get("close", ")"))
    above = node.getparent()
    stroke = above is not None and local(above) == "mfrac" and node.getnext() is not None
    return (")" if _compound(node) else "") + ("/" if stroke else "")


def _compound(node: Any) -> bool:
    """Tell whether an element is the part of a fraction that needs brackets on one line."""
    above = node.getparent()
    if above is None or local(above) != "mfrac":
        return False
    return not re.fullmatch(r"[\w.,%]*", "".join(node.itertext()).strip())


class _Flow:
    """Text that comes piece by piece, with the borders between; a wider border wins over a narrower one beside it."""

    def __init__(self, as_typed: bool) -> None:
        self.as_typed, self.border, self.cells, self.led = as_typed, "", 0, False
        self.parts: list[str] = []

    def begin(self, name: str, words: Vocabulary) -> None:
        self.part(_border(name, words))
        self.cells += name in words.cells

    def end(self, name: str, words: Vocabulary) -> None:
        self.cells -= name in words.cells
        self.part(_border(name, words))
        if name in words.leads:
            self.part(" ")
            self.led = True

    def part(self, border: str) -> None:
        if border and (self.cells or self.led):
            border = " "  # paragraphs inside a cell stay in its row
        self.border = max(self.border, border, key=_WIDTH.index)

    def add(self, text: str | None) -> None:
        if not text:
            return
        if not self.as_typed:
            text = _BLANKS.sub(" ", text)
        if self.border:
            text = text.lstrip()
            if not text:
                return
            while self.parts and not self.parts[-1].strip():
                self.parts.pop()
            if self.parts:
                self.parts[-1] = self.parts[-1].rstrip()
                self.parts.append(self.border)
            self.border = ""
        elif not self.as_typed and self.parts and self.parts[-1].endswith((" ", "\n")):
            text = text.removeprefix(" ")
        self.led = self.led and not text.strip()
        self.parts.append(text)

    @property
    def ends_in_digit(self) -> bool:
        return not self.border and bool(self.parts) and self.parts[-1][-1:].isdigit()

    def text(self) -> str:
        return "".join(self.parts).strip()


def parse(stream: BinaryIO, where: str, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
    """Yield ('start' | 'end', element) while a document is read; the last one is the root's end.

    Nothing is fetched, external entities stay unread, and entities that grow beyond measure end the reading; those of
    HTML (&nbsp;) are understood without their DTD.

    Args:
        stream: its bytes
        where: its place, for messages
        encoding: what counts instead of the encoding that it declares

    Raises:
        UserError: malformed XML, with its line.
    """
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities="internal", load_dtd=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True, encoding=encoding,
    )  # fmt: skip
    kept = b""
    try:
        while data := stream.read(_CHUNK):
            data = kept + data
            cut = data.rfind(b"&", -40)  # an entity may go on in the next chunk
            data, kept = (data[:cut], data[cut:]) if cut >= 0 else (data, b"")
            parser.feed(_ENTITY.sub(_character, data))
            yield from parser.read_events()
        parser.feed(_ENTITY.sub(_character, kept))
        yield from parser.read_events()
        parser.close()
        yield from parser.read_events()
    except etree.XMLSyntaxError as error:
        reason = str(error.msg).partition(", line ")[0]
        raise UserError(f"{where}: malformed XML at line {error.lineno}: {quoted(reason, 120)}") from None


def _character(found: re.Match[bytes]) -> bytes:
    if found[1] in _OF_XML:
        return found[0]
    text = html.entities.html5.get(found[1].decode() + ";", "")
    return "".join(f"&#{ord(c)};" for c in text).encode() or found[0]
