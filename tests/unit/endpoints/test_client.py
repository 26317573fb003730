"""The client against a real server on this machine that misbehaves."""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from chat_server import client, files
from jmlr.endpoints.client import Client
from jmlr.options import EndpointOptions
from jmlr.runtime.errors import UserError

KEY = "sk-very-secret-0123456789"


def test_replies_come_in_the_order_of_the_prompts_and_each_prompt_is_sent_once(server, tmp_path):
    server.talk = lambda prompt: f"<{prompt}>"
    prompts = [f"question {i % 7}" for i in range(20)]
    replies = client(server, tmp_path, parallel=3).ask(prompts, 5)
    assert [r.text for r in replies] == [f"<{p}>" for p in prompts]
    assert len(server.seen) == 7
    body = server.seen[0]["body"]
    assert body["model"] == "m"
    assert body["max_tokens"] == 5
    assert body["temperature"] == 0
    assert server.seen[0]["path"] == "/v1/chat/completions"
    assert "authorization" not in {k.lower() for k in server.seen[0]["headers"]}


def test_base_models_are_asked_to_go_on_from_the_prompt(server, tmp_path):
    server.talk = lambda prompt: prompt[::-1]
    [reply] = client(server, tmp_path, api="completions", tokens_field="max_completion_tokens").ask(["abc"], 5)
    assert reply.text == "cba"
    assert server.seen[0]["path"] == "/v1/completions"
    assert server.seen[0]["body"]["max_completion_tokens"] == 5


def test_a_rerun_costs_nothing_and_needs_no_key(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    first = client(server, tmp_path, key_env="TEST_KEY").ask(["one", "two"], 5)
    monkeypatch.delenv("TEST_KEY")
    again = client(server, tmp_path, key_env="TEST_KEY")
    assert again.ask(["two", "one"], 5) == first[::-1]
    assert len(server.seen) == 2
    assert again.figures["cached"] == 2
    assert again.figures["requests"] == 0


@pytest.mark.parametrize("change", [{"model": "n"}, {"request": {"temperature": 1}}, {"tokens_field": "max_completion_tokens"}])  # fmt: skip
def test_another_request_is_not_answered_from_the_cache(server, tmp_path, change):
    client(server, tmp_path).ask(["one"], 5)
    client(server, tmp_path, **change).ask(["one"], 5)
    assert len(server.seen) == 2


@pytest.mark.parametrize("damage", [b"", b'{"reply": {"text": "A"', b'{"reply": {}, "sha256": "x"}', b"[]", b"\xff"])
def test_a_damaged_file_of_the_cache_is_never_used(server, tmp_path, damage):
    client(server, tmp_path).ask(["one"], 5)
    [file] = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "A"
    assert len(server.seen) == 2
    assert file.read_bytes() == whole


def test_a_changed_reply_in_the_cache_is_never_used(server, tmp_path):
    client(server, tmp_path).ask(["one"], 5)
    [file] = files(tmp_path)
    file.write_text(file.read_text().replace('"A"', '"B"'))
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "A"


def test_a_job_killed_while_writing_leaves_no_reply(server, tmp_path, monkeypatch):
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jmlr.runtime.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        client(server, tmp_path).ask(["one"], 5)
    assert files(tmp_path) == []
    monkeypatch.undo()
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "A"


@pytest.mark.parametrize(
    "fault",
    [
        "status(500)", "status(501)", "status(503)", "status(520)", "status(524)", "status(529)", "status(429)",
        "raw(b'<html>busy</html>', 'text/html')", "raw(b'{\"choices\": [{\"mess')",
        "raw(b'{\"choices\": []}')", "raw(b'{\"choices\": [{}]}')", "raw(b'[1]')", "raw(b'{}')", "raw(b'')",
        "raw(b'{\"choices\": [{\"message\": {\"content\": 7}}]}')", "raw(b'{}', Content_Length='999')",
    ],
)  # fmt: skip
def test_a_fault_that_passes_is_tried_again(server, tmp_path, fault, capsys):
    server.plan = [eval(f"server.{fault}", {"server": server}) for _ in range(2)]
    made = client(server, tmp_path, timeout_s=5)
    assert made.ask(["one"], 5)[0].text == "A"
    assert len(server.seen) == 3
    assert made.figures["retries"] == 2
    assert "attempt 2 of 4" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["status(500)", "raw(b'{\"choices\": []}')", "raw(b'x', 'text/plain')"])
