"""Normalised discounted cumulative gain at k, binary gains (Jarvelin and Kekalainen 2002, ACM TOIS 20(4)).

    DCG@k = sum over ranks r <= k that hold a gold passage of 1 / log2(r + 1)
    nDCG@k = DCG@k / DCG@k of the ideal ranking, which has all gold passages first

Mean over questions. The same as trec_eval's ndcg_cut and ir-measures' nDCG@k.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import log2


def ndcg(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the gain of the first k ranked passages beside the ideal one, in [0, 1]; there must be a gold passage."""
    wanted = set(gold)
    gain = sum(1 / log2(rank + 1) for rank, passage in enumerate(ranked[:k], 1) if passage in wanted)
    return gain / sum(1 / log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
