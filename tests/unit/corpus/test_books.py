"""OpenStax's archives give passages, questions and terms in the order of the books, and say when they hold another text."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from jmlr.corpus.records import Reading, read_records, records_of
from jmlr.options.cards import read_card
from jmlr.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = """<col:collection xmlns="http://cnx.rice.edu/collxml" xmlns:md="http://cnx.rice.edu/mdml" xmlns:col="http://cnx.rice.edu/collxml">
<metadata><md:title>Small Book</md:title></metadata><col:content><col:module document="m3"/><col:subcollection><md:title>Unit</md:title><col:content>
<col:subcollection><md:title>Joints</md:title><col:content><col:module document="m2"/><col:module document="m1"/></col:content></col:subcollection>
</col:content></col:subcollection></col:content></col:collection>"""
GOUT = """<document xmlns="http://cnx.rice.edu/cnxml" xmlns:m="http://www.w3.org/1998/Math/MathML"><title>Gout</title>
<metadata xmlns:md="http://cnx.rice.edu/mdml"><md:title>Gout</md:title><md:abstract><para>You will learn this.</para></md:abstract></metadata>
<content><para id="p1">CO<sub>2</sub> and <term>urate</term>
  are <emphasis effect="italics">not</emphasis> alike.<footnote>A note.</footnote></para>
