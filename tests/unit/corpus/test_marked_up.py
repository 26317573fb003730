"""The field's XML and web pages become records: no paragraph is lost, no word is split, no file outside is read."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmlr.corpus.texts import KINDS, read_document
from jmlr.runtime.errors import UserError

ARTICLE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD v1.3 20210610//EN" "JATS-archivearticle1-3.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML" article-type="research-article">
<?properties open_access?><!-- a comment -->
<front><journal-meta><journal-title-group><journal-title>J Test</journal-title></journal-title-group></journal-meta>
<article-meta><article-id pub-id-type="pmid">1</article-id>
<title-group><article-title>Urate in <italic>APOE</italic><sup>&#x2212;/&#x2212;</sup> mice<xref ref-type="fn" rid="f"><sup>*</sup></xref></article-title>
<subtitle>A trial</subtitle></title-group>
<contrib-group><contrib><name><surname>Nobody</surname></name></contrib></contrib-group>
<permissions><license><license-p>CC BY</license-p></license></permissions>
<abstract><sec><title>Background:</title><p>CO<sub>2</sub> rises.</p></sec><sec><title>Results</title><p>It fell.</p></sec></abstract>
<abstract abstract-type="summary"><title>Plain words</title><p>Less gout.</p></abstract>
<trans-abstract xml:lang="fr"><p>Moins de goutte.</p></trans-abstract><kwd-group><kwd>gout</kwd></kwd-group></article-meta></front>
<body><p>Outside of any section.</p>
<sec id="s1"><label>1</label><title>Methods</title><p>Cells at 10<sup>9</sup>/L<sup
><xref ref-type="bibr" rid="r1">1</xref>,<xref ref-type="bibr" rid="r2">2</xref></sup>
grew&nbsp;[<xref ref-type="bibr" rid="r3">3</xref>].</p>
<sec><title>Patients</title><list list-type="bullet"><list-item><label>&#8226;</label><p>adults</p></list-item>
<list-item><label>&#8226;</label><p>children</p></list-item></list>
<def-list><def-item><term>BMI</term><def><p>body mass index</p></def></def-item></def-list></sec>
<p>After the section inside.</p></sec>
<sec><title>Results</title>
<table-wrap><label>Table 1</label><caption><title>Doses</title><p>By drug.</p></caption><table><thead><tr><th>Drug</th><th>mg</th></tr></thead>
<tbody><tr><td>A</td><td>5<sup>a</sup></td></tr></tbody></table><table-wrap-foot><fn><p><sup>a</sup>once daily</p></fn></table-wrap-foot></table-wrap>
<fig><label>Figure 1.</label><caption><p>Growth.</p></caption><graphic xlink:href="f1.jpg"/></fig>
<p>Risk <inline-formula><alternatives><tex-math>\\documentclass{minimal}\\begin{document}$\\frac{1}{2}$\\end{document}</tex-math>
<mml:math><mml:mfrac><mml:mn>1</mml:mn><mml:mn>2</mml:mn></mml:mfrac></mml:math></alternatives></inline-formula> of <italic>M</italic><sub>m</sub>PPOX.</p>
<disp-formula><label>(1)</label><mml:math><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mfrac><mml:mrow><mml:mi>a</mml:mi><mml:mo>+</mml:mo><mml:mi>b</mml:mi></mml:mrow><mml:mi>c</mml:mi></mml:mfrac></mml:math></disp-formula>
<boxed-text><caption><title>Box</title></caption><sec><title>Key points</title><p>In the box.</p></sec></boxed-text></sec></body>
<back><ack><p>Thanks.</p></ack><app-group><app><title>Appendix A</title><p>More.</p></app></app-group>
<ref-list><title>References</title><ref id="r1"><mixed-citation>Doe J. <article-title>Old</article-title></mixed-citation></ref></ref-list></back>
<floats-group><fig><label>Figure 2.</label><caption><p>Floating.</p></caption></fig></floats-group>
<sub-article article-type="reply"><front-stub><title-group><article-title>Reply</article-title></title-group></front-stub>
<body><p>We agree.</p></body></sub-article>
</article>"""
TITLE = "Urate in APOE−/− mice: A trial"