def test_a_fault_that_stays_ends_in_one_line_and_leaves_nothing(server, tmp_path, fault):
    server.plan = [eval(f"server.{fault}", {"server": server}) for _ in range(9)]
    with pytest.raises(UserError, match="4 times") as error:
        client(server, tmp_path).ask(["one"], 5)
    assert "\n" not in str(error.value)
    assert len(server.seen) == 4
    assert files(tmp_path) == []


def test_a_model_that_says_nothing_has_answered(server, tmp_path):
    server.plan = [server.raw(json.dumps({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}).encode())]  # fmt: skip
    [reply] = client(server, tmp_path).ask(["one"], 5)
    assert (reply.text, reply.finish) == ("", "content_filter")


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_pause_that_the_server_asks_for_is_kept(server, tmp_path, form):
    def busy(handler: Any) -> None:  # a date has whole seconds: at least one of the two is left when it is sent
        said = "0.4" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
        server.status(429, Retry_After=said)(handler)

    server.plan = [busy]
    client(server, tmp_path).ask(["one"], 5)
    assert server.seen[1]["at"] - server.seen[0]["at"] >= (0.4 if form == "seconds" else 0.9)


def test_a_pause_longer_than_allowed_ends_the_job_at_once(server, tmp_path):
    server.plan = [server.status(429, Retry_After="3600")]
    with pytest.raises(UserError, match=r"pause of 3600 s \(longest_wait_s: 10\)"):
        client(server, tmp_path, longest_wait_s=10).ask(["one"], 5)
    assert len(server.seen) == 1


def test_pauses_grow_and_jitter(server, tmp_path, monkeypatch):
    pauses: list[float] = []
    server.plan = [server.status(500)] * 3
    made = client(server, tmp_path)
    monkeypatch.setattr(made._stop, "wait", lambda s: pauses.append(s))
    made.ask(["one"], 5)
    assert all(0.5 * 0.02 * 2**i <= p <= 0.02 * 2**i * 1.1 for i, p in enumerate(pauses))
    assert len(set(pauses)) == 3


@pytest.mark.parametrize("way", ["silent", "dripping"])
def test_a_slow_server_is_given_up(server, tmp_path, way):
    def slow(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):  # a byte now and then never lets a read time out
            time.sleep(0.05)
            if way == "dripping":
                handler.wfile.write(b" ")
                handler.wfile.flush()

    server.plan = [slow]
    begun = time.monotonic()
    assert client(server, tmp_path, timeout_s=0.3).ask(["one"], 5)[0].text == "A"
    assert time.monotonic() - begun < 1.5
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("code", "error_code", "said"),
    [
        (400, "", "answers 400 (bad"), (401, "", "is the key in TEST_KEY right?"), (404, "", "answers 404"),
        (302, "", "answers 302"), (429, "insufficient_quota", "answers 429"),
    ],
)  # fmt: skip
def test_a_refusal_is_not_tried_again(server, tmp_path, monkeypatch, code, error_code, said):
    monkeypatch.setenv("TEST_KEY", KEY)
    server.plan = [server.status(code, "bad request", error_code, Location="http://127.0.0.1:9/")]
    with pytest.raises(UserError) as error:
        client(server, tmp_path, key_env="TEST_KEY").ask(["one"], 5)
    assert said in str(error.value)
    assert len(server.seen) == 1


def test_no_server_is_one_line(tmp_path):
    made = Client(base_url="http://127.0.0.1:9/v1", model="m", cache=str(tmp_path), tries=2, first_wait_s=0.01)
    with pytest.raises(UserError, match="no connection, 2 times"):
        made.ask(["one"], 5)


