"""A review page in a real browser: mouse, keyboard, memory, download, and a merge of what it saved."""

from __future__ import annotations

import json
import time

import pytest

from browser import Browser, find
from jmlr.report.review.kit import make_kit
from jmlr.report.review.merge import merge

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium or google-chrome on PATH")


@pytest.fixture
def kit(folders):
    return make_kit(folders.base, ("jmlr", "rag"), seed=0, reviewers=["ann"], questions=3, secret=7, contact="Eve")


@pytest.fixture
def file(kit, tmp_path):
    path = tmp_path / "ann.html"
    path.write_text(kit.pages["ann"], encoding="utf-8")
    return path


def progress(page):
    return page.evaluate("document.getElementById('progress').textContent")


@pytest.mark.slow
def test_a_reviewer_clicks_types_leaves_comes_back_and_saves(kit, file, tmp_path):
    with Browser(PROGRAM, tmp_path) as page:
        page.open(file)
        assert progress(page) == "Question 1 of 3; 0 complete"
        assert page.evaluate("document.querySelectorAll('.side').length") == 2
        for criterion in kit.key["criteria"]:  # by mouse
            page.click(f'fieldset[data-criterion="{criterion}"] input[value="left"]')
        assert progress(page) == "Question 1 of 3; 1 complete"
        page.click("#next")
        for digit in "235":  # by keyboard: both, neither, cannot judge
            page.press(digit)
        assert page.evaluate("document.getElementById('done').hidden")
        page.press("n")
        assert progress(page) == "Question 3 of 3; 2 complete"
        page.press("4")
        page.click("textarea")
        page.press("n")  # a letter of the comment, not a command
        assert progress(page) == "Question 3 of 3; 2 complete"
        for _ in range(20):  # the browser remembers; its memory reaches a new page a moment later
            page.open(file)
            if progress(page) == "Question 1 of 3; 2 complete":
                break
            time.sleep(0.25)
        assert progress(page) == "Question 1 of 3; 2 complete"
        assert page.evaluate("document.querySelector('input[name=overall][value=left]').checked")
        page.click("#save")
        saved = json.loads(page.downloaded("review-ann.json").read_text())
        page.click("#open")
        for digit in "44":
            page.press(digit)
        assert not page.evaluate(
            "document.getElementById('done').hidden"
        )  # all is complete, and whom to send it to is said
        assert "send it to Eve" in page.evaluate("document.getElementById('done').textContent")
    first = kit.key["criteria"][0]
    by_item = sorted(a[first] for a in saved["answers"].values())
    assert by_item == ["both", "left", "right"]
    assert list(saved["comments"].values()) == ["n"]
    result = merge(kit.key, {"review-ann.json": saved})
    assert result["missing_ratings"] == 2
    assert [(r["ratings"], r["unsure"]) for r in result["criteria"]] == [(3, 0), (2, 0), (1, 1)]
    assert [c["text"] for c in result["comments"]] == ["n"]
    item = next(i for i, a in saved["answers"].items() if a[first] == "left")
    assert kit.key["sides"]["ann"][item]["left"] in ("jmlr", "rag")


@pytest.mark.slow
def test_a_page_can_be_filled_in_by_keyboard_alone_and_fits_a_phone(file, tmp_path):
    with Browser(PROGRAM, tmp_path, width=500, height=900) as page:
        page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        page.open(file)
        page.evaluate("document.querySelector('input[name=correctness]').focus()")
        page.press("ArrowRight", 39)  # from Left to both, as in any group of radio buttons
        assert page.evaluate("document.querySelector('input[name=correctness]:checked').value") == "both"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_texts_of_models_never_become_markup(file, tmp_path):
    with Browser(PROGRAM, tmp_path) as page:
        page.open(file)
        assert page.evaluate("document.querySelectorAll('.side li b').length") == 0
        assert page.evaluate("document.querySelector('.side li').textContent").startswith("<b>Text")
