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
        table["passages"] = [[list(PASSAGES).index(name) for name in ids] for ids in table["ids"]]
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
    assert hits(tmp_path / "prepare", searches) == Hits("", [])


@pytest.mark.parametrize(("values", "best"), [([0.5, 0.5], 1), ([0.6, 0.5, 0.6], 2), ([0.6, 0.5], 0)])
def test_of_equal_rounds_the_later_one_answers(values: list[float], best: int) -> None:
    found = Hits("hit@1", [[1.0] * round(10 * v) + [0.0] * round(10 - 10 * v) for v in values])
    assert found.values == values
    assert found.best == best


@pytest.mark.parametrize(
    ("lost", "won", "kept", "n", "told"),
    [
        (23, 0, 1, 32, True),  # 75 % to 3 %, of a corpus of one's own at the demo's rates
        (6, 0, 2, 8, True),  # as clear as eight questions can be
        (5, 1, 10, 32, False),  # 12.5 points, and chance makes as much in 22 of 100 rounds
        (1, 0, 19, 20, False),  # five points are one question
        (0, 23, 1, 32, False),
        (60, 30, 2000, 4000, True),  # less than one point, of many questions
        (0, 0, 10, 10, False),
    ],
)
def test_a_fall_is_told_where_it_is_more_than_chance(
    tmp_path: Path, lost: int, won: int, kept: int, n: int, told: bool
) -> None:
    asked = [question(i, "train" if i % 2 else "dev", ["p0"]) for i in range(n)]
    rest = ["p2"] * (n - lost - won - kept)
    first = [
        [*["p0"] * kept, *["p0"] * lost, *["p2"] * won, *rest],
        [*["p0"] * kept, *["p2"] * lost, *["p0"] * won, *rest],
    ]
    before, after = made(tmp_path, asked, first)
    shares = f"{(kept + lost) / n:.1%} to {(kept + won) / n:.1%}"
    said = f"hit@1 of train and dev fell from {shares} ({lost} questions lost, {won} won of {n:,})"
    assert fall(tmp_path / "prepare", before, after) == (said if told else "")


def test_without_questions_that_tell_there_is_no_fall(tmp_path: Path) -> None:
    before, after = made(tmp_path, [question(0, "test", ["p0"])], [["p0"], ["p2"]])
    assert fall(tmp_path / "prepare", before, after) == ""


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([1.0] * 2 + [0.0] * 30, "round 1 lost 22 questions and won 0)"),
        ([0.0] + [1.0] * 23 + [0.0] * 8, "round 1 lost 1 question and won 0, which may be chance)"),
        ([1.0] * 24 + [0.0] * 8, ""),
    ],
)
def test_training_in_vain_is_told_with_counts_and_whether_it_may_be_chance(after: list[float], said: str) -> None:
    told = Hits("hit@1", [[1.0] * 24 + [0.0] * 8, after]).in_vain()
    assert told.endswith(said)
    assert told.startswith("no round of training was as good as the retriever before it (hit@1 on 32") == bool(said)
