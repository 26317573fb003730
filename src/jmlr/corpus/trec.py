"""Runs and relevance judgements in TREC's format, so that ir-measures, ranx and trec_eval read the same figures as we do.

    topics.tsv        1    m1    mcq    test               number, question, dataset, split
    candidates.trec   1 Q0 passage-17 1 0.83 demo-jmlr-seed0-r1   number, Q0, passage, rank, score, tag
    qrels.trec        1 0 passage-17 1                     number, 0, passage, grade

Topics are numbers, as TREC's are: gdeval, by which ir-measures computes nDCG with exponential gains, keeps of an id what follows
its last hyphen and reads it as a number, so `train-0` and `test-0` would be one question. A number is the question's row in
questions.parquet, from 1. Written scores never tie, since tools break ties by passage id and we by row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def topics(questions: Iterable[str]) -> dict[str, int]:
    """Return the number of every question, in the order of questions.parquet."""
    return {id: number for number, id in enumerate(questions, 1)}


def write_topics(path: Path, questions: Sequence[Mapping[str, str]]) -> None:
    """Write number, id, dataset and split of every question of questions.parquet."""
    with path.open("w", encoding="utf-8") as f:
        f.writelines(f"{n}\t{q['id']}\t{q['dataset']}\t{q['split']}\n" for n, q in enumerate(questions, 1))


def write_qrels(path: Path, gold: Mapping[int, Mapping[str, int] | Collection[str]]) -> None:
    """Write topic -> gold passages with their grades, or (ids alone) with 1; ids have no blanks (`prepare` sees to it)."""
    with path.open("w", encoding="utf-8") as f:
        for topic, passages in gold.items():
            grades = passages if isinstance(passages, Mapping) else dict.fromkeys(passages, 1)
            f.writelines(f"{topic} 0 {passage} {grade}\n" for passage, grade in grades.items())


def tag_of(folder: Path) -> str:
    """Return the tag of a search's run file: run, system, seed and round, by which ranx and trec_eval call it.

    >>> tag_of(Path("results/demo/jmlr/seed0/r1/search")), tag_of(Path("my/search by hand"))
    ('demo-jmlr-seed0-r1', 'search_by_hand')
    """
    run, system, seed, round = ["", "", "", "", *folder.absolute().parts][-5:-1]
    told = re.fullmatch(r"seed\d+", seed) and re.fullmatch(r"r\d+", round)
    return re.sub(r"\s+", "_", "-".join((run, system, seed, round)) if told else folder.name) or "jmlr"


def write_run(path: Path, ids: Sequence[Sequence[str]], scores: NDArray[np.float32], tag: str) -> None:
    """Write the passages of every question of questions.parquet, best first.

    Args:
        path: file to make
        ids: passages by question, [B, C]
        scores: float32 [B, C], falling in every row; equal ones are written one float32 apart
        tag: the run's name, without blanks
    """
    with path.open("w", encoding="utf-8") as f:
        for topic, (found, row) in enumerate(zip(ids, untied(scores), strict=True), 1):
            f.writelines(
                f"{topic} Q0 {id} {n} {v:.9g} {tag}\n" for n, (id, v) in enumerate(zip(found, row, strict=True), 1)
            )


def untied(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores [B, C] that fall strictly: one that does not lies one float32 below the one before it.

    >>> untied(np.float32([[2, 1, 1]]))[0, 1:].tolist()
    [1.0, 0.9999999403953552]
    """
    found = np.array(scores, np.float32)
    for i in range(1, found.shape[1]):
        found[:, i] = np.minimum(found[:, i], np.nextafter(found[:, i - 1], np.float32(-np.inf)))
    return found
