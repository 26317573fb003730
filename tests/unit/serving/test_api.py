"""The API: OpenAI's protocol over the rows of a run, for chat clients, our own `endpoints` and lm-evaluation-harness."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from jmlr.corpus.replies import parse_option
from jmlr.serving.http import MOST_BYTES
from jmlr.serving.messages import question_in

QUESTION = "You review a woman known for a disease. Which finding is expected?"
CHOICE = QUESTION + "\nA. fever\nB. rash"


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "jmlr", "messages": [{"role": "user", "content": text}], **more}


def chunks(answer: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_models_are_the_rows_and_the_first_answers_by_itself(client: Any) -> None:
    listed = client.get("/v1/models").json()
    assert [m["id"] for m in listed["data"]] == ["jmlr", "closed", "plain", "written"]
    assert client.get("/v1/models/plain").json()["id"] == "plain"
    assert client.get("/v1/models/nobody").status_code == 404


def test_a_message_with_options_is_answered_by_one_of_them_with_what_was_read(client: Any) -> None:
    answer = client.post("/v1/chat/completions", json=chat(CHOICE))
    assert answer.status_code == 200
    said = answer.json()
    [choice] = said["choices"]
    option = parse_option(choice["message"]["content"], ["fever", "rash"])
    shares = said["jmlr"]["probabilities"]
    assert option == max(range(2), key=shares.__getitem__)
    assert sum(shares) == pytest.approx(1)
    assert len(said["jmlr"]["passages"]) == 2
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"] > 10


@pytest.mark.parametrize("model", ["jmlr", "written", "closed"])
@pytest.mark.parametrize("text", [QUESTION, CHOICE])
def test_a_streamed_answer_is_the_whole_one_in_pieces(client: Any, model: str, text: str) -> None:
    asked = chat(text) | {"model": model}
    whole = client.post("/v1/chat/completions", json=asked).json()
    pieces = chunks(
        client.post("/v1/chat/completions", json=asked | {"stream": True, "stream_options": {"include_usage": True}})
    )
    deltas = [p["choices"][0]["delta"].get("content", "") for p in pieces if p["choices"]]
    assert "".join(deltas).strip() == whole["choices"][0]["message"]["content"]
    assert pieces[-1]["usage"] == whole["usage"]
    assert pieces[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_an_answer_ends_at_most_tokens_or_at_a_stop(client: Any) -> None:
    whole = client.post("/v1/completions", json={"prompt": f"Question: {QUESTION}\nAnswer:", "max_tokens": 12}).json()
    text = whole["choices"][0]["text"]
    assert text
    short = client.post("/v1/completions", json={"prompt": f"Question: {QUESTION}\nAnswer:", "max_tokens": 1}).json()
    assert short["usage"]["completion_tokens"] == 1
    assert short["usage"]["prompt_tokens"] > 1
    assert short["choices"][0]["finish_reason"] == "length"
    stop = text.strip()[1:3]
    for stream in (False, True):
        body = {"prompt": f"Question: {QUESTION}\nAnswer:", "max_tokens": 12, "stop": [stop], "stream": stream}
        got = client.post("/v1/completions", json=body)
        said = "".join(p["choices"][0]["text"] for p in chunks(got)) if stream else got.json()["choices"][0]["text"]
        assert said == text[: text.index(stop)]


def test_log_probabilities_are_told_as_lm_eval_reads_them(client: Any, system: Any, asked: Any) -> None:
    """lm-eval sends tokens of context and answer, and sums what stands behind the context, without the last token."""
    head = f"Question: {asked['question']}\nAnswer:"
    tokens = lambda text: system.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    context, whole = tokens(head), [tokens(f"{head} {o}") for o in asked["options"]]
    body = {
        "prompt": whole,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
        "model": "jmlr",
    }
    told = client.post("/v1/completions", json=body).json()
    sums = []
    for choice, ids in zip(sorted(told["choices"], key=lambda c: c["index"]), whole, strict=True):
        logprobs = choice["logprobs"]
        assert len(logprobs["token_logprobs"]) == len(ids) + 1
        behind = logprobs["token_logprobs"][len(context) : -1]
        assert len(behind) == len(ids) - len(context) > 0
        for p, top in zip(behind, logprobs["top_logprobs"][len(context) : -1], strict=True):
            assert p <= max(top.values()) < 0
        sums.append(sum(behind))
    assert len(set(sums)) == len(sums)
    texts = client.post("/v1/completions", json=body | {"prompt": [f"{head} {o}" for o in asked["options"]]}).json()
    for one, two in zip(texts["choices"], told["choices"], strict=True):
        assert one["logprobs"]["token_logprobs"][1:] == pytest.approx(two["logprobs"]["token_logprobs"][1:], abs=1e-4)


def test_embeddings_are_the_retrievers_in_both_encodings(client: Any, system: Any) -> None:
    body = {"model": "jmlr", "input": [QUESTION, "fever"]}
    plain = client.post("/v1/embeddings", json=body).json()["data"]
    packed = client.post("/v1/embeddings", json=body | {"encoding_format": "base64"}).json()["data"]
    wanted = system.finder(system.row.searches[-1]).vectors([QUESTION, "fever"]).vectors
    for one, two, vector in zip(plain, packed, wanted, strict=True):
        assert np.allclose(one["embedding"], vector, atol=1e-6)
        assert np.array_equal(np.frombuffer(base64.b64decode(two["embedding"]), "<f4"), np.float32(one["embedding"]))
    assert client.post("/v1/embeddings", json=body | {"model": "closed"}).status_code == 422
    long = client.post("/v1/embeddings", json=body | {"input": [QUESTION * 100, "fever"], "side": "passage"}).json()
    most = system.finder(system.row.searches[-1]).retriever.limit("passage")
    assert long["jmlr"]["cut"] == f"1 long of 2 texts: the retriever reads the first {most} tokens"
    assert client.post("/v1/embeddings", json=body).json()["jmlr"] == {"cut": ""}


def test_search_returns_the_best_passages_with_their_texts(client: Any) -> None:
    found = client.post("/search", json={"query": QUESTION, "k": 4}).json()["passages"]
    assert len(found) == 4
    scores = [p["score"] for p in found]
    assert scores == sorted(scores, reverse=True)
    assert all(p["id"] and p["text"] for p in found)
    assert client.post("/search", json={"query": QUESTION, "model": "closed"}).status_code == 422
    assert client.post("/search", json={"query": QUESTION}).json()["cut"] == ""
    assert "the search reads its first" in client.post("/search", json={"query": QUESTION * 100}).json()["cut"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/chat/completions", b"{", 422, "JSON"),
        ("/v1/chat/completions", b"[]", 422, "a mapping of keys is wanted"),
        (
            "/v1/chat/completions",
            json.dumps(chat("Which?\nA. a\nB. a")).encode(),
            422,
            "options: all are the same text",
        ),
        ("/v1/chat/completions", json.dumps({"messages": []}).encode(), 422, "messages"),
        (
            "/v1/chat/completions",
            json.dumps({"messages": [{"role": "user", "content": " "}]}).encode(),
            422,
            "question",
        ),
        ("/v1/chat/completions", json.dumps(chat("x", n=2)).encode(), 422, "n: allowed: 1"),
        ("/v1/chat/completions", json.dumps(chat("x", tools=[{}])).encode(), 422, "tools"),
        ("/v1/chat/completions", json.dumps(chat("x") | {"model": "../.."}).encode(), 404, "allowed: jmlr"),
        ("/v1/completions", json.dumps({"prompt": "x", "logprobs": 1}).encode(), 422, "echo"),
        ("/v1/completions", json.dumps({"prompt": "x", "max_tokens": 0}).encode(), 422, "max_tokens"),
        ("/v1/completions", json.dumps({"prompt": ["x"] * 129}).encode(), 422, "prompt"),
        ("/v1/completions", json.dumps({"prompt": [[10**9]], "max_tokens": 1}).encode(), 422, "token"),
        ("/v1/completions", json.dumps({"prompt": "word " * 5000}).encode(), 422, "this row reads"),
        ("/v1/embeddings", json.dumps({"input": []}).encode(), 422, "input"),
        ("/search", json.dumps({"query": "x", "k": 0}).encode(), 422, "k"),
        ("/search", b"\xff\xfe", 422, ""),
        ("/search", b'{"query": "' + b"x" * MOST_BYTES + b'"}', 413, "2 MiB"),
    ],
)
def test_a_bad_request_is_one_line_and_repeats_nothing(
    client: Any, path: str, body: bytes, status: int, said: str
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text[:300]
    error = answer.json()["error"]
    assert said in error["message"]
    assert "word word" not in error["message"]
    assert client.get("/v1/models").status_code == 200


def test_a_form_of_another_site_and_another_name_are_refused(client: Any) -> None:
    assert client.post("/search", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.get("/v1/chat/completions").status_code == 405


def test_fifty_questions_at_once_are_all_answered(served: Any) -> None:
    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(app=served)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as http:
            asked = [
                http.post("/v1/chat/completions", json=chat(f"{QUESTION} {n}\nA. fever\nB. rash")) for n in range(50)
            ]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [200] * 50


def test_our_own_endpoints_row_can_ask_a_served_row(client: Any, served: Any, tmp_path: Path) -> None:
    import uvicorn

    from jmlr.endpoints.client import Client
    from jmlr.options import EndpointOptions

    settings = uvicorn.Config(served, port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        for api in ("chat", "completions"):
            options = EndpointOptions(
                base_url=f"http://127.0.0.1:{port}/v1", model="jmlr", api=api, cache=str(tmp_path)
            )
            prompt = f"Question: {QUESTION}\nA. fever\nB. rash\nPlease only give the correct option. Correct Answer:"
            [reply] = Client(**options.model_dump()).ask([prompt], 16)
            assert api == "completions" or parse_option(reply.text, ["fever", "rash"]) >= 0
            assert reply.finish in ("stop", "length")
    finally:
        server.should_exit = True
        thread.join(10)


def test_a_question_is_read_out_of_a_message_as_people_and_programs_write_it() -> None:
    asked = question_in("Which?\n(A) one\n(B) two\nThanks")
    assert asked == ("Which?", ["one", "two"])
    assert question_in("Which?\nB. two\nC. three") == ("Which?\nB. two\nC. three", [])
    assert question_in("A. one\nB. two") == ("A. one\nB. two", []), "options without a question are the question"
    told = "Reference: Question: old?\nQuestion: new?\nA. x\nB. y\nThink.\nCite.\nReasoning:"
    assert question_in(told, "Question: ", ["Reasoning:"]) == ("new?", ["x", "y"])
    assert question_in("Question: new?\nAnswer: x", "Question: ", ["Answer:"]) == ("new?", [])
