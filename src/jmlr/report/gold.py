"""What the passages that were read did: accuracy with a gold passage in the prompt and without, and where training changed answers.

How much of a gain is retrieval (more questions with a gold passage read), and how much is reading (more of them answered right)?
Gold is known after the fact, for these figures alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jmlr.report import cost
from jmlr.report.load import ALL, Run, System, read_parquet
from jmlr.report.pool import Estimate, bootstrap, counterpart, headline, main_joint

NEAR = 1.1  # times the operations within which two trainings count as equal


@dataclass(frozen=True)
class Given:
    """A system's accuracy on the questions for which it read a gold passage, and on the others with one in the corpus."""

    system: System
    read: float
    with_gold: Estimate | None
    without: Estimate | None


@dataclass(frozen=True)
class Moved:
    """How answers changed from the first system to the second, for questions of one kind, over all seeds."""

    kind: str
    questions: int
    gained: int
    lost: int
    both_right: int


@dataclass(frozen=True)
class _Marks:
    """Right or not, and a gold passage read or not: bool [seeds, questions]."""

    right: NDArray[np.bool_]
    gold: NDArray[np.bool_]


def given_gold(run: Run) -> list[Given]:
    """Return the figures of every system that reads passages, where any of its questions has a known gold passage."""
    found = []
    for system in run.systems:
        marks = _marks(run, system, run.seeds_of(system.name)) if system.reads else None
        if marks is not None:
            found.append(
                Given(
                    system, float(marks.gold.mean()), *(_share(marks.right, gold) for gold in (marks.gold, ~marks.gold))
                )
            )
    return found


def _share(right: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Estimate | None:
    """Return the share of right answers among those counted, with its interval; None where a seed has none."""
    if not counted.any(axis=1).all():
        return None
    return bootstrap([np.where(counted, right, np.nan)])


def moved(run: Run) -> list[Moved]:
    """Return how answers changed from the frozen retriever's system to the joint one's, by who read a gold passage."""
    joint = main_joint(run)
    frozen = counterpart(run, joint) if joint else None
    if joint is None or frozen is None:
        return []
    seeds = [s for s in run.seeds_of(joint.name) if s in run.seeds_of(frozen.name)]
    before, after = (_marks(run, s, seeds) for s in (frozen, joint)) if seeds else (None, None)
    if before is None or after is None:
        return []
    kinds = {
        "both read a gold passage": before.gold & after.gold,
        f"only {joint.title} did": ~before.gold & after.gold,
        f"only {frozen.title} did": before.gold & ~after.gold,
        "neither did": ~before.gold & ~after.gold,
    }
    return [
        Moved(
            kind, int(n.sum()), int((n & ~before.right & after.right).sum()), int((n & before.right & ~after.right).sum()),
            int((n & before.right & after.right).sum()),
        )
        for kind, n in kinds.items()
    ]  # fmt: skip


def _marks(run: Run, system: System, seeds: Sequence[int]) -> _Marks | None:
    """Return what a system read and answered on the headline's questions that have an answer and a gold passage."""
    dataset, split = headline(run)
    asked = read_parquet(run.prepared / "questions.parquet", ["id", "gold_ids"])
    gold = {q: set(ids) for q, ids in zip(*(asked[c].to_pylist() for c in ("id", "gold_ids")), strict=True) if ids}
    rows = []
    for seed in seeds:
        held = run.answers[system.name, seed]
        table = read_parquet(held.path, ["question_id", "ids"])
        read = dict(zip(*(table[c].to_pylist() for c in ("question_id", "ids")), strict=True))
        kept = {
            q: (right, bool(gold[q].intersection(read[q])))
            for q, d, s, key, right in zip(held.ids, held.datasets, held.splits, held.gold, held.correct, strict=True)
            if s == split and dataset in (d, ALL) and key >= 0 and q in gold
        }
        rows.append([kept[q] for q in sorted(kept)])
    if not rows or not rows[0]:
        return None
    right, with_gold = np.moveaxis(np.array(rows, dtype=bool), 2, 0)
    return _Marks(right, with_gold)


def shared_compute(run: Run) -> list[str]:
    """Say which systems were trained with equal steps, and which with equal operations."""
    trained = [s for s in run.systems if s.rounds and s.train.get("steps") != 0]
    if len(trained) < 2:
        return []
    flops = {s.name: cost.of_system(run, s).training.flops for s in trained}
    steps: dict[int, list[str]] = {}
    for s in trained:
        histories = [len(h) for (name, _), h in run.histories.items() if name == s.name]
        steps.setdefault(max(histories, default=0), []).append(s.title)
    said = [f"{n:,} steps: {', '.join(names)}." for n, names in sorted(steps.items()) if n]
    if all(flops.values()):
        base = min(trained, key=lambda s: flops[s.name])
        times = [f"{s.title} {flops[s.name] / flops[base.name]:.1f}" for s in trained if s is not base]
        equal = [
            f"{a.title} and {b.title}"
            for i, a in enumerate(trained)
            for b in trained[i + 1 :]
            if max(flops[a.name], flops[b.name]) <= NEAR * min(flops[a.name], flops[b.name])
        ]
        said.append(f"Operations of training, times those of {base.title}: {', '.join(times)}.")
        said.append(
            f"Equal within a tenth: {'; '.join(equal)}." if equal else "No two rows were trained with equal operations."
        )
    return said