def test_an_article_of_pmc_loses_no_paragraph_and_splits_no_word() -> None:
    found = {r["title"]: r["text"] for r in read_document("PMC1.nxml", ARTICLE, "PMC1.nxml")}
    assert found == {
        f"{TITLE}: Abstract": "Background: CO2 rises.\n\nResults: It fell.",
        f"{TITLE}: Plain words": "Less gout.",
        TITLE: "Outside of any section.\n\nFigure 2. Floating.",
        f"{TITLE}: Methods": "Cells at 10^9/L grew [3].\n\nAfter the section inside.",
        f"{TITLE}: Methods: Patients": "• adults\n\n• children\n\nBMI\n\nbody mass index",
        f"{TITLE}: Results": "Table 1 Doses\n\nBy drug.\n\nDrug | mg\nA | 5a\n\naonce daily\n\nFigure 1. Growth.\n\n"
        "Risk 1/2 of MmPPOX.\n\n(1) x=(a+b)/c\n\nBox",
        f"{TITLE}: Results: Key points": "In the box.",
        f"{TITLE}: Appendix A": "More.",
        f"{TITLE}: Reply": "We agree.",
    }


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<article><front><article-meta><title-group><article-title>A <bold>case</bold></article-title></title-group></article-meta></front>"
         "<body><p>One.</p><p>Two.</p></body></article>", [("A case", "One.\n\nTwo.")]),
        ("<article><body><p>No front.</p></body></article>", [("my file", "No front.")]),
        ("<article><front><article-meta><title-group><article-title>T</article-title></title-group><abstract><p>Only this.</p></abstract>"
         "</article-meta></front></article>", [("T: Abstract", "Only this.")]),
        ('<article xmlns="http://jats.nlm.nih.gov"><body><sec><title>S</title><p>x<sub>1</sub></p></sec></body></article>', [("S", "x1")]),
        ("<book-part-wrapper><collection-meta><title-group><title>StatPearls</title></title-group></collection-meta><book-part><book-part-meta>"
         "<title-group><title>Gout</title></title-group></book-part-meta><body><sec><title>Introduction</title><p>It hurts.</p></sec>"
         "<sec><title>Etiology</title><p>Urate &gt; 7.</p></sec></body><back><ref-list><title>References</title></ref-list></back></book-part>"
         "</book-part-wrapper>", [("Gout: Introduction", "It hurts."), ("Gout: Etiology", "Urate > 7.")]),
        ("<book><book-meta><book-title-group><book-title>Kidney</book-title></book-title-group></book-meta><book-body><book-part><book-part-meta>"
         "<title-group><title>Stones</title></title-group></book-part-meta><body><p>Hard.</p></body></book-part></book-body></book>",
         [("Kidney: Stones", "Hard.")]),
        ("<article><body><p>Text<fn><p>note</p></fn></p><p/><sec><title>Empty</title></sec></body></article>", [("my file", "Text\n\nnote")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".nxml", ".xml"])
def test_other_forms_of_jats_and_bits_are_read(xml: str, expected: list[tuple[str, str]], ending: str) -> None:
    assert [(r["title"], r["text"]) for r in read_document(f"my_file{ending}", xml, "")] == expected


def test_several_articles_in_one_file_are_each_an_article() -> None:
    one = "<article><body><p>{}</p><sec><title>S</title><p>more</p></sec></body></article>"
    text = f"<pmc-articleset>{one.format('A.')}{one.format('B.')}</pmc-articleset>"
    found = list(read_document("set.xml", text, ""))
    assert [(r["id"], r["text"]) for r in found] == [
        ("set.xml#1#1", "A."), ("set.xml#1#2", "more"), ("set.xml#2#1", "B."), ("set.xml#2#2", "more"),
    ]  # fmt: skip
    assert {r["section"] for r in found} == {"set.xml"}


