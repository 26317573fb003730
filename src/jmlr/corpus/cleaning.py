"""Texts of records without the marks of the web they were taken from: HTML, entities, invisible and damaged characters.

>>> plain("<p>CO<sub>2</sub> &gt; 45&nbsp;mmHg</p><ul><li>rest<li>oxygen</ul>")
'CO2 > 45 mmHg\\n\\nrest\\noxygen'
>>> plain("p<0.05 and n>3; a <b and c> d; IL-2 < 5 & > 3")
'p<0.05 and n>3; a <b and c> d; IL-2 < 5 & > 3'

What is a tag is asked before the parser is, since to a parser `<b and c>` is one, too. A `<` begins a tag where an element
of HTML follows whose attributes look like such: one has its value in quotation marks, or a name that HTML knows. Elements
that must be closed, and have no attribute, must be closed somewhere; `<time>` alone is a word in brackets. Every other `<`
and `&` is text. Source: HTML Living Standard, chapters 13.1 (syntax) and 16 (obsolete elements).
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import replace

from lxml import etree

from jmlr.corpus.markup import Vocabulary, names, text_of

_VOID = "area base basefont bgsound br col command embed frame hr img input keygen link meta param source track wbr"
_UNCLOSED = "body colgroup dd dt head html li option optgroup p rp rt tbody td tfoot th thead tr"  # may stay open
_CLOSED = (
    "a abbr acronym address applet article aside audio b bdi bdo big blink blockquote button canvas caption center cite "
    "code data datalist del details dfn dialog dir div dl em fieldset figcaption figure font footer form frameset g h1 h2 "
    "h3 h4 h5 h6 header hgroup i iframe ins kbd label legend main map mark marquee math menu meter nav nobr noscript "
    "object ol output path picture pre progress q rect ruby s samp script search section select small span strike strong "
    "style sub summary sup svg table template textarea time title tt u ul var video"
)
_ATTRIBUTES = (
    "abbr align alt async axis bgcolor border cellpadding cellspacing char checked cite class clear color cols colspan "
    "compact content controls coords data datetime declare defer dir disabled download draggable face for frame headers "
    "height hidden href hreflang hspace http id ismap itemprop itemscope itemtype label lang language link loading loop "
    "media method multiple muted name nohref noresize noshade nowrap onclick onload onmouseout onmouseover open property "
    "readonly rel required rev role rows rowspan rules scope scrolling selected shape size sizes slot span src srcset "
    "start style summary tabindex target text title translate type usemap valign value vlink vspace width xmlns"
)
_MATHML = (
    "annotation annotation-xml maction merror mfenced mfrac mi mlabeledtr mmultiscripts mn mo mover mpadded mphantom mroot "
    "mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none semantics"
)
_NAMES = {*_MATHML.split(), *_VOID.split(), *_UNCLOSED.split(), *_CLOSED.split()}
_NEVER_CLOSED = {*_VOID.split()}
_INSTEAD = {
    "title": "div",
    "textarea": "div",
    "html": "div",
    "body": "div",
    "head": "template",
}  # what a parser would not look into
_SURE = {*_VOID.split(), *_UNCLOSED.split()} - {"head", "body", "html", "option", "link", "source", "track", "command"}
_KNOWN = {*_ATTRIBUTES.split()}
HTML = Vocabulary(
    paragraphs=names(
        "article aside blockquote body center details dir div dl fieldset figure footer form h1 h2 h3 h4 h5 h6 header hgroup "
        "hr main menu nav ol p pre sec section table ul"
    ),
    lines=names(
        "address br caption dd dt figcaption legend li list-item optgroup option summary tbody tfoot thead title tr"
    ),
    cells=frozenset({"td", "th"}),
    left_out=names("head script style svg template iframe object noscript canvas audio video datalist"),
)
_BLOCKS = HTML.paragraphs | HTML.lines | HTML.cells
_FRAGMENT = replace(HTML, as_typed=True)
_ATTRIBUTE = re.compile(r"([^\s\"'<>/=]++)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s<>]++))?+")
_TAG = re.compile(
    r"<!doctype\b[^>]*>|<\?xml\b[^>]*>|<!\[(?:(?:end)?if\b[^>]*>|CDATA\[)"
    rf"|</(?P<end>[a-z][\w:.-]*)\s*>|<(?P<start>[a-z][\w:.-]*)(?=[\s/>])(?P<rest>(?:[\s/]*+{_ATTRIBUTE.pattern})*+[\s/]*+)>",
    re.I | re.S,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});|&nbsp(?![a-z0-9])", re.I)
_PARSER = etree.HTMLParser(encoding="utf-8", huge_tree=True)
# control characters; those of Windows-1252 between 0x80 and 0x9f were meant as what they are there
_CONTROLS = dict.fromkeys((*range(9), *range(14, 32), 127, 0xFFFE, 0xFFFF)) | {11: "\n", 12: "\n"}
_WINDOWS = {i: html.unescape(f"&#{i};").translate({i: None}) for i in range(0x80, 0xA0)}
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff")) | {0xA0: " "}
_UNSEEN = _CONTROLS | _WINDOWS | _INVISIBLE
# a lead byte of UTF-8 and one that goes on, as Windows-1252 shows them: "Â°", "â€™"
_CONTINUATION = (  # 0x80 to 0xBF as Windows-1252 shows them
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MISREAD = re.compile(f"[\u00c2-\u00f4][{_CONTINUATION}]")


def plain(text: str) -> str:
    """Return a text without HTML, control and invisible characters, and with UTF-8 that was read as Windows-1252 put right.

    A text without any of these comes back as it is. Blocks such as paragraphs and list items stand apart by line ends;
    scripts, styles and comments are left out; entities need their semicolon.
    """
    text = _read_right(text).translate(_UNSEEN)
    if "<" in text and not _SURROGATE.search(text) and (source := _source(text)):
        text = _parsed(source)
    elif "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    return text.translate(_UNSEEN)


def _read_right(text: str) -> str:
    """Return a text with UTF-8 that was read as another encoding put right, as ftfy finds it; a search tells first whether to ask."""
    if not _MISREAD.search(text):
        return text
    import ftfy

    return str(ftfy.fix_encoding(text))


def _source(text: str) -> str:
    """Return the HTML of a text, its tags without attributes and all that is no tag escaped; '' if it has no tag."""
    text, comments = _without_comments(text)
    ends = {found[1].lower(): found.start() for found in re.finditer(r"</([a-z][\w:.-]*)\s*>", text, re.I)}  # the last
    parts, at, sure = [], 0, comments
    begun: Counter[str] = Counter()
    for tag in _TAG.finditer(text):
        name = (tag["start"] or tag["end"] or "").lower()
        closed = ends.get(name, -1) >= tag.end() or bool(tag["end"])
        if name and not _is_tag(name, tag["rest"] or "", closed):
            continue
        sure |= closed or not name or name in _SURE or bool((tag["rest"] or "").strip(" \n\t/"))
        parts.append(_escaped(text[at : tag.start()]))
        if tag["end"] and not begun[name]:  # it ends what began before the text: to a parser it is nothing
            parts.append("<br>" if name in _BLOCKS else "")
        else:
            begun[name] += -1 if tag["end"] else 1
            parts.append(_rebuilt(name, tag["rest"], closed) if name else "")
        at = tag.end()
    return "".join([*parts, _escaped(text[at:])]) if sure else ""


def _without_comments(text: str) -> tuple[str, bool]:
    """Return a text without comments and the marks of CDATA, and whether it had a comment; in time linear in its length."""
    if "<![CDATA[" in text:
        text = text.replace("]]>", "")
    first, *rest = text.split("<!--")
    if not rest:
        return text, False
    parted = [part.partition("-->") for part in rest]
    return first + "".join(after if end else f"<!--{before}" for before, end, after in parted), "-->" in text


def _is_tag(name: str, rest: str, closed: bool) -> bool:
    """Tell whether what looks like a tag is one; `rest` is what follows the name of a start tag."""
    if name not in _NAMES:  # <o:p>, <jats:sub>, <my-element>
        return any(c in name for c in ":-") and (closed or rest.endswith("/"))
    given = _ATTRIBUTE.findall(rest)
    quoted = any(value[:1] in ("'", '"') for _, value in given)
    named = any(key.lower() in _KNOWN or "-" in key or ":" in key for key, _ in given)
    return not given or quoted or named or (closed and name not in _SURE)


def _rebuilt(name: str, rest: str | None, closed: bool) -> str:
    """Return a tag that no parser misreads: quotation marks that stay open, and <script/>, would swallow what follows."""
    name = name.rpartition(":")[2]
    name = _INSTEAD.get(name, name)
    if rest is None:
        return f"</{name}>"
    if rest.endswith("/") and name not in _NEVER_CLOSED:
        return f"<{name}></{name}>"
    return f"<{name}>" if closed or name not in HTML.left_out else ""


def _escaped(text: str) -> str:
    return html.escape(_ENTITY.sub(lambda found: html.unescape(found[0]), text), quote=False)


def _parsed(source: str) -> str:
    tree = etree.fromstring(f"<div>{source}</div>".encode(), _PARSER)
    if tree is None or _PARSER.error_log.filter_from_fatals():  # thousands of elements inside each other
        return html.unescape(re.sub("<[^>]*>", "\n", source)).strip()
    return text_of(tree, _FRAGMENT)
