"""Relevance judgements in TREC's format, which ranx and ir-measures read beside the run files of `search`.

question-1 0 passage-17 1

Tools break ties of a run's scores by passage id; our order breaks them by row (docs/topk.md), so a tool's figure may differ from
ours where the passages of one question have the same score to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def write_qrels(path: Path, gold: Mapping[str, Iterable[str]]) -> None:
    """Write question id -> gold passage ids; ids have no blanks (`prepare` sees to it)."""
    with path.open("w", encoding="utf-8") as f:
        f.writelines(f"{question} 0 {passage} 1\n" for question, passages in gold.items() for passage in passages)
