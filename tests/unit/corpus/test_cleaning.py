"""HTML becomes text without splitting words, and what only looks like HTML stays as it is."""

from __future__ import annotations

import re
import string
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jmlr.corpus.cleaning import plain

PLAIN = [
    "p<0.05 and n>3",
    "a <b and c> d",
    "a<b>c, x<i>y",
    "IL-2 < 5 & > 3",
    "if x<p and p>y, then <small but significant> changes",
    "given at <time> on <date> by <name>",
    "mail <me@example.org> or see <https://example.org/a-b>",
    "SpO2 <90%, pH<7.35; HbA1c>=6.5%; <LLN; 5<x<7",
    "<redacted>x</redacted> and <UNK>",
    "AT&T, R&D, Q&A; &copy without its semicolon, &foo; that is none",
    "A -> B --> C <- D <-- E <-> F",
    '<a href=" Combination Therapy (ACT) should',
    "Na+ & K+\r\n\tCl-",
    "# Heading\n\n* a  b\n\n```x```\n",
    "Ângstrom â la carte Ï",
    "un café–bar, ‘São’, «Él» à “5 µg”, ÁRBOL…",
    "<3",
    "",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_html_is_not_touched(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "text", [t for t in PLAIN if "</" not in t and '"' not in t and not re.search("<(b|i|time)>", t)]
)
def test_what_is_no_html_stays_within_html(text: str) -> None:
    assert plain(f"<p>{text}</p><p>end</p>") == f"{text.replace(chr(13), '').strip()}\n\nend".strip()


def test_a_tag_that_stays_open_is_one_where_the_text_is_html_anyway() -> None:
    assert plain("<p>A text that was cut: <strong>No") == "A text that was cut: No"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<p>Fever &gt; 38&nbsp;&deg;C</p>", "Fever > 38 °C"),
        ("CO<sub>2</sub>, 10<sup>9</sup>/L, <i>M</i><sub>m</sub>PPOX, <em>in vivo</em>, un<b>bold</b>ly", "CO2, 10^9/L, MmPPOX, in vivo, unboldly"),
        ("<sup>13</sup>C-urea (<i>H. pylori</i>)", "13C-urea (H. pylori)"),
        ("10<sup>&minus;3</sup> mol, 2 &times; 10<sup> 6</sup>, kg/m<sup>2</sup>", "10^\u22123 mol, 2 \u00d7 10^ 6, kg/m2"),
        ("Ca<sup>2+</sup>, 3<sup>rd</sup>", "Ca2+, 3rd"),
        ("<math><msup><mn>10</mn><mn>9</mn></msup></math> and <math><msup><mi>x</mi><mn>2</mn></msup></math>", "10^9 and x2"),
        ("<ul><li>rest<li>fluids</ul>then <b>go</b>", "rest\nfluids\n\nthen go"),
        ("<p>one</p>\n  <p>two</p><div>three</div>four<br>five<br/>six", "one\n\ntwo\n\nthree\n\nfour\nfive\nsix"),
        ("<dl><dt>Gout<dd>a disease</dl>", "Gout\na disease"),
        ("<table><tr><th>Drug<th>Dose<tr><td><p>A</p><td>5&nbsp;mg</table>", "Drug | Dose\nA | 5 mg"),
        ("<td nowrap>a</td><td>b</td>", "a | b"),
        ("The <abbr title=\"World > Health\">WHO</abbr> on <time datetime='2020-01-01'>New Year</time>", "The WHO on New Year"),
        ("<dfn id=x>Gout</dfn> <mark>is</mark> <kbd>bad</kbd><wbr>ly <bdi>so</bdi>", "Gout is badly so"),
        ("a <!-- hidden <b>comment</b> --> b<!-- and\nmore -->", "a  b"),
        ("a<script type='x'>if (a<b && c>d) { x(\"</p>\") }</script>b<style>p > a {color: red}</style>c", "abc"),
        ("x <svg viewBox='0 0 9 9'><title>icon</title><path d='M0 0'/></svg>y", "x y"),
        ("<input disabled> Yes <option selected>No</option>", "Yes\nNo"),
        ("<p data-v-1f2 aria-hidden=true my-attr>x</p>", "x"),
        ("<font color=red size=+1>red</font> <center>mid</center><strike>no</strike> <u>so</u>", "red\n\nmid\n\nno so"),
        ("<P CLASS=MsoNormal><o:p>&nbsp;</o:p>Word<o:p/></P><![if !supportLists]>1.<![endif]>", "Word\n\n1."),
        ("<jats:title>Aim</jats:title><jats:p>H<jats:sub>2</jats:sub>O</jats:p>", "Aim\n\nH2O"),
        ("<my-note>kept</my-note> <x-y/>too", "kept too"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac><mi>x</mi></math>", "1/2x"),
        ("<b>p<0.05</b>, a <b and c> d; n<3", "p<0.05, a <b and c> d; n<3"),
        ("<a href=x\"\">t</a> <a href=\"y>u</a> <a href='z'class='w'>v</a>", "t u v"),
        ('<a href="x">link</a> <img src=y.png/> <img alt="a>b" src="c">end', "link  end"),
        ("<iframe src=x> rest <script src=y /> <p>stays", "rest\n\nstays"),
        ("<h2>What is it?</h2>It hurts.<hr>End", "What is it?\n\nIt hurts.\n\nEnd"),
        ("<![CDATA[<p>x</p>]]>", "x"),
        ("<!DOCTYPE html><html><head><title>T</title></head><body>x</body></html>", "x"),
        ("a case.</li>The next</b>one.</p><p>End</p>", "a case.\nThe nextone.\n\nEnd"),
        ("<p></p>", ""),
    ],
)  # fmt: skip
def test_html_becomes_text(text: str, clean: str) -> None:
    assert plain(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("he said â€œnoâ€\x9d to 5 Âµg", "he said “no” to 5 µg"),
        ("SÃ£o Paulo, Ð´Ð°, Å\x82ódÅº", "São Paulo, да, łódź"),
        ("36.8Â°C, the patientâ€™s naÃ¯ve Î±-cell", "36.8°C, the patient’s naïve α-cell"),
        ("hyper\u00adtension\u200b and\u00a0so\ufeff", "hypertension and so"),
        ("a\x00b\x07c\x1b\x7f\tkept\nkept", "abc\tkept\nkept"),
        ("the patient\x92s \x93word\x94 \x81", "the patient’s “word” "),
        ("<p>a\x00</p>", "a"),
        (
            "&lt;b&gt; &amp;lt; &#946;-cell &#x3b2; &nbspx &nbsp y &lsqb;1&rsqb; &#146;",
            "<b> &lt; β-cell β &nbspx   y [1] ’",
        ),
    ],
)
def test_damaged_invisible_and_escaped_characters_are_put_right(text: str, clean: str) -> None:
    assert plain(text) == clean


