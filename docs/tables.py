"""Write the tables that follow from the files of a folder into the pages: python docs/tables.py (a test fails where they differ)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from jmlr import losses, metrics
from jmlr.runtime.variants import line_of, listed

ROOT = Path(__file__).resolve().parents[1]


def targets() -> Iterator[str]:
    """Yield the table of the retriever's targets."""
    yield "| `train.target` | what | scores | options of its own |"
    yield "|---|---|---|---|"
    for name in listed("losses"):
        own = ", ".join(f"`{option}`" for option in losses.options_of(name)) or "-"
        yield f"| `{name}` | {line_of('losses', name)} | {'scaled' if losses.target(name).SCALED else 'raw'} | {own} |"


def measures() -> Iterator[str]:
    """Yield the table of metrics; a metric is taken of the questions of which the first thing that it takes is known."""
    yield "| metric | what | of | file |"
    yield "|---|---|---|---|"
    for name in metrics.names():
        needed = metrics.metric(name)[1]
        at_k = " at k" if "k" in needed else ""
        what = line_of("metrics", name).partition(": ")[2]
        yield f"| `{name}`{at_k} | {what} | {metrics.FACTS[needed[0]][1]} | `src/jmlr/metrics/{name}.py` |"


TABLES = {"docs/llm_rank.md": {"targets": targets}, "docs/metrics.md": {"metrics": measures}}


def pages() -> dict[str, str]:
    """Return the pages as they should be, by name."""
    found = {}
    for page, tables in TABLES.items():
        found[page] = (ROOT / page).read_text(encoding="utf-8")
        for name, table in tables.items():
            begin, end = f"<!-- {name} begin -->\n", f"<!-- {name} end -->"
            found[page] = re.sub(f"{begin}.*?{end}", begin + "\n".join(table()) + f"\n{end}", found[page], flags=re.S)
    return found


if __name__ == "__main__":
    for page, text in pages().items():
        (ROOT / page).write_text(text, encoding="utf-8")
        print(page)
