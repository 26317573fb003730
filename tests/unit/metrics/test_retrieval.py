"""Retrieval metrics beside hand-worked numbers, and beside another implementation that reads our TREC files."""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.corpus.trec import topics, write_qrels
from jmlr.metrics.answer_hit import answer_hit, countable
from jmlr.metrics.hit import hit
from jmlr.metrics.mrr import mrr
from jmlr.metrics.ndcg import ndcg
from jmlr.metrics.recall import recall
from jmlr.options import SearchOptions
from jmlr.stages.search import search
from jmlr.topk import Index

RANKED = {"q1": ["a", "b", "c", "d"], "q2": ["x", "e", "y", "f"], "q3": ["z", "w", "v", "u"]}
GOLD = {"q1": ["b", "d", "elsewhere"], "q2": ["x"], "q3": ["t"]}


def test_ndcg_is_the_gain_beside_the_ideal_one():
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg(RANKED["q1"], GOLD["q1"], 4) == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)
    assert ndcg(RANKED["q1"], GOLD["q1"], 2) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))
    assert ndcg(RANKED["q2"], GOLD["q2"], 1) == 1.0
    assert ndcg(RANKED["q3"], GOLD["q3"], 4) == 0.0


def test_ndcg_with_grades_gains_the_grade_and_puts_the_best_first():
    gold = {"b": 1, "d": 3, "elsewhere": 2}
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    assert ndcg(RANKED["q1"], gold, 4) == pytest.approx((1 / log2(3) + 3 / log2(5)) / ideal)
    assert ndcg(RANKED["q1"], dict.fromkeys(gold, 1), 4) == ndcg(RANKED["q1"], GOLD["q1"], 4)
    assert ndcg(["d", "elsewhere", "b"], gold, 2) == 1.0


def test_ndcg_is_what_scikit_learn_computes():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truth = [[float(p in GOLD["q1"]) for p in RANKED["q1"]] + [1.0]]  # the gold passage that was not found stands last
    assert ndcg(RANKED["q1"], GOLD["q1"], 4) == pytest.approx(sklearn.ndcg_score(truth, [[5, 4, 3, 2, 1]], k=4))


def searched(root: Path, names: list[str], questions: int, candidates: int) -> dict[str, list[str]]:
    """Let `search` look for random queries among random passages, each there twice; return what candidates.parquet says it found."""
    draw, given = np.random.default_rng(0), {key: root / key for key in ("prepared", "queries", "index")}
    for folder in given.values():
        folder.mkdir()
    pq.write_table(pa.table({"id": names}), root / "prepared/passages.parquet")
    asked = [
        f"{('train', 'test')[i % 2]}-{i // 2}" for i in range(questions)
    ]  # a reader that cuts at the hyphen sees pairs
    pq.write_table(pa.table({"id": asked}), root / "prepared/questions.parquet")
    np.save(root / "queries/vectors.npy", draw.standard_normal((questions, 8), dtype=np.float32))
    vectors = np.tile(draw.standard_normal((len(names) // 2, 8), dtype=np.float32), (2, 1))
    Index.build(vectors, "float32").save(root / "index/index")
    search(root / "search", **given, options=SearchOptions(candidates=candidates))
    table = pq.read_table(root / "search/candidates.parquet")
    return dict(zip(table["question_id"].to_pylist(), table["ids"].to_pylist(), strict=True))


@pytest.mark.parametrize("best", [1, 3])
def test_the_trec_files_of_search_and_evaluate_give_the_same_figures_in_ir_measures(tmp_path: Path, best: int):
    measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    draw = np.random.default_rng(1)
    names = [f"p{i}" for i in draw.permutation(60)]  # ids in another order than rows
    ranked = searched(tmp_path, names, questions=25, candidates=10)
    ids = {q: sorted({*draw.choice(found, 2), *draw.choice(names, 2)}) for q, found in ranked.items()}
    gold = {q: {p: int(draw.integers(1, best + 1)) for p in passages} for q, passages in ids.items()}
    numbers = topics(ranked)
    write_qrels(tmp_path / "qrels.trec", {numbers[q]: passages for q, passages in gold.items()})
    ours = {
        "nDCG@2": [ndcg(ranked[q], gold[q], 2) for q in ranked],
        "nDCG@10": [ndcg(ranked[q], gold[q], 10) for q in ranked],
        "R@2": [recall(ranked[q], gold[q], 2) for q in ranked],
        "R@10": [recall(ranked[q], gold[q], 10) for q in ranked],
        "Success@2": [hit(ranked[q], gold[q], 2) for q in ranked],
        "P@1": [hit(ranked[q], gold[q], 1) for q in ranked],
        "RR": [mrr(ranked[q], gold[q]) for q in ranked],
    }
    if best == 1:  # a gain of 2^grade - 1 is then the grade
        ours["nDCG(dcg='exp-log2')@10"] = ours["nDCG@10"]
    theirs = measures.iter_calc(
        [measures.parse_measure(name) for name in ours],
        measures.read_trec_qrels(str(tmp_path / "qrels.trec")),
        measures.read_trec_run(str(tmp_path / "search/candidates.trec")),
    )
    found = {(m.query_id, str(m.measure)): m.value for m in theirs}
    assert len(found) == 25 * len(ours)
    for name, values in ours.items():
        assert [found[str(numbers[q]), name] for q in ranked] == pytest.approx(values, abs=1e-4), name


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
