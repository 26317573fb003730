"""Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009), as MedRAG uses it (arXiv 2402.13178).

    scores, rows = fuse([(rows_of_words, ranked), (rows_of_vectors, ranked)], rrf_k=60, k=30)

A passage gets 1 / (rrf_k + r) from each list that has it at rank r, counted from 1. Scores of the lists do not count, so that
they need not be of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jmlr.retrieval.best import best
from jmlr.runtime.distinct import distinct


def fuse(
    lists: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]], *, rrf_k: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (scores float32 [B, k], rows int64 [B, k]) of the k best of several lists.

    Sums are of float64 in the order of the lists, then rounded to float32; equal ones are in the order of rows.

    Args:
        lists: of rows [B, C], best first, and whether each is ranked: one that shares no word with the query is in a list to
            fill it up, and gets nothing for that.
        rrf_k: how little the first ranks stand out.
        k: at most the length of the longest list.
    """
    found = [_one([(rows[n], ranked[n]) for rows, ranked in lists], rrf_k, k) for n in range(len(lists[0][0]))]
    return np.stack([s for s, _ in found]), np.stack([r for _, r in found])


def is_ranked(scores: NDArray[np.float32], retriever: str) -> NDArray[np.bool_]:
    """Tell which passages of a list are ranked: of one by words, or of a fused one, not those with score 0, which fill it up.

    retriever: what found the list, as the manifest's notes name one without vectors
    """
    return scores > 0 if retriever in ("bm25", "fusion") else np.ones_like(scores, dtype=bool)


def _one(
    lists: list[tuple[NDArray[np.int64], NDArray[np.bool_]]], rrf_k: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    known = distinct(np.concatenate([rows for rows, _ in lists]))
    sums = np.zeros(len(known))
    for rows, ranked in lists:
        sums[np.searchsorted(known, rows)] += ranked / (rrf_k + 1 + np.arange(len(rows)))
    scores, places = best(sums.astype(np.float32), k)
    return scores, known[places]