@given(st.text(st.sampled_from(string.ascii_lowercase + " .,;<>=/'\"&!-0123456789\n²µ≥°é中"), max_size=60))
@example("<b and c>")
@settings(max_examples=500, deadline=None)
def test_text_without_a_tag_of_html_comes_through_unchanged(text: str) -> None:
    for sign in ("</", "<!", "/>", ">", "<?"):  # without a '>' there is no tag, whatever else there is
        text = text.replace(sign, " ") if sign != "</" else text
    text = text.replace("&", "& ")
    assert plain(text) == text


@given(st.lists(st.text(st.sampled_from("abcxyz <>&=\"'0159.,αβ中"), max_size=20), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_escaped_text_in_html_comes_out_as_it_went_in(texts: list[str]) -> None:
    from html import escape

    page = "".join(f"<p>{escape(t)}<b></b></p>" for t in texts)
    assert plain(page) == "\n\n".join(t.strip() for t in texts if t.strip())


@given(st.text(max_size=80))
@settings(max_examples=500, deadline=None)
def test_no_text_makes_it_fail_or_grow(text: str) -> None:
    assert len(plain(text)) <= 2 * len(text) + 4


@pytest.mark.parametrize(
    "text", ["<!--" * 20_000, "<a " * 20_000, "<a b='" * 20_000, "<p " + "b=c " * 20_000, "<a " + "b" * 90_000]
)
def test_long_damaged_markup_takes_no_long_time(text: str) -> None:
    begun = time.process_time()
    plain(text)
    assert time.process_time() - begun < 5


def test_elements_inside_each_other_without_end_lose_no_text() -> None:
    assert plain("<div>" * 5000 + "kept" + "</div>" * 5000) == "kept"
