"""The metrics are their formulas, and an unparsed answer is never right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jmlr.corpus.trec import untied, write_qrels, write_run
from jmlr.metrics.accuracy import accuracy
from jmlr.metrics.hit import hit
from jmlr.metrics.mrr import mrr
from jmlr.metrics.recall import recall
from jmlr.metrics.unparsed import unparsed


def test_accuracy_counts_unparsed_answers_as_wrong_and_apart() -> None:
    pairs = [(0, 0), (1, 2), (2, -1), (0, -1)]
    assert [accuracy(*pair) for pair in pairs] == [1, 0, 0, 0]
    assert [unparsed(predicted) for _, predicted in pairs] == [0, 0, 1, 1]


def test_accuracy_refuses_open_questions() -> None:
    with pytest.raises(ValueError, match="open questions"):
        accuracy(-1, -1)


@pytest.mark.parametrize(
    ("k", "hits", "recalls"), [(1, 0.0, 0.0), (2, 1.0, 1 / 3), (3, 1.0, 1 / 3), (4, 1.0, 2 / 3), (9, 1.0, 2 / 3)]
)
def test_hit_and_recall_at_k(k: int, hits: float, recalls: float) -> None:
    ranked, gold = ["a", "b", "c", "d"], {"b", "d", "elsewhere"}
    assert hit(ranked, gold, k) == hits
    assert recall(ranked, gold, k) == pytest.approx(recalls)


def test_reciprocal_rank_is_of_the_first_gold_passage() -> None:
    assert mrr(["a", "b", "c"], {"c", "b"}) == 0.5
    assert mrr(["a", "b", "c"], {"z"}) == 0.0


def test_qrels_have_the_four_columns_of_trec(tmp_path: Path) -> None:
    write_qrels(tmp_path / "qrels.trec", {1: ["a", "b"], 2: ["c"]})
    assert (tmp_path / "qrels.trec").read_text() == "1 0 a 1\n1 0 b 1\n2 0 c 1\n"


def test_written_scores_never_tie_and_keep_their_order(tmp_path: Path) -> None:
    scores = np.float32([[3, 2, 2, 2, np.nextafter(np.float32(2), np.float32(1)), 1], [0, 0, 0, -0.0, -1, -1]])
    found = untied(scores)
    assert (np.diff(found, axis=1) < 0).all()
    assert np.abs(found - scores).max() <= 1e-6
    write_run(tmp_path / "run.trec", [list("abcdef")] * 2, scores, "demo-jmlr-seed0-r1")
    read = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert {r[5] for r in read} == {"demo-jmlr-seed0-r1"}
    assert [r[0] for r in read] == ["1"] * 6 + ["2"] * 6
    assert [np.float32(r[4]) for r in read] == found.ravel().tolist()
