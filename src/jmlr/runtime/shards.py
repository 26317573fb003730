"""Parts of a whole, as separate jobs: 'i/n' names the i-th of n equal runs of rows, counted from 0.

>>> shard_rows("1/4", 10)
(2, 5)
"""

from __future__ import annotations

from jmlr.runtime.errors import UserError


def shard_of(text: str) -> tuple[int, int]:
    """Return (i, n) of 'i/n'; raise UserError unless 0 <= i < n."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise UserError(f"--shard '{text}': give 'i/n' with 0 <= i < n, e.g. 0/4")
    return int(number), int(count)


def shard_rows(text: str, rows: int) -> tuple[int, int]:
    """Return the first row of a shard and the one behind its last: together the shards cover all rows once."""
    number, count = shard_of(text)
    return rows * number // count, rows * (number + 1) // count
