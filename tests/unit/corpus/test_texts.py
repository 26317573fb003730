"""Documents as they are kept become records with titles; text is cleaned without losing what looks like a tag."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from jmlr.corpus.records import Reading, read_records
from jmlr.corpus.texts import read_document, sections, unwrapped
from jmlr.runtime.errors import UserError

NXML = """<?xml version="1.0"?><book-part-wrapper><title-group><title>Acute <i>Gout</i></title></title-group>
<sec><title>Care</title><p>Rest &amp; drink.</p><list><list-item><p>Cold</p></list-item></list>
<sec><title>Drugs</title><p>Colchicine.</p></sec></sec></book-part-wrapper>"""


def test_markdown_becomes_a_record_a_section() -> None:
    found = list(read_document("kidney/gout.md", "# Gout\n\nIt hurts.\n\n### Care\n\nRest.\n\n## Empty\n", ""))
    assert [(r["id"], r["title"], r["text"]) for r in found] == [
        ("kidney/gout.md#1", "Gout", "It hurts."),
        ("kidney/gout.md#2", "Gout: Care", "Rest."),
    ]
    assert {r["section"] for r in found} == {"kidney/gout.md"}


def test_lines_of_markdown_end_at_line_ends_alone() -> None:
    assert list(sections("# A\r\nx\u2028# y\x0c# z\x85w\n## B")) == [
        ([], ""),
        (["A"], "x\u2028# y\x0c# z\x85w"),
        (["A", "B"], ""),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_front_matter_gives_the_title_and_no_text(end: str) -> None:
    text = "---\ntitle: Gout\ntags: [x]\ndate: 2020-13-45\n---\n\nIt hurts.\n\n# Gout\n\nA joint.\n\n## Care\n\nRest.\n"
    found = read_document("g.md", text.replace("\n", end), "")
    assert [(r["title"], r["text"]) for r in found] == [
        ("Gout", "It hurts."), ("Gout", "A joint."), ("Gout: Care", "Rest."),
    ]  # fmt: skip
    assert [r["title"] for r in read_document("g.md", "---\ntitle: No\n...\nx", "")] == ["No"]
    assert [r["title"] for r in read_document("g.md", "---\ntags: [x]\n---\nx", "")] == ["g"]
    assert list(read_document("g.md", "---\ntitle: Gout\n---\n", "")) == []


@pytest.mark.parametrize(
    "text",
    [
        "---\nA rule above and below.\n---\nx",
        "---\n- a\n- list\n---\nx",
        "---\na: [\n---\nx",
        "---\ntitle: it never ends",
        "x\n\n---\ntitle: Gout\n---",
        "---\n---\nx",
    ],
)
def test_what_is_no_mapping_between_rules_at_the_top_is_text(text: str) -> None:
    [record] = read_document("g.md", text, "")
    assert (record["title"], record["text"]) == ("g", text)


def test_a_line_alone_above_a_line_of_signs_is_a_heading() -> None:
    text = "Gout\n====\nIt hurts.\n\nIts care\n---\nRest.\n```\n\nx\n--\n```"
    assert list(sections(text)) == [
        ([], ""),
        (["Gout"], "It hurts."),
        (["Gout", "Its care"], "Rest.\n```\n\nx\n--\n```"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Two lines\nof text\n---\nx", "a\n\n---\nx", "- item\n---\nx", "| a |\n---\nx", "drug   dose\n----\nx", "a\n-\nb", "a\n--- ---\nb",
    ],
)  # fmt: skip
def test_rules_tables_and_lists_make_no_heading(text: str) -> None:
    assert list(sections(text)) == [([], text)]


def test_text_from_pdf_is_unwrapped_over_pages() -> None:
    text = "Gout is a dis-\nease of the\njoints and so-\n called\n\f  12\nIts cause.\n\nNew one.\n"
    assert unwrapped(text) == "Gout is a disease of the joints and socalled Its cause.\n\nNew one."
    [record] = read_document("acute_gout.txt", text, "")
    assert (record["id"], record["title"]) == ("acute_gout.txt", "acute gout")
    assert list(read_document("empty.txt", " \n", "")) == []


def test_bookshelf_xml_becomes_a_record_a_section() -> None:
    found = list(read_document("article-1.nxml", NXML, ""))
    assert [(r["title"], r["text"]) for r in found] == [
        ("Acute Gout: Care", "Rest & drink.\n\nCold"),
        ("Acute Gout: Care: Drugs", "Colchicine."),
    ]
    with pytest.raises(UserError, match=r"a.nxml: malformed XML"):
        list(read_document("a.nxml", "<a>", "a.nxml"))


def test_an_archive_is_read_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "books.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("b/one.nxml", NXML), ("b/two.txt", "Two."), ("b/picture.png", "x")):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    found = list(read_records(path))
    assert [r.fields["id"] for r in found] == ["b/one.nxml#1", "b/one.nxml#2", "b/two.txt"]
    assert found[2].where.endswith("books.tar.gz: b/two.txt")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"books.tar.gz: .*truncated or damaged archive"):
        list(read_records(path))


def test_a_gzipped_document_is_read_as_the_plain_one(tmp_path: Path) -> None:
    for name, text in (
        ("acute_gout.nxml", NXML),
        ("care.md", "# Gout\n\n## Care\n\nRest.\n"),
        ("my_notes.txt", "Gout.\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        plain, zipped = ([r.fields for r in read_records(tmp_path / n)] for n in (name, f"{name}.gz"))
        assert zipped == plain
        folder = next(read_records(tmp_path / f"{name}.gz", name=f"kidney/{name}.gz")).fields
        assert (folder["section"], folder["title"]) == (f"kidney/{name}", plain[0]["title"])


def test_other_encodings_are_read_when_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("id,text\n1,fièvre – 38 °C\n".encode("cp1252")))
    assert next(read_records(path, Reading("cp1252"))).fields["text"] == "fièvre – 38 °C"
    with pytest.raises(UserError, match=r"line 2: not UTF-8 .* or give its 'encoding'"):
        list(read_records(path))
    with pytest.raises(UserError, match="unknown encoding 'utf-9'"):
        read_records(path, Reading("utf-9"))
    path = tmp_path / "b.jsonl"
    path.write_bytes('{"id": 1}\n{"id": 2}\n'.encode("utf-16"))
    assert [r.fields["id"] for r in read_records(path, Reading("utf-16"))] == [1, 2]


def test_json_objects_of_objects_and_arrays_inside_are_records(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ('{"7": {"q": 1}, "8": {"q": 2}}', '{\n "7": {"q": 1},\n "8": {"q": 2}\n}'):
        path.write_text(text)
        found = list(read_records(path))
        assert [r.fields for r in found] == [{"_key": "7", "q": 1}, {"_key": "8", "q": 2}]
        assert found[1].where.endswith("a.json: key '8'")
    path.write_text('{"questions": [{"q": 1}, {"q": 2}]}')
    assert [r.fields["q"] for r in read_records(path)] == [1, 2]
    path.write_text('{"q": 1}\n')
    assert [r.fields for r in read_records(path)] == [{"q": 1}]


def test_marked_up_files_and_archives_of_them_are_read_by_their_names_or_a_format(tmp_path: Path) -> None:
    latin = NXML.replace('"1.0"', '"1.0" encoding="ISO-8859-1"').replace("Colchicine", "Colchicine à").encode("latin-1")
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(latin))
    assert [r.fields["text"] for r in read_records(tmp_path / "a.xml.gz")][1] == "Colchicine à."
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("in/a.xml", latin)
        archive.writestr("in/b.htm", "<title>Gout</title><p>It <b>hur</b>ts.</p>")
    found = [(r.fields["id"], r.fields["title"]) for r in read_records(tmp_path / "all.zip")]
    assert found == [
        ("in/a.xml#1", "Acute Gout: Care"),
        ("in/a.xml#2", "Acute Gout: Care: Drugs"),
        ("in/b.htm", "Gout"),
    ]
    (tmp_path / "export").write_text("<TEI><p>CO<sub>2</sub></p></TEI>")
    [record] = read_records(tmp_path / "export", Reading(format="jats"))
    assert record.fields["text"] == "CO2"
    (tmp_path / "cut.xml.gz").write_bytes(gzip.compress(latin * 99)[:-40])
    with pytest.raises(UserError, match=r"cut.xml.gz: truncated gzip file|malformed XML"):
        list(read_records(tmp_path / "cut.xml.gz"))
