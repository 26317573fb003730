"""Answer hit rate at k: whether the text of the right answer stands in one of the first k passages.

    answer_hit@k = (1/n) sum_i [ answer_i, as a run of whole words, is in one of passages_i[:k] ]

For questions whose gold passages are not known (Karpukhin et al. 2020, arXiv 2004.04906, section 5: "top-k accuracy").
Compared in lower case, words only. An answer that any passage may hold by chance (yes, no, two letters) is not counted:
`countable` says which.

    >>> answer_hit(["Give Aspirin.", "Rest."], "aspirin", 1)
    1.0
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WORD = re.compile(r"\w+")
CLOSED = frozenset(("yes", "no", "maybe", "true", "false", "none", "both", "all of the above", "none of the above"))
LEAST_LETTERS = 4


def words(text: str) -> str:
    """Return the words of a text in lower case, one blank between them and around them."""
    return f" {' '.join(WORD.findall(text.lower()))} "


def countable(answer: str) -> bool:
    """Tell whether finding this answer in a passage means anything."""
    plain = words(answer).strip()
    return len(plain) >= LEAST_LETTERS and plain not in CLOSED


def answer_hit(texts: Sequence[str], answer: str, k: int) -> float:
    """Return 1.0 if one of the first k passages holds the answer's words in a row, else 0.0."""
    wanted = words(answer)
    return float(any(wanted in words(text) for text in texts[:k]))