<section id="aims" class="learning-objectives"><title>Learning Objectives</title><para>Know gout.</para></section>
<section id="s1"><title>Care</title><para>Rest.</para><list><item>cold</item>
<item>dose <m:math><m:mfrac><m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac></m:math></item></list>
<figure><media alt="a toe"><image src="x.jpg"/></media><caption>A toe.</caption></figure>
<table><title>Drugs</title><tgroup cols="2"><thead><row><entry>Drug</entry><entry>mg</entry></row></thead>
<tbody><row><entry>A</entry><entry>5</entry></row></tbody></tgroup></table>
<exercise id="e0"><problem><para>Not a passage?</para></problem></exercise>
<section id="s2"><title>Drugs</title><para>Colchicine.</para></section></section>
<section class="references"><title>References</title><para>Doe.</para></section>
<section class="multiple-choice"><title>Review Questions</title>
<exercise id="e1"><problem><para>What is 10<sup>3</sup>?</para><list list-type="enumerated"><item>a tenth</item>
<item>a <emphasis>thousand</emphasis></item></list></problem>
<solution><label/><para>b</para></solution></exercise>
<exercise id="e2"><problem><para>Select all.</para><list><item>x</item><item>y</item></list></problem><solution><para>A and B</para></solution></exercise>
<exercise id="e3"><problem><para>No key.</para><list><item>x</item><item>y</item></list></problem></exercise></section>
<section class="free-response"><exercise id="f1"><problem><para>Why?</para></problem><solution><para>Because.</para></solution></exercise></section></content>
<glossary><definition id="d1"><term>gout</term><meaning>a disease of joints</meaning></definition></glossary></document>"""
INTRODUCTION = '<document xmlns="http://cnx.rice.edu/cnxml"><title>Introduction</title><content><para>Joints move.</para></content></document>'
PREFACE = INTRODUCTION.replace("<document", '<document class="preface"')


def archive(path: Path, modules: dict[str, str], collection: str = COLLECTION) -> Path:
    files = {**({"r/collections/small.collection.xml": collection} if collection else {}), "r/LICENSE": "x"}
    files |= {f"r/modules/{m}/index.cnxml": text for m, text in modules.items()}
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    unused = INTRODUCTION.replace("Joints move.", "In no book.")
    return archive(tmp_path / "osbooks.tar.gz", {"m1": GOUT, "m2": INTRODUCTION, "m3": PREFACE, "m9": unused})


def test_a_book_gives_a_passage_a_section_in_its_order(book: Path) -> None:
    found = [r.fields for r in read_records(book, Reading(format="cnxml"))]
    assert [(r["id"], r["title"], r["text"]) for r in found] == [
        ("m2", "Introduction", "Joints move."),
        ("m1", "Gout", "CO2 and urate are not alike.\nA note."),
        ("m1#s1", "Gout: Care", "Rest.\n\ncold\ndose 1/2\n\nA toe.\n\nDrugs\n\nDrug | mg\nA | 5"),
        ("m1#s2", "Gout: Care: Drugs", "Colchicine."),
    ]
    about = {k: found[1][k] for k in ("section", "module_title", "chapter", "book")}
    assert about == {"section": "m1", "module_title": "Gout", "chapter": "Unit > Joints", "book": "Small Book"}


def test_exercises_of_a_class_come_with_options_and_key(book: Path) -> None:
    first, several, without = (r.fields for r in read_records(book, Reading(format="cnxml", records="multiple-choice")))
    assert (first["id"], first["question"], first["answer"], first["gold_section"]) == (
        "m1#e1",
        "What is 10^3?",
        "B",
        "m1",
    )
    assert first["options"] == {"A": "a tenth", "B": "a thousand"}
    assert (several["answer"], without["answer"]) == ("A and B", "")
    [open_one] = read_records(book, Reading(format="cnxml", records="free-response"))
    assert (open_one.fields["question"], open_one.fields["answer"]) == ("Why?", "Because.")
    assert "options" not in open_one.fields
    with pytest.raises(UserError, match=r"no exercises of the class 'multiple_choice' .did you mean 'multiple-choice'"):
        list(read_records(book, Reading(format="cnxml", records="multiple_choice")))


def test_glossaries_are_terms_with_definitions(book: Path, tmp_path: Path) -> None:
    [term] = read_records(book, Reading(format="cnxml", records="glossary"))
    assert (term.fields["term"], term.fields["definition"], term.fields["section"]) == (
        "gout",
        "a disease of joints",
        "m1",
    )
    bare = archive(tmp_path / "bare.tar.gz", {"m2": INTRODUCTION}, collection="")
    assert [r.fields["id"] for r in read_records(bare, Reading(format="cnxml"))] == ["m2"]
    with pytest.raises(UserError, match="its modules have no glossary"):
        list(read_records(bare, Reading(format="cnxml", records="glossary")))


def test_a_damaged_archive_is_said_in_one_line(tmp_path: Path) -> None:
    for name, modules, said in (
        ("less.tar.gz", {"m1": GOUT}, "m3 is in a collection, and there is no such module"),
        (
            "bad.tar.gz",
            {"m1": "<document>", "m2": INTRODUCTION, "m3": PREFACE},
            "bad.tar.gz: m1: malformed XML at line 1",
        ),
        ("none.tar.gz", {}, "holds no index.cnxml"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            list(read_records(archive(tmp_path / name, modules), Reading(format="cnxml")))
        assert "\n" not in str(caught.value)


def test_another_text_is_told_by_the_digest_of_the_records_whatever_their_order(book: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the digest of its records is") as caught:
        list(records_of("small", tmp_path, "*.tar.gz", Reading(format="cnxml", texts_sha256="0" * 64)))
    digest = str(caught.value).partition("records is ")[2][:64]
    assert len(list(records_of("small", tmp_path, "*.tar.gz", Reading(format="cnxml", texts_sha256=digest)))) == 4
    turned = COLLECTION.replace(
        '<col:module document="m2"/><col:module document="m1"/>',
        '<col:module document="m1"/><col:module document="m2"/>',
    )
    archive(book, {"m1": GOUT, "m2": INTRODUCTION, "m3": PREFACE}, turned)
    assert len(list(records_of("small", tmp_path, "*.tar.gz", Reading(format="cnxml", texts_sha256=digest)))) == 4
    archive(book, {"m1": GOUT.replace("Rest.", "Run."), "m2": INTRODUCTION, "m3": PREFACE})
    with pytest.raises(UserError, match="another edition"):
        list(records_of("small", tmp_path, "*.tar.gz", Reading(format="cnxml", texts_sha256=digest)))


@pytest.mark.real
@pytest.mark.skipif("JMLR_DATA" not in os.environ, reason="JMLR_DATA is not set: the folder with data/ and models/")
@pytest.mark.parametrize("card", ["corpora/openstax", "datasets/openstax_review", "datasets/openstax_glossary"])
def test_the_public_archives_hold_what_the_cards_say(card: str) -> None:
    entry = read_card(ROOT / f"config/{card}.yaml")["entry"]
    reading = Reading(**{k: v for k, v in entry.items() if k in Reading.__annotations__})
    folder = Path(os.environ["JMLR_DATA"]) / "data" / "openstax_raw"
    found = [
        r.fields for r in records_of("openstax", folder, entry["file"], reading)
    ]  # raises where the digest is another
    assert (
        len(found)
        == {"corpora/openstax": 5709, "datasets/openstax_review": 1158, "datasets/openstax_glossary": 5149}[card]
    )
    assert len({r["id"] for r in found}) == len(found)
    if card == "datasets/openstax_review":
        assert {r["id"] for r in found if r["answer"] not in r["options"]} == set(entry["exclude"]["id"])
