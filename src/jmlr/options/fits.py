"""What must fit together across sections of a run: counts of passages, and names of splits."""

from __future__ import annotations

from collections.abc import Iterable

from jmlr.options.data import QuestionsOptions
from jmlr.options.train import TrainOptions
from jmlr.runtime.validation import nearest


def check_counts(train: TrainOptions, candidates: int, where: str) -> None:
    """Refuse more passages to read (K) or to judge (S) than a search finds (C).

    Raises:
        ValueError: in one line; so does `check_splits`.
    """
    if train.passages > candidates:
        raise ValueError(
            f"{where}: train.passages is {train.passages}; allowed: at most search.candidates, {candidates}"
        )
    if train.joint and train.samples > candidates:
        raise ValueError(f"{where}: train.samples is {train.samples}; allowed: at most search.candidates, {candidates}")


def check_splits(named: Iterable[str], questions: Iterable[QuestionsOptions], where: str) -> None:
    """Refuse a split that no entry of questions can have; entries whose records name their splits can have any."""
    known: set[str] = set()
    for part in questions:
        if not part.files and not part.split:
            return
        known.update(part.files or (part.shares if part.split == "hash" else [part.split]), part.split_ids)
    for split in named:
        if known and split not in known:
            raise ValueError(f"{where}: no question is in split '{split}'{nearest(split, known)}")
