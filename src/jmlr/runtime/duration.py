"""Times as a person reads them.

>>> duration(0.42), duration(42), duration(128), duration(9000), duration(108_000)
('0.4 s', '42 s', '2 min 08 s', '2 h 30 min', '30 h 00 min')
"""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Write seconds in at most two units."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
