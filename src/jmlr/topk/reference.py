"""The contract in NumPy, slow and obvious: every kernel, storage, batch and shard count must return these bits."""

from __future__ import annotations

import numpy as np


def exact_dots(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return float64 [B, N]: inner products of float32 accumulated in float64 in index order 0..D-1."""
    total = np.zeros((len(queries), len(vectors)), np.float64)
    for d in range(queries.shape[1]):  # a product of two float32 is exact in float64, so the order of additions is all
        total += np.multiply.outer(queries[:, d].astype(np.float64), vectors[:, d].astype(np.float64))
    return total


def exact_scores(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return float32 [B, N]: `exact_dots` rounded once to float32."""
    with np.errstate(over="ignore"):
        return exact_dots(queries, vectors).astype(np.float32)


def topk_reference(
    queries: np.ndarray, vectors: np.ndarray, k: int, ids: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]), best first by (score descending, id ascending).

    `queries` [B, D] and `vectors` [N, D] are finite float32; `ids` [N] defaults to 0..N-1.
    Where k > N: id -1, score -inf.
    """
    return _best(exact_scores(queries, vectors), k, ids)


def maxsim(
    query_tokens: np.ndarray,
    tokens: np.ndarray,
    offsets: np.ndarray,
    k: int,
    query_lengths: np.ndarray | None = None,
    ids: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]) of exact MaxSim, ordered and padded as `topk_reference`.

    `query_tokens` [B, T, D], of which query b uses the first query_lengths[b], and `tokens` [M, D] are float32; passage
    p has the tokens offsets[p] to offsets[p + 1] - 1. The largest inner products are added in float64, in the order of
    the query's tokens, from 0, and the sum is rounded once to float32.
    """
    count, passages = len(query_tokens), len(offsets) - 1
    scores = np.zeros((count, passages), np.float32)
    for b in range(count):
        dots = exact_dots(query_tokens[b, : None if query_lengths is None else query_lengths[b]], tokens)
        for p in range(passages):
            total = np.float64(0)
            for largest in dots[:, offsets[p] : offsets[p + 1]].max(axis=1):
                total += largest
            with np.errstate(over="ignore"):
                scores[b, p] = total.astype(np.float32)
    return _best(scores, k, ids)


def _best(scores: np.ndarray, k: int, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    names = np.arange(scores.shape[1]) if ids is None else ids
    order = np.lexsort((np.broadcast_to(names, scores.shape), -scores), axis=-1)[:, :k]
    padding = ((0, 0), (0, k - order.shape[1]))
    best = np.pad(np.take_along_axis(scores, order, axis=1), padding, constant_values=-np.inf)
    return best, np.pad(names[order].astype(np.int64), padding, constant_values=-1)