def test_the_key_goes_into_one_header_and_nowhere_else(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEST_KEY", KEY)
    server.plan = [server.status(500, f"oh {KEY}"), server.status(401, f"Incorrect API key: {KEY}")]
    made = client(server, tmp_path, key_env="TEST_KEY")
    with pytest.raises(UserError) as error:
        made.ask(["one"], 5)
    made.ask(["one"], 5)
    assert server.seen[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    told = capsys.readouterr()
    kept = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert KEY not in str(error.value) + told.out + told.err + kept + repr(made) + repr(vars(made))
    assert "***" in str(error.value)


def test_a_key_that_is_not_set_is_one_line_and_nothing_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(UserError, match=r"TEST_KEY .* is not set"):
        client(server, tmp_path, key_env="TEST_KEY").ask(["one"], 5)
    assert server.seen == []


def test_no_message_repeats_the_prompt(server, tmp_path, capsys):
    prompt = "A 54-year-old patient of the ward with a very particular complaint comes to clinic."
    server.plan = [server.status(500, f"cannot parse: {prompt}"), server.status(400, f"bad: {prompt}", "too_long")]
    with pytest.raises(UserError) as error:
        client(server, tmp_path).ask([prompt], 5)
    assert "particular" not in str(error.value) + capsys.readouterr().err
    assert "too_long" in str(error.value)


def test_what_a_reply_did_not_cost_of_its_reserve_is_free_for_the_next(server, tmp_path):
    prices = {"price_in": 0.1, "price_out": 1.0}  # as below: at most 0.0123 before the reply, 0.003 after it
    with pytest.raises(UserError, match="cost cap"):
        client(server, tmp_path, **prices, most_cost=0.05, parallel=1).ask([f"number {i:2}" for i in range(40)], 5)
    assert 5 <= len(server.seen) <= 16


def test_the_cap_is_never_exceeded_and_what_was_paid_for_is_kept(server, tmp_path):
    prices = {
        "price_in": 0.1,
        "price_out": 1.0,
    }  # a reply of 10 + 2 tokens costs 0.003; a prompt of 9 bytes at most 0.0123
    capped = client(server, tmp_path, **prices, most_cost=0.05, parallel=4)
    with pytest.raises(UserError, match=r"cost cap: 0\.0\d+ of 0\.05 is spent on .* nothing was sent") as error:
        capped.ask([f"number {i:2}" for i in range(40)], 5)
    assert "\n" not in str(error.value)
    asked = len(server.seen)
    assert 4 <= asked <= 16  # four may be on their way at once; how many follow depends on when their price is known
    assert len(files(tmp_path)) == asked
    again = client(server, tmp_path, **prices, most_cost=0.05)
    assert again._ledger.spent() == pytest.approx(0.003 * asked)
    with pytest.raises(UserError, match="cost cap"):  # another job, the same cap
        again.ask([f"another {i}" for i in range(40)], 5)
    assert again._ledger.spent() <= 0.05
    raised = client(server, tmp_path, **prices, most_cost=5.0)
    raised.ask([f"number {i:2}" for i in range(40)], 5)
    assert raised.figures["cost"] == pytest.approx(0.003 * raised.figures["requests"])


def test_an_attempt_that_may_be_billed_counts_as_spent_and_a_refused_one_does_not(server, tmp_path):
    made = client(server, tmp_path, price_in=0.1, price_out=1.0, most_cost=1.0)
    server.plan = [server.status(500), server.raw(b"{}")]
    made.ask(["one"], 5)
    worst = ((len("one") + 64) * 0.1 + 5 * 1.0) / 1000
    assert made._ledger.spent() == pytest.approx(worst + 0.003)


def test_a_reply_without_counts_costs_what_was_set_aside(server, tmp_path):
    server.plan = [server.raw(b'{"choices": [{"message": {"content": "A"}}]}')]
    [reply] = client(server, tmp_path, price_in=0.1, price_out=1.0, most_cost=1.0).ask(["one"], 5)
    assert reply.cost == pytest.approx(((len("one") + 64) * 0.1 + 5 * 1.0) / 1000)


def test_a_damaged_ledger_stops_spending(server, tmp_path):
    made = client(server, tmp_path, price_in=0.1, most_cost=1.0)
    made.ask(["one"], 5)
    made._ledger.path.write_text("{")
    with pytest.raises(UserError, match="what was spent is unknown"):
        made.ask(["two"], 5)
    assert len(server.seen) == 1


def test_requests_are_spaced(server, tmp_path):
    client(server, tmp_path, requests_per_minute=600, parallel=4).ask([f"{i}" for i in range(5)], 5)
    at = sorted(s["at"] for s in server.seen)
    assert at[-1] - at[0] >= 0.35


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_url": "host/v1"}, "an address like https://host/v1"),
        ({"base_url": "https://me:pw@host/v1"}, "no user, password"),
        ({"base_url": "https://host/v1?key=1"}, "no user, password, query"),
        ({"base_url": "http://far.example/v1", "key_env": "K"}, "in the clear"),
        ({"request": {"stream": True}}, "'stream' is set by the program"),
        ({"most_cost": 1.0}, "needs price_in and price_out"),
        ({"tries": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        EndpointOptions(**{"base_url": "https://host/v1", "model": "m", **change})
