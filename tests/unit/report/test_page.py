"""The report in a real browser: whole without a network, on a phone, on paper, by keyboard, in the light and in the dark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from browser import Browser, find
from jmlr.options import ReportOptions
from jmlr.stages.report import report

PROGRAM = find()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium or google-chrome on PATH"),
]
AXE = Path(__file__).resolve().parents[3] / ".axe/axe.min.js"
INCH, MARGIN_MM = 96, 14  # CSS pixels; of `@page` in page.css
PAPERS = {"A4": 210 / 25.4, "Letter": 8.5}  # inches
# The contrast of a text with what is painted behind it (WCAG 2.2, 1.4.3): the least over all elements with text of their own.
CONTRAST = """(() => {
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = numbers(c).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paint = (e) => getComputedStyle(e).backgroundColor;
  const behind = (e) => !e ? "rgb(255, 255, 255)" : (numbers(paint(e))[3] ?? 1) ? paint(e) : behind(e.parentElement);
  const said = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const own = [...document.querySelectorAll("body *:not(script, option)")];
  const pairs = own.filter((e) => !e.closest("svg") && e.checkVisibility() && said(e))
    .map((e) => [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x));
  return Math.min(...pairs.map(([a, b]) => (a + 0.05) / (b + 0.05)));
})()"""


@pytest.fixture
def file(folders, tmp_path) -> Path:
    report(tmp_path / "out", **folders.arguments(), options=ReportOptions())
    return tmp_path / "out/report.html"


def wear(page: Browser, width: int, scheme: str) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.send("Emulation.setDeviceMetricsOverride", **size)
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def test_the_report_needs_no_network_fits_a_phone_and_can_be_read_by_keyboard_in_both_schemes(file, tmp_path):
    colours = set()
    with Browser(PROGRAM, tmp_path) as page:
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                wear(page, width, scheme)
                page.open(file)
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (width, scheme)
                assert page.evaluate("performance.getEntriesByType('resource').length") == 0
                drawn = "[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().width > 120)"
                assert page.evaluate(drawn)
                page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; }); 0")
                assert page.evaluate(CONTRAST) >= 4.5, (width, scheme)
                colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inside = "[...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))"
        assert page.evaluate(inside)
        assert page.evaluate("[...document.querySelectorAll('.wide')].every(e => e.tabIndex === 0 && e.ariaLabel)")
        assert page.evaluate("[...document.querySelectorAll('th')].every(e => e.textContent.trim())")
    assert len(colours) == 2


def test_the_main_result_is_on_the_first_screen_of_a_phone(file, tmp_path):
    with Browser(PROGRAM, tmp_path) as page:
        wear(page, 390, "light")
        page.open(file)
        bottom = page.evaluate("document.querySelector('.finding p').getBoundingClientRect().bottom")
        assert 0 < bottom < 844
        assert "joint training gained" in page.evaluate("document.querySelector('.finding p').textContent")


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_cut_off_on_paper(file, tmp_path, paper):
    width = int(PAPERS[paper] * INCH - 2 * MARGIN_MM / 25.4 * INCH)
    with Browser(PROGRAM, tmp_path) as page:
        wear(page, width, "light")
        page.send("Emulation.setEmulatedMedia", media="print")
        page.open(file)
        cut = "!e.closest('svg *') && e.getBoundingClientRect().right > innerWidth + 1"
        beyond = page.evaluate(f"[...document.querySelectorAll('body *')].filter(e => {cut}).length")
        assert beyond == 0
        assert page.evaluate("[...document.querySelectorAll('.wide')].every(e => e.scrollWidth <= e.clientWidth + 1)")
        shown = (
            "[...document.querySelectorAll('details:not(#list *)')].every(d => d.lastElementChild.checkVisibility())"
        )
        assert page.evaluate(shown)  # what is folded on a screen stands open
        assert page.evaluate("[...document.querySelectorAll('#filter, #list, nav')].every(e => !e.checkVisibility())")


def test_questions_are_filtered_by_who_is_right_by_the_place_of_gold_and_by_words(file, tmp_path):
    def choose(**values: str) -> str:
        for name, value in values.items():
            page.evaluate(f"document.getElementById('filter').elements.{name}.value = {json.dumps(value)}; 0")
        page.evaluate("document.getElementById('filter').dispatchEvent(new Event('input')); 0")
        return page.evaluate("document.getElementById('count').textContent")

    with Browser(PROGRAM, tmp_path) as page:
        page.open(file)
        data = json.loads(page.evaluate("document.getElementById('asked').textContent"))
        right = [[a[0] == q["gold"] for a in q["answers"]] for q in data["questions"]]
        gained = sum(joint and not rag for _, rag, joint in right)
        assert choose(outcome="gained").startswith(f"{gained} of 40 questions")
        assert choose(outcome="both wrong").startswith(f"{sum(not (joint or rag) for _, rag, joint in right)} of 40")
        assert choose(first="0", second="1", outcome="lost").startswith(
            f"{sum(c and not r for c, r, _ in right)} of 40"
        )
        places = [q["places"][2] for q in data["questions"]]
        wanted = sum(p[0] != 1 and p[0] == 0 and p[1] == 1 for p in places)
        asked = {"first": "1", "second": "2", "outcome": "", "before": "missing", "round": "1", "after": "first"}
        assert choose(**asked).startswith(f"{wanted} of 40 questions")
        assert choose(before="", after="", words="question 33?").startswith("1 of 40 questions")
        page.click("#list summary")
        page.until("document.querySelector('#list .pair') !== null")
        shown = page.evaluate("document.querySelector('#list details').textContent")
        assert "<b>Text 33</b> gold p33" in shown  # as text
        assert "Place of the gold passage, JMLR: before training: " in shown
        assert choose(words="").startswith("40 of 40 questions; the first 20 are shown")
        page.click("#more")
        assert page.evaluate("document.querySelectorAll('#list details').length") == 40


@pytest.mark.skipif(not AXE.with_name(".made").is_file(), reason="no .axe: `make axe` brings axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(file, tmp_path, scheme):
    with Browser(PROGRAM, tmp_path) as page:
        for width in (1280, 390):
            wear(page, width, scheme)
            page.open(file)
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; }); 0")
            page.evaluate(AXE.read_text() + "; 0")
            told = "found.violations.map((v) => `${v.id}: ${v.nodes[0].html}`)"
            page.evaluate(f"axe.run().then((found) => {{ window.found = {told}; }}); 0")
            page.until("window.found !== undefined")
            assert page.evaluate("window.found") == []
