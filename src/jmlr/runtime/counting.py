"""Numbers of things as a person reads them.

>>> count_of(1, "system"), count_of(0, "system"), count_of(2000, "query", "queries")
('1 system', '0 systems', '2,000 queries')
"""

from __future__ import annotations


def count_of(number: int, one: str, several: str = "") -> str:
    """Write a number with what is counted; `several`: what more of it are called, where that is not `one` with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
