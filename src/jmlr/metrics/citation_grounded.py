"""Citations of a passage that was read: the share of a rationale's citations that were among the passages of its prompt.

    citation_grounded = mean over questions of |cited and read| / |cited|

"[P2]" names the second passage of the prompt, as `answer` resolves it. A number beyond the passages that were read is a
citation of nothing: it is not grounded, and wrong. Each passage counts once however often it is cited. As in ALCE's code, a
question for which nothing is cited counts as 0 (where passages were read, see `answered` in `jmlr.metrics`): else a system that cites
nothing for its hard questions would gain.

    >>> citation_grounded([2, 9], ["b"])
    0.5
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def citation_grounded(numbers: Sequence[int], passages: Collection[str]) -> float:
    """Return the share of the citations that name a passage that was read; arguments as for `citation_precision`."""
    return len(set(passages)) / max(len(numbers), 1)
