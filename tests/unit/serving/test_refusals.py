"""What a body may not be: one line that says where, what was given, and what is allowed; no text of it is repeated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("starlette", reason="serve needs the extra `serve`")

from starlette.requests import Request

from jmlr.serving.http import Refused, read
from jmlr.serving.messages import AskRequest, ChatRequest, CompletionRequest, EmbeddingRequest, SearchRequest

SECRET = "Mrs Roe has a rash"
USER = {"messages": [{"role": "user", "content": SECRET}]}


def refused(kind: type[Any], body: Any) -> str:
    """Return what is said of a body."""

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    headers = [(b"content-type", b"application/json")]
    with pytest.raises(Refused) as told:
        asyncio.run(read(Request({"type": "http", "method": "POST", "headers": headers}, receive), kind))
    assert told.value.status == 422
    return told.value.why


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (
            EmbeddingRequest,
            {"input": SECRET, "side": "passages"},
            "side: Input should be 'query' or 'passage' (given: 'passages')",
        ),
        (EmbeddingRequest, {"input": SECRET, "side": SECRET}, "side: Input should be 'query' or 'passage'"),
        (EmbeddingRequest, {"input": SECRET, "side": None}, "side: Input should be 'query' or 'passage' (given: nothing)"),
        (
            EmbeddingRequest,
            {"input": SECRET, "dimensions": 64},
            "dimensions: a row of this run cannot follow it; leave it out",
        ),
        (EmbeddingRequest, {"input": [SECRET, 3]}, "input.1: Input should be a valid string (given: 3)"),
        (EmbeddingRequest, {"input": []}, "input: List should have at least 1 item after validation, not 0"),
        (ChatRequest, {**USER, "n": 2}, "n: allowed: 1, since answers are greedy"),
        (ChatRequest, {**USER, "logprobs": True}, "logprobs: allowed in /v1/completions"),
        (ChatRequest, {**USER, "max_tokens": 5000}, "max_tokens: Input should be less than or equal to 4096 (given: 5000)"),
        (ChatRequest, {"messages": SECRET}, "messages: a list is wanted"),
        (
            ChatRequest,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "url": SECRET}]}]},
            "messages.0.content.0.type: Input should be 'text' (given: 'image_url')",
        ),
        (ChatRequest, {**USER, "options": SECRET}, "options: a list is wanted"),
        (ChatRequest, {**USER, "options": [SECRET]}, "options: 1 is given; allowed: none, or 2 to 26"),
        (ChatRequest, {**USER, "options": [SECRET, " "]}, "options: B is empty"),
        (
            ChatRequest,
            {**USER, "options": ["rash", SECRET, f"{SECRET} "]},
            "options: B and C are the same text; allowed: each once",
        ),
        (
            AskRequest,
            {"question": SECRET, "options": [SECRET, SECRET]},
            "options: all are the same text, so that any answer is right",
        ),
        (AskRequest, {"question": " "}, "question: it is empty"),
        (AskRequest, {"question": SECRET, "anwser": SECRET}, "unknown key 'anwser' (did you mean 'answer'?)"),
        (SearchRequest, {"query": " "}, "query: it is empty"),
        (SearchRequest, {"query": SECRET, "k": 0}, "k: Input should be greater than or equal to 1 (given: 0)"),
        (SearchRequest, [SECRET], "a mapping of keys is wanted"),
        (CompletionRequest, {"prompt": SECRET, "logprobs": 3}, "logprobs: allowed with echo: true, which tells those of the prompt"),
        (CompletionRequest, {"prompt": [SECRET, 3]}, "prompt.1: Input should be a valid string (given: 3)"),
        (CompletionRequest, {"prompt": [SECRET] * 129}, "prompt: List should have at most 128 items after validation, not 129"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_told_where_and_what_is_allowed(kind: type[Any], body: Any, said: str) -> None:
    assert refused(kind, body) == said


def test_two_wrong_options_of_a_stored_question_may_be_the_same() -> None:
    """As `prepare` takes them; in the page a stored question is asked as it stands."""
    assert AskRequest(question="Which?", options=["a", "b", "b"]).options == ["a", "b", "b"]
