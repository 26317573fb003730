"""The pages: what is asked is answered piece by piece, filters filter, and no text becomes markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jmlr.serving.app import application
from jmlr.serving.http import HEADERS
from jmlr.serving.row import row_of
from jmlr.serving.stored import Answered, Filter, Stored


def told(page: str) -> Any:
    return json.loads(re.findall(r'<script type="application/json" id="told">(.*?)</script>', page, re.S)[0])


def events(answer: Any) -> dict[str, Any]:
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1] == {"end": True}, lines[-1]
    return {key: value for line in lines for key, value in line.items()} | {
        "moves": [line["move"] for line in lines if "move" in line]
    }


def test_every_answer_has_the_headers_and_no_page_a_script_of_its_own(client: Any) -> None:
    for path in ("/", "/browse", "/static/serve.js", "/nothing", "/v1/models"):
        answer = client.get(path)
        assert {k: answer.headers[k] for k in HEADERS} == HEADERS, path
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    page = client.get("/").text
    scripts = re.findall(r"<script([^>]*)>", page)
    assert sorted(scripts) == [' src="/static/serve.js" defer', ' type="application/json" id="told"']
    assert not re.search(r"\son\w+=|style=|https?://", page)


def test_a_question_is_answered_with_passages_losses_and_places(client: Any, asked: Any, served_run: Path) -> None:
    body = {"model": "jmlr", "question": asked["question"], "options": asked["options"], "answer": asked["options"][0]}
    found = events(client.post("/ask", json=body))
    assert len(found["passages"]) == 2
    assert [p["id"] for p in found["said"]["read"]] == [p["id"] for p in found["passages"]]
    losses = found["losses"]
    assert losses["answer"] == asked["options"][0]
    assert len(losses["under"]) == 2
    assert losses["without"] > 0
    rounds = row_of(served_run, "jmlr", 0).rounds
    assert [m["round"] for m in found["moves"]] == list(rounds)
    assert found["moves"][-1]["places"] == [1, 2], "the round that answers found them in this order"
    again = events(client.post("/ask", json=body | {"passages": found["passages"][1:]}))
    assert [p["id"] for p in again["said"]["read"]] == [found["passages"][1]["id"]]
    assert events(client.post("/ask", json=body | {"model": "closed"}))["passages"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"question": " "},
        {"options": [""]},
        {"options": ["x"] * 27},
        {"passages": [{}]},
        {"passages": [{"text": "x"}] * 101},
        {"other": 1},
    ],
)
def test_a_page_s_bad_question_is_refused(client: Any, change: Any) -> None:
    assert client.post("/ask", json={"question": "Why?"} | change).status_code == 422


def test_markup_in_a_question_stays_text(served_run: Path, tmp_path: Path) -> None:
    from jmlr.serving.stored import Question

    rows = {"jmlr": row_of(served_run, "jmlr", 0)}
    app = application(served_run, rows, "jmlr")
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    question = Question("q1", "d", evil, [evil, "b"], 0, "", ["p"])
    pages = next(r.endpoint.__self__ for r in app.routes if getattr(r, "path", "") == "/browse")
    pages.stored = Stored({"q1": question}, {"jmlr": {"q1": Answered(0, True, 0.5, [2, 1])}})
    with TestClient(app, base_url="http://127.0.0.1") as http:
        page = http.get("/", params={"id": "q1"}).text
        assert page.count("<script") == 2
        assert told(page)["question"]["question"] == evil
        browse = http.get("/browse").text
        assert "<script>" not in browse
        assert "<img" not in browse


def test_a_filter_shows_what_it_says(client: Any, served_run: Path) -> None:
    rows = {name: row_of(served_run, name, 0) for name in ("jmlr", "plain")}
    stored = Stored.read(served_run, rows)
    everything = stored.chosen(Filter("jmlr", "plain"))
    assert len(everything) >= 8
    for key, values in (
        ("outcome", ["gained", "lost", "both right", "both wrong"]),
        ("move", ["up", "down", "same", "missing"]),
    ):
        parts = [stored.chosen(Filter("jmlr", "plain", **{key: v})) for v in values]
        assert sum(map(len, parts)) == len(everything)
        for part, value in zip(parts, values, strict=True):
            page = client.get("/browse", params={"row": "jmlr", "beside": "plain", key: value}).text
            assert f"{len(part)} question" in page
            ids = re.findall(r'href="/\?id=([^&"]+)', page)
            assert ids == [s.question.id for s in part][:50]
    assert client.get("/browse", params={"row": "written", "unparsed": "yes"}).status_code == 200


def test_a_place_is_turned_round_and_a_missing_passage_stays_missing() -> None:
    assert [Answered(0, True, None, p).move for p in ([3, 1], [1, 3], [2, 2], [5, 0], [0, 0], [])] == [
        "up", "down", "same", "missing", "missing", ""
    ]  # fmt: skip


@pytest.mark.parametrize("query", ["row=nobody", "page=0", "page=x", "outcome=<script>", "file=../../etc/passwd"])
def test_an_unknown_filter_is_refused_and_not_repeated(client: Any, query: str) -> None:
    answer = client.get(f"/browse?{query}")
    assert answer.status_code == 422
    assert "<script>" not in answer.text


def test_a_test_question_opens_in_ask_with_the_rows_of_the_link(client: Any, asked: Any) -> None:
    page = told(client.get("/", params={"id": asked["id"], "rows": "plain,jmlr"}).text)
    assert page["question"]["question"] == asked["question"]
    assert page["question"]["gold"] == asked["options"][asked["answer"]]
    assert page["chosen"] == ["plain", "jmlr"]
    assert client.get("/", params={"id": "no such"}).status_code == 404
    assert client.get("/", params={"rows": "nobody"}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/..%2f..%2fetc/passwd",
        "/manifest.json",
        "/static/",
    ],
)
def test_no_path_leads_out(client: Any, path: str) -> None:
    assert client.get(path).status_code in (404, 405)


def test_two_runs_are_compared(served_run: Path, client: Any, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "results/other"
    shutil.copytree(served_run, other)
    manifest = other / "jmlr/seed0/r1/train/manifest.json"
    held = json.loads(manifest.read_text())
    held["options"] |= {"steps": 77, "llm_learning_rate": 0.5}
    manifest.write_text(json.dumps(held))
    rows = {name: row_of(served_run, name, 0) for name in ("jmlr", "plain")}
    with TestClient(application(served_run, rows, "jmlr", other=other), base_url="http://127.0.0.1") as http:
        page = http.get("/compare").text
        assert "tiny beside other" in page
        assert re.findall(r"<td>jmlr: train</td><td>(\w+)</td>", page) == ["llm_learning_rate", "steps"]
        assert "77" in page
        assert "0 gained" in page
        assert http.get("/compare", params={"row": "plain"}).status_code == 200
        assert http.get("/compare", params={"row": "../x"}).status_code == 404
    assert client.get("/compare").status_code == 404


def test_two_answers_compared_are_gained_and_lost(served_run: Path, tmp_path: Path) -> None:
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    from jmlr.serving.compared import Compared
    from toys import rewrite

    other = tmp_path / "results/other"
    shutil.copytree(served_run, other)
    file = other / "plain/seed0/answer/answers.parquet"
    table = pq.read_table(file)
    turned = [(p + 1) % 4 for p in table["predicted"].to_pylist()]
    at = table.column_names.index("predicted")
    rewrite(file, table.set_column(at, "predicted", pa.array(turned, table.schema.field("predicted").type)))
    changed = Compared.read(other, served_run).changed["plain"]
    gold = table["answer"].to_pylist()
    was = [p == g for p, g in zip(table["predicted"].to_pylist(), gold, strict=True)]
    now = [p == g for p, g in zip(turned, gold, strict=True)]
    assert len(changed["gained"]) == sum(a and not b for a, b in zip(was, now, strict=True)) > 0
    assert len(changed["lost"]) == sum(b and not a for a, b in zip(was, now, strict=True))
