"""The client and the stages against a real server with a real language model: llama.cpp and SmolLM2-135M-Instruct."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chat_server import client, files
from jmlr.options import AnswerOptions, EndpointOptions, JudgeOptions, ReadingOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.answer import answer
from jmlr.stages.judge import judge
from llama_server import LlamaServer, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there")]
SHOWN = ReadingOptions(question_prompt="Question: {question}\n{options}\n")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = LlamaServer(port, tmp_path_factory.mktemp("llama") / "server.log")
    made.start()
    yield made
    made.kill()


def endpoint(llama: LlamaServer, tmp_path: Path) -> dict[str, Any]:
    given = {"base_url": llama.url, "model": "smollm2", "cache": str(tmp_path / "cache"), "parallel": 1}
    return EndpointOptions(**given).model_dump()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return two questions that the model knows the answer of, as `prepare` writes them."""
    folder = tmp_path / "prepare"
    folder.mkdir()
    table = {"id": ["q1", "q2"], "dataset": ["d"] * 2, "split": ["test"] * 2,
             "question": ["Which organ pumps blood?", "Which organ do we see with?"],
             "options": [["Heart", "Liver"], ["Foot", "Eye"]], "answer": pa.array([0, 1], pa.int32()),
             "answer_text": ["Heart", "Eye"], "explanation": ["", ""], "subject": ["", ""],
             "gold_ids": pa.array([[], []], pa.list_(pa.string()))}  # fmt: skip
    pq.write_table(pa.table(table), folder / "questions.parquet")
    pq.write_table(pa.table({"row": pa.array([0], pa.int32()), "id": ["p"], "title": [""], "text": ["The heart pumps blood."]}),
                   folder / "passages.parquet")  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("api", "prompt"),
    [("chat", "What is the capital of France? One word."), ("completions", "The capital of France is")],
)
def test_it_answers_and_counts_tokens(llama, tmp_path, api, prompt):
    made = client(llama, tmp_path, api=api, price_in=1.0, price_out=1.0, most_cost=10.0)
    [reply] = made.ask([prompt], 12)
    assert "Paris" in reply.text
    assert reply.finish in ("stop", "length")
    assert 0 < reply.tokens_out <= 12
    assert made._ledger.spent() == pytest.approx((reply.tokens_in + reply.tokens_out) / 1000)
    assert client(llama, tmp_path, api=api).ask([prompt], 12)[0].text == reply.text, "from the cache"


def test_a_context_that_overflows_is_one_line_with_the_servers_reason(llama, tmp_path):
    with pytest.raises(UserError) as error:
        client(llama, tmp_path).ask(["fever of unknown origin " * 600], 8)
    assert "answers 400" in str(error.value)
    assert "exceeds the available context size (1024 tokens)" in str(error.value)
    assert "\n" not in str(error.value)
    assert "fever" not in str(error.value)
    assert files(tmp_path) == []


def test_answers_rationales_and_verdicts_come_through_the_stages(llama, tmp_path, prepared):
    folders = []
    for system, rationale in (("plain", False), ("thinking", True)):
        folder = tmp_path / system / "seed0" / "answer"
        options = AnswerOptions(method="generate", rationale=rationale, rationale_tokens=48)
        answer(folder, prepared, options, SHOWN, endpoint=endpoint(llama, tmp_path))
        rows = pq.read_table(folder / "answers.parquet").to_pylist()
        assert [r["question_id"] for r in rows] == ["q1", "q2"]
        assert all(r["predicted"] in (-1, 0, 1) for r in rows)
        assert read_manifest(folder)["notes"]["endpoint"]["requests"] == 2
        folders.append(folder)
    judges = {"smollm2": endpoint(llama, tmp_path)}
    options = JudgeOptions(judges=["smollm2"], pairs=[["plain", "thinking"]], judge_tokens=32)
    judge(tmp_path / "judge", prepared, folders, options, judges)
    verdicts = pq.read_table(tmp_path / "judge/pairs.parquet").to_pylist()
    assert len(verdicts) == 2, "a 135 M model's verdicts may be unparsed, but each question has its row"


def test_a_server_that_dies_and_comes_back_loses_nothing(llama, tmp_path):
    made = client(llama, tmp_path, parallel=1, tries=12)
    made.first_wait_s = 0.5
    prompts = [f"The number after {n} is" for n in range(6)]
    crash = threading.Timer(0.0, lambda: None)
    seen = 0

    def each() -> None:
        nonlocal seen, crash
        seen += 1
        if seen == 2:
            llama.kill()
            crash = threading.Timer(1.5, llama.start)
            crash.start()

    begun = time.monotonic()
    replies = made.ask(prompts, 8, each)
    crash.join()
    assert [bool(r.text) for r in replies] == [True] * 6
    assert made.figures["retries"] >= 1
    assert time.monotonic() - begun > 1.5
    assert len(files(tmp_path)) == 6
