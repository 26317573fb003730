"""Citation precision of rationales: do the passages that a rationale cites support the answer?

    citation_precision = mean over questions with a citation of |cited and gold| / |cited|
    citation_grounded  = mean over the same of |cited and read| / |cited|

The share, as in ALCE (Gao et al. 2023, arXiv 2305.14627, section 3.3), but with gold passages in the place of a model that
judges entailment. "[P2]" names the second passage of the prompt, as `answer` resolves it. A number beyond the passages that
were read is a citation of nothing: it is not grounded, and wrong. Each passage counts once however often it is cited.

    >>> cited("Fever after travel [P2]; a film confirms it [P2, P4].")
    [2, 4]
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

BRACKET = re.compile(r"\[([^\[\]]*)\]")
NUMBER = re.compile(r"\bP(\d+)\b", re.I)


def cited(rationale: str) -> list[int]:
    """Return the numbers (from 1) of the passages that a rationale cites, in the order of their first mention."""
    found = (int(n) for inside in BRACKET.findall(rationale) for n in NUMBER.findall(inside))
    return list(dict.fromkeys(found))


def named(numbers: Sequence[int], passages: Sequence[str]) -> list[str]:
    """Return the passages that numbers name, in their order; numbers beyond them name none."""
    return [passages[n - 1] for n in numbers if 1 <= n <= len(passages)]


def citation_precision(numbers: Sequence[int], passages: Collection[str], gold: Collection[str]) -> float:
    """Return the share of the citations that name a gold passage.

    Args:
        numbers: every passage number that was cited, each once; at least one
        passages: those of them that were read, by id
        gold: ids of the gold passages
    """
    return len(set(passages) & set(gold)) / len(numbers)


def citation_grounded(numbers: Sequence[int], passages: Collection[str]) -> float:
    """Return the share of the citations that name a passage that was read; arguments as above."""
    return len(set(passages)) / len(numbers)
