"""Web pages as documents: one part for each heading, without scripts, styles, menus and forms.

list(parts("<title>Gout</title><h1>Gout</h1><p>It hurts.</p><h2>Care</h2><p>Rest.</p>"))
# [(["Gout"], "It hurts."), (["Gout", "Care"], "Rest.")]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lxml import etree

from jmlr.corpus.cleaning import HTML
from jmlr.corpus.markup import PARAGRAPH, line_of, local, names, text_of

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_MARK = "\ue000"  # stands before a heading's level
_PAGE = replace(HTML, left_out=HTML.left_out | names("aside button footer form nav select input textarea dialog"))


def parts(source: str | bytes) -> Iterator[tuple[list[str], str]]:
    """Yield (the headings from the page's title down, the text below them).

    Bytes are UTF-8, as nearly all pages are whatever they say; what cannot be is read as the page declares.
    """
    given = source.encode() if isinstance(source, str) else source
    encoding: str | None = "utf-8"
    try:
        given = given.decode("utf-8-sig").encode()
    except UnicodeDecodeError:
        encoding = None
    parser = etree.HTMLParser(encoding=encoding, remove_comments=True, remove_pis=True, huge_tree=True)
    root = etree.fromstring(given, parser) if given.strip() else None
    if root is None:
        return
    path = [line_of(next(root.iter("title"), None), HTML)]
    page = next(root.iter("main"), next(root.iter("body"), root))
    for heading in page.iter(*_HEADINGS):
        rank, named, after = local(heading)[1], line_of(heading, _PAGE), heading.tail
        heading.clear()
        heading.text, heading.tail = f"{_MARK}{rank}{named}", after
    body: list[str] = []
    for block in [*text_of(page, _PAGE).split(PARAGRAPH), f"{_MARK}1"]:
        if block.startswith(_MARK):
            yield path, PARAGRAPH.join(body)
            level, body = int(block[1]), []
            path = [*path[: level - 1], *[""] * (level - 1 - len(path)), block[2:]]
        else:
            body.append(block)
