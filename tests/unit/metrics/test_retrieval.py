"""Retrieval metrics beside hand-worked numbers, and beside another implementation that reads our TREC files."""

from __future__ import annotations

from math import log2
from pathlib import Path

import pytest

from jmlr.metrics.answer_hit import answer_hit, countable
from jmlr.metrics.hit import hit
from jmlr.metrics.mrr import reciprocal_rank
from jmlr.metrics.ndcg import ndcg
from jmlr.metrics.qrels import write_qrels
from jmlr.metrics.recall import recall

RANKED = {"q1": ["a", "b", "c", "d"], "q2": ["x", "e", "y", "f"], "q3": ["z", "w", "v", "u"]}
GOLD = {"q1": ["b", "d", "elsewhere"], "q2": ["x"], "q3": ["t"]}


def test_ndcg_is_the_gain_beside_the_ideal_one():
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg(RANKED["q1"], GOLD["q1"], 4) == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)
    assert ndcg(RANKED["q1"], GOLD["q1"], 2) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))
    assert ndcg(RANKED["q2"], GOLD["q2"], 1) == 1.0
    assert ndcg(RANKED["q3"], GOLD["q3"], 4) == 0.0


def test_ndcg_is_what_scikit_learn_computes():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truth = [[float(p in GOLD["q1"]) for p in RANKED["q1"]] + [1.0]]  # the gold passage that was not found stands last
    assert ndcg(RANKED["q1"], GOLD["q1"], 4) == pytest.approx(sklearn.ndcg_score(truth, [[5, 4, 3, 2, 1]], k=4))


def test_trec_files_give_the_same_figures_in_ir_measures(tmp_path: Path):
    measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    write_qrels(tmp_path / "qrels.trec", GOLD)
    lines = [f"{q} Q0 {p} {r + 1} {10 - r} jmlr\n" for q, found in RANKED.items() for r, p in enumerate(found)]
    (tmp_path / "run.trec").write_text("".join(lines))
    ours = {
        "nDCG@2": [ndcg(RANKED[q], GOLD[q], 2) for q in RANKED],
        "nDCG@4": [ndcg(RANKED[q], GOLD[q], 4) for q in RANKED],
        "R@2": [recall(RANKED[q], GOLD[q], 2) for q in RANKED],
        "Success@2": [hit(RANKED[q], GOLD[q], 2) for q in RANKED],
        "RR": [reciprocal_rank(RANKED[q], GOLD[q]) for q in RANKED],
    }
    theirs = measures.calc_aggregate(
        [measures.parse_measure(name) for name in ours],
        measures.read_trec_qrels(str(tmp_path / "qrels.trec")),
        measures.read_trec_run(str(tmp_path / "run.trec")),
    )
    assert {str(k): v for k, v in theirs.items()} == {k: pytest.approx(sum(v) / 3, abs=1e-4) for k, v in ours.items()}


@pytest.mark.parametrize(
    ("answer", "k", "found"),
    [
        ("deep-vein thrombosis", 1, 0.0),
        ("deep-vein thrombosis", 2, 1.0),
        ("Deep vein Thrombosis!", 2, 1.0),
        ("vein thromb", 2, 0.0),  # whole words only
        ("malaria", 2, 0.0),
    ],
)
def test_an_answer_is_hit_where_its_words_stand_in_a_row(answer, k, found):
    assert answer_hit(["The vein is deep.", "Heparin treats deep vein thrombosis."], answer, k) == found


@pytest.mark.parametrize(("answer", "counts"), [("Yes", False), ("maybe.", False), ("IgA", False), ("asthma", True)])
def test_answers_that_any_passage_may_hold_are_not_counted(answer, counts):
    assert countable(answer) is counts
