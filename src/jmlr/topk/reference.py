"""The contract in NumPy, slow and obvious: every kernel, storage, batch and shard count must return these bits."""

from __future__ import annotations

import numpy as np


def exact_scores(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return float32 [B, N]: inner products accumulated in float64 in index order 0..D-1, rounded once to float32."""
    total = np.zeros((len(queries), len(vectors)), np.float64)
    for d in range(queries.shape[1]):  # a product of two float32 is exact in float64, so the order of additions is all
        total += np.multiply.outer(queries[:, d].astype(np.float64), vectors[:, d].astype(np.float64))
    with np.errstate(over="ignore"):
        return total.astype(np.float32)


def topk_reference(
    queries: np.ndarray, vectors: np.ndarray, k: int, ids: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores float32 [B, k], ids int64 [B, k]), best first by (score descending, id ascending).

    `queries` [B, D] and `vectors` [N, D] are finite float32; `ids` [N] defaults to 0..N-1.
    Where k > N: id -1, score -inf.
    """
    scores = exact_scores(queries, vectors)
    names = np.arange(len(vectors)) if ids is None else ids
    order = np.lexsort((np.broadcast_to(names, scores.shape), -scores), axis=-1)[:, :k]
    padding = ((0, 0), (0, k - order.shape[1]))
    best = np.pad(np.take_along_axis(scores, order, axis=1), padding, constant_values=-np.inf)
    return best, np.pad(names[order].astype(np.int64), padding, constant_values=-1)
