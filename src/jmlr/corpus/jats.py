"""Articles and books in JATS and BITS, the XML of PubMed Central and NCBI's Bookshelf (StatPearls, GeneReviews).

    <article> or <book-part-wrapper>    ->    one part for each section: (["Title", "Methods", "Patients"], "text")

A part is what a section holds beside the sections in it; what stands outside of any section belongs to the article itself.
Tables, lists, captions, formulas and appendices are text. References, acknowledgements, the numbers that point to them, and
what is about the article (authors, licences, funding) are not. Source: jats.nlm.nih.gov, archiving tag set 1.3; BITS 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jmlr.corpus.markup import Vocabulary, line_of, local, names, text_of

_SECTIONS = names(
    "abstract app book-part front-matter-part preface foreword sec sub-article response book-app book-app-group"
)
_META = ("front", "front-stub", "book-meta", "book-part-meta")
_AROUND = names("body back named-book-part-body book-body book-back app-group floats-group front-matter body-matter")
_ABOUT = (
    "front front-stub article-meta journal-meta book-meta book-part-meta sec-meta collection-meta processing-meta "
    "permissions title-group book-title-group book-front toc index index-group ref-list ack fn-group bio dedication "
    "trans-abstract kwd-group funding-group author-notes contrib-group notes object-id related-article related-object "
    "index-term graphic inline-graphic media supplementary-material xref-group signature-block"
)
JATS = Vocabulary(
    paragraphs=names(
        "abstract app array boxed-text caption code def-list disp-formula disp-formula-group disp-quote fig fig-group list p "
        "preformat sec speech statement subtitle table table-wrap table-wrap-foot table-wrap-group title verse-group"
    ),
    lines=names("attrib break def-item fn list-item row tr verse-line"),
    cells=frozenset({"td", "th", "entry"}),
    leads=frozenset({"label"}),
    left_out=names(_ABOUT),
    pointers=frozenset({"xref"}),
)


def parts(root: Any) -> Iterator[tuple[list[str], str]]:
    """Yield (the titles from the document down to a section, its text) of an article, chapter or book."""
    meta = _child(root, *_META)
    path = _joined([], [_title(root if meta is None else meta)])
    for abstract in meta.iter("{*}abstract") if meta is not None else ():
        yield _joined(path, [_child_title(abstract) or "Abstract"]), _abstract(abstract)
    yield from _inside(root, path)


def _inside(element: Any, path: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the part of what stands in an element itself, then those of its sections."""
    own, sections = [], []
    for child in _flat(element):
        name = local(child)
        if name in _SECTIONS or name == "article":
            sections.append(child)
        elif name not in ("title", "label") and name not in JATS.left_out:
            own.append(text_of(child, JATS, _SECTIONS))
            sections += [inner for inner in child.iterdescendants() if _is_first(inner, child)]
    yield path, "\n\n".join(text for text in own if text)
    for section in sections:
        if _child(section, *_META) is None:
            yield from _inside(section, _joined(path, [_child_title(section)]))
        else:
            yield from ((_joined(path, below), text) for below, text in parts(section))


def _flat(element: Any) -> Iterator[Any]:
    """Yield the children of an element, those of its body and other plain frames in their place."""
    for child in element:
        if local(child) in _AROUND:
            yield from _flat(child)
        else:
            yield child


def _is_first(inner: Any, child: Any) -> bool:
    """Tell whether an element is a section that hides inside a block, such as a boxed text, and in no other section."""
    if local(inner) not in _SECTIONS:
        return False
    above = inner.getparent()
    while above is not child:
        if local(above) in _SECTIONS or local(above) in JATS.left_out:
            return False
        above = above.getparent()
    return True


def _abstract(abstract: Any) -> str:
    """Return an abstract as paragraphs, those of its sections with their titles in front, as PubMed shows them."""
    found = [text_of(child, JATS) for child in abstract if local(child) not in ("title", "sec", *JATS.left_out)]
    for section in abstract.iterchildren("{*}sec"):
        body = "\n\n".join(text_of(child, JATS) for child in section if local(child) not in ("title", "label"))
        title = _child_title(section).rstrip(":. ")
        found.append(f"{title}: {body}" if title else body)
    return "\n\n".join(text for text in found if text)


def _title(meta: Any) -> str:
    """Return the title of an article, a chapter or a book, with its subtitle."""
    groups = (meta, *(child for child in meta if local(child) == "article-meta"))
    for group in (child for above in groups for child in above if local(child) in ("title-group", "book-title-group")):
        title = line_of(_child(group, "article-title", "title", "book-title"), JATS)
        subtitle = line_of(_child(group, "subtitle"), JATS)
        if title:
            return f"{title.rstrip(':')}: {subtitle}" if subtitle else title
    return ""


def _child(element: Any, *names: str) -> Any:
    return next((child for child in element if local(child) in names), None)


def _child_title(element: Any) -> str:
    return line_of(_child(element, "title"), JATS)


def _joined(path: list[str], below: list[str]) -> list[str]:
    return [*path, *(title for title in below if title)]
