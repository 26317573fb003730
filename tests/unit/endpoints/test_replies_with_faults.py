"""The client against a server whose replies hold faults, odd counts or odd text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat_server import client, files
from jmlr.endpoints.cache import Reply
from jmlr.runtime.errors import UserError


def body(choice: dict[str, Any], **more: Any) -> bytes:
    """Return the JSON of a whole reply with this choice."""
    whole = {"message": {"role": "assistant", "content": "C"}, "finish_reason": "stop", **choice}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return json.dumps({"choices": [whole], "usage": usage, **more}).encode()


BROKEN = {
    "finish error": (body({"finish_reason": "error"}), "finish_reason 'error'"),
    "finish abort": (body({"finish_reason": "abort"}), "finish_reason 'abort'"),
    "an error in the choice": (body({"error": {"code": 502, "message": "provider is down"}}), "502 (provider is down)"),
    "an error beside the choice": (
        body({}, error={"message": "overloaded", "type": "server_error"}),
        "500 (overloaded)",
    ),
    "an error alone": (b'{"error": {"message": "slow down", "code": 429}}', "429 (slow down)"),
    "an error by name": (b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', "429 (slow down)"),
    "an error as text": (b'{"error": "model is loading"}', "500 (model is loading)"),
    "an error object": (b'{"object": "error", "message": "engine is dead", "code": 503}', "503 (engine is dead)"),
    "a detail": (b'{"detail": "worker lost"}', "500 (worker lost)"),
}


@pytest.mark.parametrize("form", BROKEN)
def test_a_fault_inside_a_200_is_no_answer_is_not_kept_and_says_what_the_server_said(server, tmp_path, form, capsys):
    content, said = BROKEN[form]
    server.plan = [server.raw(content)]
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "A", "the second attempt's"
    assert said in capsys.readouterr().err
    server.plan = [server.raw(content)] * 9
    with pytest.raises(UserError, match="4 times") as error:
        client(server, tmp_path).ask(["two"], 5)
    assert said in str(error.value)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("form", [f for f in BROKEN if f not in ("finish error", "finish abort")])
def test_a_fault_inside_a_200_costs_what_the_server_counted_and_nothing_where_it_counted_nothing(
    server, tmp_path, form
):
    made = client(server, tmp_path, price_in=0.1, price_out=1.0, most_cost=1.0)
    server.plan = [server.raw(BROKEN[form][0])]
    made.ask(["one"], 5)
    assert made._ledger.spent() == pytest.approx(0.006 if b"usage" in BROKEN[form][0] else 0.003)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"error": {"message": "too many tokens", "code": "context_length_exceeded"}}', "400 (too many tokens)"),
        (b'{"error": {"message": "no such key", "type": "invalid_api_key"}}', "401 (no such key)"),
        (b'{"error": {"message": "pay", "code": "insufficient_quota"}}', "pay"),
        (body({"error": {"code": 400, "message": "bad"}}), "400 (bad)"),
    ],
)
def test_a_refusal_inside_a_200_is_not_tried_again(server, tmp_path, content, said):
    server.plan = [server.raw(content)] * 9
    with pytest.raises(UserError) as error:
        client(server, tmp_path).ask(["one"], 5)
    assert said in str(error.value)
    assert len(server.seen) == 1
    assert files(tmp_path) == []


def test_a_broken_reply_that_an_earlier_version_kept_is_asked_for_again(server, tmp_path):
    made = client(server, tmp_path)
    made.ask(["one"], 5)
    [file] = files(tmp_path)
    held = json.loads(file.read_text())
    digest = file.stem
    made._cache.put(digest, Reply(**{**held["reply"], "finish": "abort", "text": "half"}))
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "A"
    assert len(server.seen) == 2


def test_half_a_surrogate_pair_is_stored_and_paid_for_once(server, tmp_path):
    server.plan = [
        server.raw(b'{"choices": [{"message": {"content": "B \\ud83d. \\ud83d\\ude00"}, "finish_reason": "stop"}]}')
    ]
    [reply] = client(server, tmp_path).ask(["one"], 5)
    assert reply.text == "B \ufffd. \U0001f600"
    assert client(server, tmp_path).ask(["one"], 5) == [reply]
    assert len(server.seen) == 1


@pytest.mark.parametrize("usage", [None, [], {}, {"prompt_tokens": None}, {"prompt_tokens": -1, "completion_tokens": [2]}, "7",
                                   {"prompt_tokens": 1.5, "completion_tokens": True}, {"prompt_tokens": "x"}])  # fmt: skip
def test_counts_that_are_none_are_taken_at_their_bound_and_the_reply_is_kept(server, tmp_path, usage):
    server.plan = [server.raw(body({}, usage=usage))]
    [reply] = client(server, tmp_path, price_in=0.1, price_out=1.0, most_cost=1.0).ask(["one"], 5)
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("C", len("one") + 64, 5)
    assert len(server.seen) == 1


@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", "", "application/octet-stream"])
def test_json_is_read_whatever_the_server_calls_it(server, tmp_path, kind):
    server.plan = [server.raw(body({}), kind)]
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "C"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"object": "error", "message": "context is 2048", "code": 40303}, "context is 2048"),
        ({"detail": "Not Found"}, "Not Found"), ({"message": "no route"}, "no route"), ({"error": "gone"}, "gone"),
        ({"detail": [{"loc": ["body", "max_tokens"], "msg": "must be positive", "input": "a long prompt"}]}, "must be positive"),
    ],
)  # fmt: skip
def test_the_reason_of_a_refusal_is_found_in_every_form(server, tmp_path, content, said):
    server.plan = [lambda handler: server.send(handler, content, 400)]
    with pytest.raises(UserError) as error:
        client(server, tmp_path).ask(["one"], 5)
    assert f"answers 400 ({said})" in str(error.value)


def test_content_in_parts_is_one_text(server, tmp_path):
    parts = [{"type": "text", "text": "B. "}, {"type": "text", "text": "Ibuprofen"}]
    server.plan = [server.raw(body({"message": {"content": parts}}))]
    assert client(server, tmp_path).ask(["one"], 5)[0].text == "B. Ibuprofen"
    assert len(server.seen) == 1
