"""Citation precision of rationales: do the passages that a rationale cites support the answer?

    citation_precision = mean over questions with gold passages of |cited and gold| / |cited|
    citation_grounded  = mean over questions of |cited and read| / |cited|

The share, as in ALCE (Gao et al. 2023, arXiv 2305.14627, section 3.3), but with gold passages in the place of a model that
judges entailment. "[P2]" names the second passage of the prompt, as `answer` resolves it. A number beyond the passages that
were read is a citation of nothing: it is not grounded, and wrong. Each passage counts once however often it is cited.
As in ALCE's code, a question for which nothing is cited counts as 0 (where passages were read, see `jmlr.metrics.table`):
else a system that cites nothing for its hard questions would gain.

    >>> citation_precision([2, 9], ["b"], {"b", "c"})
    0.5
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def named(numbers: Sequence[int], passages: Sequence[str]) -> list[str]:
    """Return the passages that numbers name, in their order; numbers beyond them name none."""
    return [passages[n - 1] for n in numbers if 1 <= n <= len(passages)]


def citation_precision(numbers: Sequence[int], passages: Collection[str], gold: Collection[str]) -> float:
    """Return the share of the citations that name a gold passage.

    Args:
        numbers: every passage number that was cited, each once; none: 0
        passages: those of them that were read, by id
        gold: ids of the gold passages
    """
    return len(set(passages) & set(gold)) / max(len(numbers), 1)


def citation_grounded(numbers: Sequence[int], passages: Collection[str]) -> float:
    """Return the share of the citations that name a passage that was read; arguments as above."""
    return len(set(passages)) / max(len(numbers), 1)
