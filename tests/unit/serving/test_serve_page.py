"""The page in a real browser: asked, changed, shared, by mouse and keyboard, at the width of a phone, in both schemes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from browser import Browser, find

CHROMIUM = find()
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH")
DONE = "document.querySelectorAll('.answer').length === {n} && [...document.querySelectorAll('.answer')].every(a => a.dataset.done)"
EVIL = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def base(served: Any) -> Iterator[str]:
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(CHROMIUM or "", tmp_path_factory.mktemp("browser")) as made:
        made.send("Network.enable")
        yield made


def texts(page: Browser, selector: str) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(n => n.textContent)")


def fill(page: Browser, question: str, options: str) -> None:
    page.evaluate(f"document.getElementById('question').value = {json.dumps(question)}")
    page.evaluate(f"document.getElementById('options').value = {json.dumps(options)}")


def test_a_test_question_is_asked_side_by_side_and_a_dropped_passage_changes_the_answer(
    page: Browser, base: str, asked: dict
) -> None:
    page.visit(f"{base}/?id={asked['id']}&rows=plain,jmlr")
    page.until(DONE.format(n=2))
    assert page.evaluate("[...document.querySelectorAll('.answer h2')].map(n => n.firstChild.data)") == [
        "jmlr",
        "plain",
    ]
    assert len(texts(page, ".answer:first-child .shares li")) == len(asked["options"])
    assert len(texts(page, ".answer:first-child .passage")) == 2
    assert all("loss" in t for t in texts(page, ".passage .why"))
    assert texts(page, ".answer:first-child .places"), "the places of a retriever that was trained"
    before = texts(page, ".answer:first-child .share")
    page.click(".answer:first-child .passage button")
    page.until("document.querySelectorAll('.answer:first-child .passage').length === 1")
    page.until(DONE.format(n=2))
    assert texts(page, ".answer:first-child .share") != before
    page.click(".answer:first-child > button")  # as found
    page.until("document.querySelectorAll('.answer:first-child .passage').length === 2")
    page.until(DONE.format(n=2))
    assert texts(page, ".answer:first-child .share") == before


def test_an_edited_passage_is_read_as_edited(page: Browser, base: str, asked: dict) -> None:
    page.visit(f"{base}/?id={asked['id']}&rows=jmlr")
    page.until(DONE.format(n=1))
    before = texts(page, ".share")
    page.click(".passage button:nth-of-type(2)")
    page.evaluate(f"document.querySelector('.passage textarea').value = {json.dumps(asked['options'][1])}")
    page.click(".passage .acts button")
    page.until("document.querySelector('.tag.lost') !== null")
    page.until(DONE.format(n=1))
    assert texts(page, ".passage p")[0] == asked["options"][1]
    assert texts(page, ".share") != before


def test_nothing_of_a_question_or_passage_becomes_markup_or_runs(page: Browser, base: str) -> None:
    page.visit(f"{base}/?rows=jmlr")
    fill(page, EVIL, f"{EVIL}\nb")
    page.click("#ask button.main")
    page.until(DONE.format(n=1))
    page.click(".passage button:nth-of-type(2)")
    page.evaluate(f"document.querySelector('.passage textarea').value = {json.dumps(EVIL)}")
    page.click(".passage .acts button")
    page.until("document.querySelector('.tag.lost') !== null")
    page.until(DONE.format(n=1))
    assert page.evaluate("document.querySelectorAll('main img, #answers script').length") == 0
    assert page.evaluate("document.title") != "run"
    page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = \"document.title='run'\"; document.body.append(s); })()"
    )
    assert page.evaluate("document.title") != "run", "the policy lets no script run that is not the page's"


def test_a_question_of_ones_own_is_asked_by_keyboard_and_shared_behind_the_hash(page: Browser, base: str) -> None:
    page.visit(f"{base}/?rows=written")
    page.press("/", 191)
    assert page.evaluate("document.activeElement.id") == "question"
    page.send("Input.insertText", text="Which finding is expected?")
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13, modifiers=2)
    page.until(DONE.format(n=1))
    link = page.evaluate("location.href")
    head, _, tail = link.partition("#")
    assert "finding" not in head, "what stands behind # is sent nowhere"
    assert "finding" in tail
    page.visit(link)
    page.until(DONE.format(n=1))
    assert page.evaluate("document.getElementById('question').value") == "Which finding is expected?"


@pytest.mark.parametrize("path", ["/?id={id}&rows=plain,jmlr", "/browse"])
def test_a_page_fits_a_phone_and_has_two_schemes(page: Browser, base: str, asked: dict, path: str) -> None:
    try:
        page.send("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
        page.visit(base + path.format(id=asked["id"]))
        page.until(DONE.format(n=2) if "id" in path else "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        colours = []
        for scheme in ("light", "dark"):
            page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert colours == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
    finally:
        page.send("Emulation.clearDeviceMetricsOverride")
        page.send("Emulation.setEmulatedMedia", features=[])


def test_a_server_that_is_gone_is_said(page: Browser, base: str) -> None:
    page.visit(f"{base}/?rows=jmlr")
    page.evaluate("window.fetch = () => Promise.reject(new Error('no connection'))")
    fill(page, "Why?", "")
    page.click("#ask button.main")
    page.until("document.querySelector('.answer h2 .bad') !== null")
    assert "no connection" in texts(page, ".answer h2 .bad")[0]
