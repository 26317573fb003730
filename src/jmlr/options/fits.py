"""What must fit together across sections of a run: counts of passages, names of splits, how a model is held and shared."""

from __future__ import annotations

from collections.abc import Container, Iterable

from jmlr.options.train import TrainOptions
from jmlr.runtime.validation import nearest


def check_counts(train: TrainOptions, candidates: int, where: str, own: Container[str] = ()) -> None:
    """Refuse more passages to read (K) or to sample (S) than a search finds (C), and a teacher of its own (`own`) where none learns.

    Raises:
        ValueError: in one line; so does `check_splits`.
    """
    if train.passages > candidates:
        raise ValueError(
            f"{where}: train.passages is {train.passages}; allowed: at most search.candidates, {candidates}"
        )
    if train.joint and train.samples > candidates:
        raise ValueError(f"{where}: train.samples is {train.samples}; allowed: at most search.candidates, {candidates}")
    if "teacher" in own and not train.joint:
        raise ValueError(f"{where}: train.teacher, but train.target is frozen; allowed: with a target, or leave it out")


def check_shared(shard_llm: bool, llm_precision: str, where: str) -> None:
    """Refuse to cut a model of 4 bits over ranks: what bitsandbytes packs has neither the shape nor the type of a weight.

    Raises:
        ValueError: in one line.
    """
    if shard_llm and llm_precision == "4bit":
        raise ValueError(
            f"{where}.shard_llm with reading.llm_precision 4bit, whose packed weights are not cut here; allowed: bfloat16, or "
            "shard_llm false"
        )


def check_splits(named: Iterable[str], known: set[str], where: str) -> None:
    """Refuse a split that no question can be of; nothing is known where records name their own."""
    for split in named:
        if known and split not in known:
            raise ValueError(f"{where}: no question is of split '{split}'{nearest(split, known)}")


def check_begun(train: TrainOptions, where: str) -> None:
    """Refuse passages of another retriever where none is trained, or where training counts on the scores of its own.

    Raises:
        ValueError: in one line.
    """
    if not train.joint:
        raise ValueError(f"{where}.candidates: train.target is frozen; allowed: with a target, or leave it out")
    if train.live_candidates or train.prior_weight:
        what = "live_candidates" if train.live_candidates else f"prior_weight {train.prior_weight:g}"
        raise ValueError(
            f"{where}.candidates with train.{what}, which is of its own retriever; allowed: one of the two"
        )
