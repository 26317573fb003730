"""Answers of a model and of an endpoint: what is chosen, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.models.llm import load_llm
from jmlr.options import AnswerOptions, EndpointOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.answer import answer
from toys import toy_reading

SHOWN = toy_reading(question_prompt="My Question: {question}\n{options}\n")
WRITTEN = AnswerOptions(method="generate")
CUT, CUT_WRITTEN = (AnswerOptions(method=m, shard_llm=True) for m in ("likelihood", "generate"))
PACKED = toy_reading(llm_precision="4bit")


@pytest.fixture(scope="module")
def candidates(tiny: Path, tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("search")
    ids = pq.read_table(tiny / "prepare/passages.parquet")["id"].to_pylist()
    asked = pq.read_table(tiny / "prepare/questions.parquet")["id"].to_pylist()
    rows = [[(n + k) % len(ids) for k in range(4)] for n in range(len(asked))]
    table = {"question_id": asked, "passages": pa.array(rows, pa.list_(pa.int32())), "ids": [[ids[r] for r in row] for row in rows],
             "scores": pa.array([[4.0, 3.0, 2.0, 1.0]] * len(asked), pa.list_(pa.float32()))}  # fmt: skip
    pq.write_table(pa.table(table), folder / "candidates.parquet")
    return folder


def run(tiny: Path, out: Path, **given: Any) -> list[dict[str, Any]]:
    reading = given.pop("reading", toy_reading())
    answer(out, tiny / "prepare", given.pop("options", AnswerOptions()), reading, **given)
    return pq.read_table(out / "answers.parquet").to_pylist()


def endpoint(server: Any, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return EndpointOptions(base_url=server.url, model="m", cache=str(tmp_path / "cache"), **more).model_dump()


def test_the_likeliest_option_is_chosen_and_the_passages_are_kept(tiny, candidates, tmp_path):
    rows = run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[candidates], passages=3)
    assert len(rows) == 8
    for r in rows:
        assert r["predicted"] == max(range(len(r["scores"])), key=r["scores"].__getitem__)
        assert sum(r["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert len(r["passages"]) == len(r["ids"]) == len(r["passage_scores"]) == 3
        assert (r["reply"], r["rationale"], r["citations"], r["cited_ids"]) == ("", "", [], [])
    assert read_manifest(tmp_path / "out")["notes"]["unparsed"] == 0


def test_only_passages_that_stood_in_the_prompt_are_kept(tiny, candidates, tmp_path):
    reading = toy_reading(llm_tokens=80)
    rows = run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[candidates], passages=4, reading=reading)
    dropped = read_manifest(tmp_path / "out")["notes"]["cut"]["dropped_passages"]
    assert dropped > 0
    assert sum(4 - len(r["passages"]) for r in rows) == dropped
    assert {tuple(r["passage_scores"]) for r in rows} <= {(4.0, 3.0, 2.0), (4.0, 3.0), (4.0,), ()}  # the best are kept


def test_what_an_untaught_model_writes_is_unparsed_and_said(tiny, candidates, tmp_path, capsys):
    rows = run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[candidates], passages=2, options=WRITTEN)
    unparsed = sum(r["predicted"] == -1 for r in rows)
    assert unparsed > 0
    assert all(r["scores"] == r["probabilities"] == [] for r in rows)
    assert f"answer: warning: {unparsed} of 8 replies name no option" in capsys.readouterr().err
    assert read_manifest(tmp_path / "out")["notes"]["unparsed"] == unparsed


def test_an_endpoint_gets_the_papers_prompt_and_its_letter_is_read(tiny, candidates, tmp_path, server):
    server.talk = lambda prompt: "B" if "B. " in prompt else "?"
    rows = run(tiny, tmp_path / "out", endpoint=endpoint(server, tmp_path), searches=[candidates], passages=2, options=WRITTEN, reading=SHOWN)  # fmt: skip
    assert [r["predicted"] for r in rows] == [1] * 8
    assert all(r["reply"] == "B" and len(r["ids"]) == 2 for r in rows)
    texts = pq.read_table(tiny / "prepare/passages.parquet")["text"].to_pylist()
    prompts = [s["body"]["messages"][0]["content"] for s in server.seen]
    for r in rows:
        best, next_best = (f"Reference: {texts[p]}\n" for p in r["passages"])
        [prompt] = [p for p in prompts if p.startswith(next_best + best + "My Question: ")]
        assert prompt.endswith("\nPlease only give the correct option. Correct Answer:")
    notes = read_manifest(tmp_path / "out")["notes"]
    assert notes["endpoint"]["requests"] == 8
    assert notes["endpoint"]["model"] == "m"


def test_a_second_run_asks_an_endpoint_nothing(tiny, tmp_path, server):
    first = run(tiny, tmp_path / "out", endpoint=endpoint(server, tmp_path), options=WRITTEN, reading=SHOWN)
    asked = len(server.seen)
    assert run(tiny, tmp_path / "again", endpoint=endpoint(server, tmp_path), options=WRITTEN, reading=SHOWN) == first
    assert len(server.seen) == asked


def test_a_rationale_is_kept_with_the_passages_it_cites(tiny, candidates, tmp_path, server):
    server.talk = lambda prompt: "The passage says so [P2].\nAnother does not exist [P9].\nAnswer: A"
    options = AnswerOptions(method="generate", rationale=True)
    rows = run(tiny, tmp_path / "out", endpoint=endpoint(server, tmp_path), searches=[candidates], passages=3, options=options, reading=SHOWN)  # fmt: skip
    for r in rows:
        assert r["predicted"] == 0
        assert r["rationale"] == "The passage says so [P2].\nAnother does not exist [P9]."
        assert r["citations"] == [2, 9]
        assert r["cited_ids"] == [r["ids"][1]]
    prompt = server.seen[0]["body"]["messages"][0]["content"]
    assert prompt.index("[P3] Reference:") < prompt.index("[P2] Reference:") < prompt.index("[P1] Reference:")
    assert server.seen[0]["body"]["max_tokens"] == options.rationale_tokens


def test_a_local_model_thinks_with_numbered_passages(tiny, candidates, tmp_path, monkeypatch):
    prompts: list[str] = []
    _, tokenizer = load_llm(str(tiny / "llm"))

    def fake(_llm: Any, _tokenizer: Any, rows: list[list[int]], most: int) -> list[str]:
        assert most == 40
        prompts.extend(tokenizer.decode(r) for r in rows)
        return ["Because [P1].\nAnswer: B"] * len(rows)

    monkeypatch.setattr("jmlr.inference.answering.write", fake)
    options = AnswerOptions(method="generate", rationale=True, rationale_tokens=40, answer_batch=3)
    rows = run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[candidates], passages=2, options=options)
    assert len(prompts) == 8
    assert all(r["predicted"] == 1 and r["cited_ids"] == r["ids"][:1] for r in rows)


def test_a_cap_that_is_reached_leaves_no_answers_and_keeps_the_replies(tiny, tmp_path, server):
    # A reply costs 2 tokens, 0.2, and 16, 1.6, are set aside for it: after three there is not enough left.
    capped = endpoint(server, tmp_path, price_out=100.0, most_cost=2.1, parallel=1)
    with pytest.raises(UserError, match="cost cap"):
        run(tiny, tmp_path / "out", endpoint=capped, options=WRITTEN, reading=SHOWN)
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / "cache").glob("??/*.json"))) == len(server.seen) == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give either --llm or --endpoint"),
        ({"llm": "x", "endpoint": {"model": "m"}}, "give either --llm or --endpoint"),
        ({"endpoint": {"model": "m"}}, "only --method generate"),
        ({"endpoint": {"model": "m"}, "options": WRITTEN}, "--endpoint: base_url: Field required"),
        ({"endpoint": {"model": "m", "base_ulr": "x"}, "options": WRITTEN}, r"did you mean 'base_url'\?"),
        ({"endpoint": {"model": "m"}, "options": CUT_WRITTEN}, "--endpoint with --shard-llm: a server holds its model"),
        ({"llm": "x", "options": CUT, "reading": PACKED}, r"answer\.shard_llm with reading\.llm_precision 4bit"),
        ({"llm": "x", "passages": 2}, "give --searches"),
        ({"llm": "x", "options": AnswerOptions(splits=["nowhere"])}, "no question with options in splits nowhere"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_leaves_nothing(tiny, tmp_path, given, said):
    with pytest.raises(UserError, match=said) as error:
        run(tiny, tmp_path / "out", **given)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_endpoint_is_asked_by_one_process(tiny, tmp_path, monkeypatch):
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "h",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        UserError, match="--endpoint by 2 processes; allowed: one, since the server shares out the work"
    ):
        run(tiny, tmp_path / "out", endpoint={"model": "m"}, options=WRITTEN)


def test_one_process_that_is_to_cut_its_model_has_it_whole(tiny, candidates, tmp_path):
    given = {"llm": str(tiny / "llm"), "searches": [candidates], "passages": 2}
    whole, cut = (run(tiny, tmp_path / str(o.shard_llm), options=o, **given) for o in (AnswerOptions(), CUT))
    assert whole == cut


def test_a_question_without_candidates_is_refused(tiny, candidates, tmp_path):
    table = pq.read_table(candidates / "candidates.parquet")
    pq.write_table(table.slice(0, 2), tmp_path / "candidates.parquet")
    with pytest.raises(UserError, match="has no candidates; run the stage that makes it"):
        run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[tmp_path], passages=2)


def test_the_manifest_names_the_key_and_never_holds_it(tiny, tmp_path, server, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")
    run(tiny, tmp_path / "out", endpoint=endpoint(server, tmp_path, key_env="TEST_KEY"), options=WRITTEN, reading=SHOWN)
    assert "sk-very-secret" not in json.dumps(read_manifest(tmp_path / "out"))
    assert server.seen[0]["headers"]["Authorization"] == "Bearer sk-very-secret"


def test_rounds_without_a_training_each_are_refused(tiny, candidates, tmp_path):
    with pytest.raises(UserError, match="--searches of 3 rounds, --trained of 1; allowed: rounds 0 to n"):
        run(tiny, tmp_path / "out", llm=str(tiny / "llm"), searches=[candidates] * 3, trained=[tmp_path], passages=1)