@given(st.lists(st.text("abcαβ<>&é ", min_size=1, max_size=8), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_inline_elements_never_add_or_take_a_character(pieces: list[str]) -> None:
    from html import escape

    names = ("italic", "sub", "sup", "bold", "named-content", "monospace", "sc", "ext-link")
    marked = "".join(f"<{n}>{escape(p)}x</{n}>" for n, p in zip(names, pieces, strict=False))
    [record] = read_document("a.nxml", f"<article><body><p>{marked}</p></body></article>", "")
    assert record["text"] == " ".join("".join(f"{p}x" for p in pieces).split())


PUBMED = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">
<PubmedArticleSet>
<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="1">11</PMID><Article><Journal><JournalIssue><PubDate><Year>2019</Year></PubDate>
</JournalIssue><Title>J Test</Title></Journal><ArticleTitle>CO<sub>2</sub> and <i>H. pylori</i>.</ArticleTitle>
<Abstract><AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">Cells 10<sup>9</sup>/L.</AbstractText>
<AbstractText Label="RESULTS">p &lt; 0.05.</AbstractText><AbstractText Label="UNLABELLED">More.</AbstractText>
<CopyrightInformation>(c) X</CopyrightInformation></Abstract>
<Language>eng</Language><PublicationTypeList><PublicationType UI="D1">Journal Article</PublicationType></PublicationTypeList></Article>
<MeshHeadingList><MeshHeading><DescriptorName UI="D2">Humans</DescriptorName><QualifierName>genetics</QualifierName></MeshHeading></MeshHeadingList>
<OtherAbstract Type="Publisher" Language="fre"><AbstractText>En français.</AbstractText></OtherAbstract></MedlineCitation>
<PubmedData><ReferenceList><Reference><Citation>Old</Citation>
<ArticleIdList><ArticleId IdType="pubmed">99</ArticleId></ArticleIdList></Reference></ReferenceList></PubmedData></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID Version="2">11</PMID><Article><ArticleTitle>Again.</ArticleTitle></Article></MedlineCitation></PubmedArticle>
<PubmedBookArticle><BookDocument><PMID Version="1">12</PMID><Book><BookTitle>GeneReviews</BookTitle></Book><ArticleTitle>A gene</ArticleTitle>
<Abstract><AbstractText>Known.</AbstractText></Abstract></BookDocument></PubmedBookArticle>
<DeleteCitation><PMID Version="1">13</PMID></DeleteCitation>
</PubmedArticleSet>"""


def test_pubmed_gives_one_record_a_citation_with_its_pmid() -> None:
    found = list(read_document("pubmed24n0001.xml", io.BytesIO(PUBMED.encode()), ""))
    assert [(r["id"], r["title"], r["text"]) for r in found] == [
        ("11", "CO2 and H. pylori.", "BACKGROUND: Cells 10^9/L.\n\nRESULTS: p < 0.05.\n\nMore."),
        ("11.2", "Again.", ""),
        ("12", "A gene", "Known."),
    ]
    about = {k: found[0][k] for k in ("journal", "year", "language", "types", "mesh")}
    assert about == {
        "journal": "J Test",
        "year": "2019",
        "language": ["eng"],
        "types": ["Journal Article"],
        "mesh": ["Humans"],
    }


def test_a_large_file_of_pubmed_is_read_in_little_memory() -> None:
    one = PUBMED.partition("<PubmedArticleSet>")[2].partition('<PubmedArticle><MedlineCitation><PMID Version="2"')[0]
    program = f"""
import io, resource
from jmlr.corpus.texts import read_document
class Large(io.RawIOBase):
    blocks = iter([b"<PubmedArticleSet>", *[{one!r}.encode() * 50] * 240, b"</PubmedArticleSet>"])
    def read(self, size=-1):
        return next(self.blocks, b"")
first = 0
for count, record in enumerate(read_document("a.xml", Large(), ""), 1):
    first = first or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, grown_kib = map(int, done.stdout.split())
    assert count == 12_000
    assert grown_kib < 16 << 10, f"{grown_kib / 1024:.1f} MiB more for {len(one) * count / 2**20:.0f} MiB"


MEDQUAD = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="0000001" source="GHR" url="https://ghr.nlm.nih.gov/x"><Focus>gout</Focus><FocusAnnotations><UMLS><CUIs><CUI>C0018099</CUI></CUIs></UMLS></FocusAnnotations>
<QAPairs><QAPair pid="1"><Question qid="0000001-1" qtype="information">What is (are) gout ?</Question><Answer>Gout is a
    disease.

    - It hurts.</Answer></QAPair>
<QAPair pid="2"><Question qid="0000001-2" qtype="treatment">What are the treatments for gout ?</Question><Answer/></QAPair></QAPairs></Document>"""


def test_medquad_gives_questions_and_passages_at_once() -> None:
    first, second = read_document("0000001.xml", MEDQUAD, "")
    assert first == {
        "id": "0000001-1", "title": "gout", "origin": "GHR", "question": "What is (are) gout ?", "subject": "information",
        "answer": "Gout is a disease.\n\n- It hurts.", "text": "Gout is a disease.\n\n- It hurts.", "section": "0000001.xml",
    }  # fmt: skip
    assert (second["id"], second["answer"]) == ("0000001-2", "")


PAGE = """<!DOCTYPE html><html><head><title>Gout | Health</title><script>var a = "<p>no</p>";</script><style>p{}</style></head>
<body><nav><a href="/">Home</a></nav><main><h1>Gout</h1><p>It <b>hur</b>ts.<h2>Care</h2><ul><li>rest<li>CO<sub>2</sub></ul>
<div><h3>Drugs</h3><p>Colchicine&nbsp;&lt; 1 mg.</p></div><h2>Prevention</h2><p>Water.</p></main><footer>Imprint</footer></body></html>"""


@pytest.mark.parametrize("name", ["gout.html", "gout.HTM", "gout.xml"])
def test_a_web_page_becomes_a_record_a_heading(name: str) -> None:
    found = list(read_document(name, PAGE, "", "html" if name.endswith("xml") else ""))
    assert [(r["title"], r["text"]) for r in found] == [
        ("Gout", "It hurts."),
        ("Gout: Care", "rest\nCO2"),
        ("Gout: Care: Drugs", "Colchicine < 1 mg."),
        ("Gout: Prevention", "Water."),
    ]
    assert list(read_document("empty.html", " ", "")) == []


def test_a_web_page_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<html><head><meta charset="iso-8859-1"><title>é</title></head><body><p>fièvre</p></body></html>'.encode(
        "latin-1"
    )
    assert [r["text"] for r in read_document("a.html", io.BytesIO(page), "")] == ["fièvre"]
    xml = '<?xml version="1.0" encoding="ISO-8859-1"?><article><body><p>fièvre</p></body></article>'
    assert [r["text"] for r in read_document("a.xml", io.BytesIO(xml.encode("latin-1")), "")] == ["fièvre"]
    assert [r["text"] for r in read_document("a.xml", xml, "")] == ["fièvre"]  # as it was decoded already


def test_xml_of_another_kind_is_refused_by_its_first_element() -> None:
    with pytest.raises(
        UserError, match=r"a.xml: XML that begins with 'TEI' is not read; 'format' names its kind: cnxml, html"
    ):
        list(read_document("a.xml", "<TEI><p>x</p></TEI>", "a.xml"))
    assert [r["text"] for r in read_document("a.xml", "<TEI><p>x</p></TEI>", "a.xml", "jats")] == ["x"]
    assert set(KINDS) == {"cnxml", "html", "jats", "medquad", "pubmed"}


@pytest.mark.parametrize(
    "damaged", ["<article>", "", "x", "<article><p></article>", "<article>&unknown;</article>", PUBMED[:900]]
)
def test_malformed_xml_is_said_with_its_line(damaged: str) -> None:
    with pytest.raises(UserError, match=r"^a.xml: malformed XML at line \d+: '"):
        list(read_document("a.xml", damaged, "a.xml"))


def test_no_entity_reads_a_file_or_fills_the_memory(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    for system in (secret.as_uri(), "http://127.0.0.1:9/x"):
        text = f'<!DOCTYPE article [<!ENTITY x SYSTEM "{system}">]><article><body><p>a&x;b</p></body></article>'
        with pytest.raises(UserError, match="malformed XML at line 1"):
            list(read_document("a.xml", text, "a.xml"))
    grown = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    text = f'<!DOCTYPE article [<!ENTITY a0 "ha">{grown}]><article><body><p>&a11;</p></body></article>'
    with pytest.raises(UserError, match="entity amplification"):
        list(read_document("a.xml", text, "a.xml"))
    text = '<!DOCTYPE article [<!ENTITY own "its own">]><article><body><p>&own; &ndash; &beta;</p></body></article>'
    assert [r["text"] for r in read_document("a.xml", text, "")] == ["its own – β"]


def test_an_entity_at_the_border_of_two_blocks_is_understood() -> None:
    for shift in range(12):
        text = f"<article><body><p>{'x' * (65_500 + shift)}&nbsp;&beta;y</p></body></article>"
        [record] = read_document("a.xml", text, "")
        assert record["text"].endswith("x βy")
