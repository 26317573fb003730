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
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    ids: np.ndarray | None = None,
    *,
    allowed: np.ndarray | None = None,
    largest: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]), best first by (score descending, id ascending).

    `queries` [B, D] and `vectors` [N, D] are finite float32; `ids` [N] defaults to 0..N-1.
    `allowed`: bool [N] or [B, N], the rows that count. Where k exceeds them: id -1, score -inf.
    `largest` False: the lowest, by (score ascending, id ascending), with padding of score +inf.
    """
    return _best(exact_scores(queries, vectors), k, ids, allowed, largest)


def range_reference(
    queries: np.ndarray,
    vectors: np.ndarray,
    threshold: float | np.ndarray,
    ids: np.ndarray | None = None,
    *,
    allowed: np.ndarray | None = None,
    largest: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (scores float32 [M], ids int64 [M], offsets int64 [B + 1]) of all rows with score >= threshold, or <= it.

    Query b has the entries offsets[b] to offsets[b + 1] - 1, ordered as by `topk_reference`.
    """
    scores = exact_scores(queries, vectors)
    wanted = np.broadcast_to(np.asarray(threshold, np.float64), (len(queries),))[:, None]
    reach = (scores >= wanted) if largest else (scores <= wanted)
    counts = reach & (True if allowed is None else allowed)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int64)
    best, found = _best(scores, len(vectors), ids, counts, largest)
    held = found >= 0
    return best[held], found[held], offsets


def normalised(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows [N, D] divided by their norms, for metric "cosine"; rows of zeros stay.

    The norm is the root of the sum of squares in index order 0..D-1, in float64; each quotient is rounded once to float32.
    """
    wide = rows.astype(np.float64)
    norms = np.sqrt(np.cumsum(wide * wide, axis=1)[:, -1:])
    return np.where(norms > 0, wide / np.where(norms > 0, norms, 1), wide).astype(np.float32)


def maxsim(
    query_tokens: np.ndarray,
    tokens: np.ndarray,
    offsets: np.ndarray,
    k: int,
    query_lengths: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    *,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]) of exact MaxSim, ordered and padded as `topk_reference`.

    `query_tokens` [B, T, D], of which query b uses the first query_lengths[b], and `tokens` [M, D] are float32; passage
    p has the tokens offsets[p] to offsets[p + 1] - 1. The largest inner products are added in float64, in the order of
    the query's tokens, from 0, and the sum is rounded once to float32. `allowed`: of passages, as above.
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
    return _best(scores, k, ids, allowed)


def _best(
    scores: np.ndarray, k: int, ids: np.ndarray | None, allowed: np.ndarray | None, largest: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    names = np.arange(scores.shape[1]) if ids is None else ids
    best = np.full((len(scores), k), -np.inf if largest else np.inf, np.float32)
    found = np.full((len(scores), k), -1, np.int64)
    for b, row in enumerate(scores):
        counts = np.arange(len(row)) if allowed is None else np.flatnonzero(np.broadcast_to(allowed, scores.shape)[b])
        order = counts[np.lexsort((names[counts], -row[counts] if largest else row[counts]))][:k]
        best[b, : len(order)], found[b, : len(order)] = row[order], names[order]
    return best, found
