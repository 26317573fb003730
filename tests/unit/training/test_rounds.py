"""The round that is best on dev answers, by gold or by the answer's words; the test split is never looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.training.rounds import Hits, fall, hits

PASSAGES = {"p0": "Colchicine treats gout.", "p1": "Insulin treats diabetes.", "p2": "Rest is good."}


def question(number: int, split: str, gold: list[str], answer: int = 0) -> dict[str, Any]:
    options = ["colchicine", "insulin"]
    return {
        "id": f"q{number}",
        "split": split,
        "gold_ids": gold,
        "answer_text": "",
        "options": options,
        "answer": answer,
    }


def made(folder: Path, asked: list[dict[str, Any]], rounds: list[list[str]]) -> list[Path]:
    """Write a run's tables; `rounds` holds the first passage of every question in each round."""
    (folder / "prepare").mkdir()
    pq.write_table(pa.Table.from_pylist(asked), folder / "prepare/questions.parquet")
    pq.write_table(
        pa.table({"id": list(PASSAGES), "text": list(PASSAGES.values())}), folder / "prepare/passages.parquet"
    )
    for n, first in enumerate(rounds):
        (folder / f"s{n}").mkdir()
        table = {"question_id": [q["id"] for q in asked], "ids": [[f, "p2"] for f in first]}
        pq.write_table(pa.table(table), folder / f"s{n}/candidates.parquet")
    return [folder / f"s{n}" for n in range(len(rounds))]


def test_gold_passages_of_dev_decide_and_those_of_test_do_not(tmp_path: Path) -> None:
    asked = [question(0, "dev", ["p0"]), question(1, "dev", ["p1"]), question(2, "test", ["p0"])]
    searches = made(tmp_path, asked, [["p0", "p2", "p2"], ["p0", "p1", "p2"], ["p2", "p2", "p0"]])
    found = hits(tmp_path / "prepare", searches)
    assert (found.what, found.values, found.n, found.best) == ("hit@1", [0.5, 1.0, 0.0], 2, 1)


def test_without_gold_the_answers_words_decide(tmp_path: Path) -> None:
    asked = [question(0, "dev", [], 0), question(1, "dev", [], 1)]
    searches = made(tmp_path, asked, [["p0", "p1"], ["p2", "p1"]])
    found = hits(tmp_path / "prepare", searches)
    assert (found.what, found.values, found.best) == ("answer hit@1", [1.0, 0.5], 0)
    assert str(found) == "answer hit@1 on 2 questions of dev: 100.0%, 50.0%"


def test_nothing_to_go_by_is_no_choice(tmp_path: Path) -> None:
    searches = made(tmp_path, [question(0, "test", ["p0"])], [["p0"], ["p2"]])
    assert hits(tmp_path / "prepare", searches) == Hits("", [], 0)


@pytest.mark.parametrize(("values", "best"), [([0.5, 0.5], 1), ([0.6, 0.5, 0.6], 2), ([0.6, 0.5], 0)])
def test_of_equal_rounds_the_later_one_answers(values: list[float], best: int) -> None:
    assert Hits("hit@1", values, 10).best == best


def test_a_fall_is_told_where_it_is_more_than_chance(tmp_path: Path) -> None:
    asked = [question(n, "train", ["p0"]) for n in range(30)]
    before, after, near = made(tmp_path, asked, [["p0"] * 30, ["p2"] * 29 + ["p0"], ["p0"] * 29 + ["p2"]])
    said = "hit@1 of 30 questions of train and dev fell from 100.0% to 3.3%"
    assert fall(tmp_path / "prepare", before, after) == said
    assert fall(tmp_path / "prepare", before, near) == fall(tmp_path / "prepare", after, before) == ""
