"""Reciprocal rank fusion against a dictionary's sums."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from jmlr.retrieval.fusion import fuse, is_ranked


def by_hand(lists: list[list[int]], rrf_k: int) -> list[tuple[float, int]]:
    """Return (score, row) of all rows, best first, in exact fractions."""
    sums: dict[int, Fraction] = {}
    for rows in lists:
        for rank, row in enumerate(rows, 1):
            sums[row] = sums.get(row, Fraction(0)) + Fraction(1, rrf_k + rank)
    return sorted(((float(v), r) for r, v in sums.items()), key=lambda p: (-p[0], p[1]))


@pytest.mark.parametrize("rrf_k", [0, 60, 100])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_scores_and_order_are_those_of_the_sums(rrf_k, count):
    draw = np.random.default_rng(rrf_k + count)
    lists = [np.stack([draw.permutation(40)[:12] for _ in range(5)]) for _ in range(count)]
    scores, rows = fuse([(rows, rows >= 0) for rows in lists], rrf_k=rrf_k, k=12)
    for n in range(5):
        wanted = by_hand([found[n].tolist() for found in lists], rrf_k)[:12]
        assert rows[n].tolist() == [r for _, r in wanted]
        assert scores[n] == pytest.approx([s for s, _ in wanted], rel=1e-6)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_equal_sums_are_in_the_order_of_rows():
    scores, rows = fuse([(np.array([row]), np.array([[True, True]])) for row in ([7, 3], [3, 7])], rrf_k=60, k=2)
    assert rows.tolist() == [[3, 7]]
    assert scores[0, 0] == scores[0, 1]


def test_a_passage_that_only_fills_a_list_up_gets_nothing_for_it():
    words = np.array([[4, 0, 1]]), np.array([[True, False, False]])
    vectors = np.array([[9, 4, 1]]), np.array([[True, True, True]])
    scores, rows = fuse([words, vectors], rrf_k=60, k=4)
    assert rows.tolist() == [[4, 9, 1, 0]]
    assert scores[0] == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 63, 0])


@pytest.mark.parametrize(
    ("retriever", "ranked"), [("bm25", [True, False]), ("fusion", [True, False]), ("", [True, True])]
)
def test_what_fills_a_list_up_is_known_by_its_score_where_scores_are_above_0(retriever, ranked):
    assert is_ranked(np.float32([2, 0]), retriever).tolist() == ranked
