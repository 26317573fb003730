"""Judges on a real local server: order, ties, agreement, and what is written for the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.options import EndpointOptions, JudgeOptions
from jmlr.runtime.errors import UserError
from jmlr.stages.judge import judge

N = 12


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Return two systems' answers: `good` is right in the first nine of twelve, `bad` in none."""
    prepared = tmp_path / "prepare"
    prepared.mkdir()
    ids = [f"q{i:02}" for i in range(N)]
    questions = {"id": ids, "dataset": ["d"] * N, "split": ["test"] * N, "question": [f"Question {i}?" for i in range(N)],
                 "options": [["yes", "no"]] * N, "answer": pa.array([0] * N, pa.int32())}  # fmt: skip
    pq.write_table(pa.table(questions), prepared / "questions.parquet")
    pq.write_table(
        pa.table({"title": ["", "Book"], "text": ["First text.", "Second text."]}), prepared / "passages.parquet"
    )
    folders = []
    for system, right in (("good", 9), ("bad", 0)):
        folder = tmp_path / system / "seed0" / "answer"
        folder.mkdir(parents=True)
        rows = [
            {"question_id": q, "predicted": 0 if i < right else (1 if i < 11 else -1), "rationale": f"Text {i + right} says so.", "passages": [1]}
            for i, q in enumerate(ids)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), folder / "answers.parquet")
        folders.append(folder)
    return {"out": tmp_path / "judge", "prepared": prepared, "answers": folders}


def read(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return json.loads((out / "summary.json").read_text()), pq.read_table(out / "pairs.parquet").to_pylist()


def fair(prompt: str) -> str:
    """Prefer the answer that chose "yes"; else a tie."""
    first, second = (part.split("\n")[1] for part in prompt.split("### Answer ")[1:])
    better = {("Choice: yes", True): "1", ("Choice: yes", False): "2"}
    verdict = "tie" if first == second else better.get((first, True)) or better.get((second, False)) or "tie"
    return f"Reasons.\nVerdict: {verdict}"


def endpoint(server: Any, tmp_path: Path, model: str) -> dict[str, Any]:
    return EndpointOptions(base_url=server.url, model=model, cache=str(tmp_path / "cache")).model_dump()


def options(*judges: str, **more: Any) -> JudgeOptions:
    return JudgeOptions(judges=list(judges), pairs=[["good", "bad"]], judge_bootstrap=200, **more)


def test_the_better_system_is_preferred_in_both_orders(given, server, tmp_path):
    server.talk = fair
    judge(**given, options=options("fair"), models={"fair": endpoint(server, tmp_path, "f")})
    summary, rows = read(given["out"])
    [found] = summary["comparisons"]
    assert (found["a_wins"], found["b_wins"], found["ties"], found["unparsed"]) == (9, 0, 3, 0)
    assert found["preference"] == pytest.approx((9 + 1.5) / 12)
    assert found["low"] < found["preference"] < found["high"]
    assert summary["agreement"] == []
    assert summary["judges"] == {"fair": "f"}
    assert len(server.seen) == 2 * N
    assert all(r["a_right"] == (r["verdict"] == "a") and not r["b_right"] for r in rows)


def test_a_judge_that_prefers_a_place_finds_ties_only(given, server, tmp_path):
    server.talk = lambda prompt: "Verdict: 1"
    judge(**given, options=options("first"), models={"first": endpoint(server, tmp_path, "f")})
    [found] = read(given["out"])[0]["comparisons"]
    assert (found["ties"], found["order_dependent"], found["preference"]) == (N, N, 0.5)


def test_a_verdict_that_cannot_be_read_is_no_tie(given, server, tmp_path):
    server.talk = lambda prompt: "I cannot tell."
    judge(**given, options=options("mute"), models={"mute": endpoint(server, tmp_path, "f")})
    [found] = read(given["out"])[0]["comparisons"]
    assert (found["unparsed"], found["ties"]) == (N, 0)
    assert found["preference"] is found["low"] is None


def test_two_judges_are_compared_by_kappa(given, server, tmp_path):
    server.talk = fair
    models = {"x": endpoint(server, tmp_path, "x"), "y": endpoint(server, tmp_path, "y")}
    judge(**given, options=options("x", "y"), models=models)
    summary, rows = read(given["out"])
    assert summary["agreement"] == [
        {"judges": ["x", "y"], "a": "good", "b": "bad", "n": N, "observed": 1.0, "kappa": 1.0}
    ]
    assert len(rows) == 2 * N


def test_names_of_systems_are_not_shown_and_the_key_only_on_request(given, server, tmp_path):
    judge(**given, options=options("x", show_key=False), models={"x": endpoint(server, tmp_path, "x")})
    prompt = server.seen[0]["body"]["messages"][0]["content"]
    assert "The right answer" not in prompt
    assert "[P1] Book. Second text." in prompt
    assert "good" not in prompt
    assert "bad" not in prompt
    judge(**given, options=options("x"), models={"x": endpoint(server, tmp_path, "x")})
    assert "The right answer: yes" in server.seen[-1]["body"]["messages"][0]["content"]


def test_a_sample_of_questions_is_the_same_every_time(given, server, tmp_path):
    models = {"x": endpoint(server, tmp_path, "x")}
    judge(**given, options=options("x", judged_questions=5), models=models)
    first = [r["question_id"] for r in read(given["out"])[1]]
    assert len(first) == 5
    judge(**given, options=options("x", judged_questions=5), models=models)
    assert [r["question_id"] for r in read(given["out"])[1]] == first
    assert len(server.seen) == 10


def test_a_local_model_can_judge(given, tiny):
    more = {"judge_chat": False, "judge_tokens": 4, "judged_questions": 2}
    with pytest.raises(UserError, match="this model reads at most 512"):
        judge(**given, options=options("local", **{**more, "judge_tokens": 512}), models={"local": str(tiny / "llm")})
    judge(**given, options=options("local", **more), models={"local": str(tiny / "llm")})
    [found] = read(given["out"])[0]["comparisons"]
    assert found["n"] == 2
    assert found["unparsed"] == 2  # it cannot even read


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": JudgeOptions()}, "at least one of each"),
        ({"models": {}}, "no judge 'x' .given: none."),
        ({"options": JudgeOptions(judges=["x"], pairs=[["good", "best"]])}, "none of system 'best'"),
        ({"models": {"x": {"model": "m"}}}, "--models: base_url: Field required"),
    ],
)
def test_what_cannot_be_judged_is_one_line(given, server, tmp_path, change, said):
    arguments = {"options": options("x"), "models": {"x": endpoint(server, tmp_path, "x")}, **change}
    with pytest.raises(UserError, match=said):
        judge(**given, **arguments)
    assert not given["out"].exists()


def test_systems_that_answered_different_questions_are_refused(given, server, tmp_path):
    path = given["answers"][1] / "answers.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(UserError, match="only one of them answered question 'q00'"):
        judge(**given, options=options("x"), models={"x": endpoint(server, tmp_path, "x")})
