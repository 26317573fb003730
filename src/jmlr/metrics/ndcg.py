"""nDCG at k: the normalised discounted cumulative gain (Jarvelin and Kekalainen 2002, ACM TOIS 20(4)).

    DCG@k = sum over ranks r <= k of grade of the passage at r / log2(r + 1); 0 for one that is no gold passage
    nDCG@k = DCG@k / DCG@k of the ideal ranking, which has all gold passages first, the best of them at the top

Mean over questions. The gain is the grade itself, 1 where gold passages have none: the same as trec_eval's ndcg_cut, which
BEIR reports, and as ir-measures' nDCG@k.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log2


def ndcg(ranked: Sequence[str], gold: Mapping[str, int] | Collection[str], k: int) -> float:
    """Return the gain of the first k ranked passages beside the ideal one, in [0, 1]; there must be a gold passage.

    Args:
        ranked: passage ids, best first
        gold: passage id -> grade, 1 or more; or the ids alone
        k: cut-off
    """
    grades = gold if isinstance(gold, Mapping) else dict.fromkeys(gold, 1)
    ideal = sorted(grades.values(), reverse=True)[:k]
    return _gain(grades.get(passage, 0) for passage in ranked[:k]) / _gain(ideal)


def _gain(grades: Iterable[int]) -> float:
    return sum(grade / log2(rank + 1) for rank, grade in enumerate(grades, 1))
