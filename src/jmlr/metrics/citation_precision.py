"""Citations of a gold passage: the share of a rationale's citations that are gold (citation precision).

    citation_precision = mean over questions with gold passages of |cited and gold| / |cited|

As in ALCE (Gao et al. 2023, arXiv 2305.14627, section 3.3), but with gold passages in the place of a model that judges
entailment. What a citation is, and what counts where there is none: `jmlr.metrics.citation_grounded`.

    >>> citation_precision([2, 9], ["b"], {"b", "c"})
    0.5
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def citation_precision(numbers: Sequence[int], passages: Collection[str], gold: Collection[str]) -> float:
    """Return the share of the citations that name a gold passage.

    Args:
        numbers: every passage number that was cited, each once; none: 0
        passages: those of them that were read, by id
        gold: ids of the gold passages
    """
    return len(set(passages) & set(gold)) / max(len(numbers), 1)
