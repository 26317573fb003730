"""The main finding in words, made from the numbers: it never claims more than the intervals allow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pyarrow.compute as pc

from jmlr.report import cost
from jmlr.report.load import ALL, Row, Run, System, read_parquet
from jmlr.report.pool import Estimate, change, counterpart, difference, headline, lookup, main_joint, without_passages


def pct(value: float) -> str:
    """Write a share as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def sentences(run: Run) -> list[str]:
    """Return what this run shows: the comparison, the value of reading, the retriever, and how sure that is."""
    dataset, split = headline(run)
    joint = main_joint(run)
    frozen = counterpart(run, joint) if joint else next((s for s in run.systems if s.reads), None)
    closed = without_passages(run, frozen) if frozen else None
    said = []
    if joint and frozen:
        said.append(_joint(run, joint, frozen, dataset, split))
    else:
        said += [_alone(run, s, split) for s in run.systems[:3]]
        said.append(
            "No system trained jointly stands beside one whose retriever stayed frozen: nothing follows about joint training."
        )
    if closed and frozen:
        said.append(_reading(run, frozen, closed, dataset, split))
    if joint:
        said += [*_retriever(run, joint), *falls(run, joint)]
        said += _road(run, joint, dataset, split)
    said.append(_certainty(run))
    return said


def best_row(run: Run, system: System) -> Row | None:
    """Return a system's pooled accuracy after its last round."""
    rows = lookup(run, system.name, "accuracy")
    return rows[max(rows)] if rows else None


def answered(run: Run, system: System) -> str:
    """Say how many questions a system answered right, with the interval."""
    row = best_row(run, system)
    if row is None:
        return "no figure"
    interval = "" if row.low is None or row.high is None else f" ({pct(row.low)} to {pct(row.high)})"
    return f"{pct(row.value)} %{interval}"


def overlap(a: Row | None, b: Row | None) -> bool:
    """Tell whether two intervals overlap; without intervals nothing can be told apart, so they do."""
    if a is None or b is None or a.low is None or a.high is None or b.low is None or b.high is None:
        return True
    return a.low <= b.high and b.low <= a.high


def points(estimate: Estimate) -> str:
    """Say a difference in points, with its interval."""
    size = f"{abs(100 * estimate.value):.1f} points"
    if estimate.alike:
        return f"{size} (the same on every question, which gives no interval)"
    low, high = (100 * v for v in (estimate.low, estimate.high))
    return f"{size} (95 % interval of the difference {low:+.1f} to {high:+.1f})"


def unsure(estimate: Estimate) -> str:
    """Say why a difference is no finding."""
    return "is not told as a finding" if estimate.alike and estimate.value else "cannot be told from zero"


def _joint(run: Run, joint: System, frozen: System, dataset: str, split: str) -> str:
    gap = difference(run, joint.name, frozen.name, dataset, split)
    a, b = best_row(run, joint), best_row(run, frozen)
    head = (f"{joint.title} answers {answered(run, joint)} of {questions(run)} {split} questions right, "
            f"{frozen.title} {answered(run, frozen)}: ")  # fmt: skip
    if not gap.beyond_zero:
        return head + f"the difference, {points(gap)}, {unsure(gap)}."
    word = "gained" if gap.value > 0 else "lost"
    apart = "; the two systems' own intervals do not overlap" if not overlap(a, b) else ""
    return head + f"joint training {word} {points(gap)}{apart}."


def _alone(run: Run, system: System, split: str) -> str:
    return f"{system.title} answers {answered(run, system)} of {questions(run)} {split} questions right."


def _reading(run: Run, frozen: System, closed: System, dataset: str, split: str) -> str:
    gap = difference(run, frozen.name, closed.name, dataset, split)
    row, guess = best_row(run, closed), chance(run)
    near = (
        row is not None
        and guess is not None
        and row.low is not None
        and row.high is not None
        and row.low <= guess <= row.high
    )
    guessing = f", which cannot be told from guessing ({pct(guess)} %)" if near and guess is not None else ""
    head = f"Without passages ({closed.title}) it is {answered(run, closed)}{guessing}; "
    if not gap.beyond_zero:
        return head + f"what reading with a frozen retriever changes, {points(gap)}, {unsure(gap)}."
    return head + f"reading with a frozen retriever {'adds' if gap.value > 0 else 'costs'} {points(gap)}."


def learned(run: Run, system: str, k: int | None, rounds: tuple[int, int]) -> Estimate | None:
    """Return by how much hit@k changed between two rounds: from round 0 on as the table has it, if so; None where it is not known."""
    row = lookup(run, system, "hit_change", k=k).get(rounds[1]) if rounds[0] == 0 else None
    if row is None or row.low is None or row.high is None:
        return change(run, system, "hit", k, rounds)
    return Estimate(row.value, row.low, row.high)


def _retriever(run: Run, joint: System) -> list[str]:
    k, rows = hits(run, joint.name)
    if len(rows) < 2:
        return []
    before, after = rows[min(rows)], rows[max(rows)]
    what = "a gold passage stands first" if k == 1 else f"a gold passage is among the first {k}"
    head = f"Its retriever saw no relevance label; {what} for {_interval(before)} of the questions before training and for {_interval(after)} after"
    gap = learned(run, joint.name, k, (min(rows), max(rows)))
    if gap is None or gap.alike:
        return [head + ": no change is claimed, since no interval can be given."]
    interval = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    if not gap.beyond_zero:
        return [head + f": the change question by question, {interval} points, cannot be told from zero."]
    way = "rise" if gap.value > 0 else "fall"
    factor = f", {after.value / before.value:.1f} times as many" if gap.value > 0 and before.value > 0 else ""
    return [
        f"{head}: a {way} of {abs(100 * gap.value):.1f} points (95 % interval, question by question, {interval}){factor}."
    ]


def falls(run: Run, system: System | None = None) -> list[str]:
    """Return a sentence for every round after which a retriever finds fewer gold passages than before, beyond chance."""
    said = []
    for joint in [system] if system else [s for s in run.systems if s.joint]:
        k, rows = hits(run, joint.name)
        for before, after in pairwise(sorted(rows)):
            gap = learned(run, joint.name, k, (before, after))
            if gap and gap.beyond_zero and gap.value < 0:
                said.append(f"In round {after} the retriever of {joint.title} got worse: hit@{k} fell from {pct(rows[before].value)} % to "
                            f"{pct(rows[after].value)} %, by {points(gap)}.")  # fmt: skip
    return said


def _road(run: Run, joint: System, dataset: str, split: str) -> list[str]:
    """Compare with the conventional road, pre-training that goes on and then fine-tuning, where the run has one."""
    ours = cost.of_system(run, joint).adaptation
    said = []
    for system in run.systems:
        whole = cost.of_system(run, system)
        if not whole.continued.jobs or system.joint or not ours.seconds:
            continue
        theirs = whole.adaptation
        gap = difference(run, joint.name, system.name, dataset, split)
        sure = points(gap) if gap.beyond_zero else f"{points(gap)}, which {unsure(gap)}"
        compute = f" and {theirs.flops / ours.flops:.1f} times the FLOPs" if ours.flops and theirs.flops else ""
        said.append(
            f"The conventional road ({system.title}), pre-training on the corpus and then fine-tuning, takes {theirs.seconds / ours.seconds:.1f} "
            f"times the time{compute} of {joint.title} from the same base model. It answers {answered(run, system)} right; "
            f"the difference to {joint.title} is {sure}."
        )
    return said


def _interval(row: Row) -> str:
    return f"{pct(row.value)} %" + (
        "" if row.low is None or row.high is None else f" ({pct(row.low)} to {pct(row.high)})"
    )


def _certainty(run: Run) -> str:
    if len(run.seeds) > 1:
        return f"Intervals are over questions and over {len(run.seeds)} seeds."
    return "One seed was run: the intervals say how sure the figures are for other questions, not for another training."


def hits(run: Run, system: str, seed: str = ALL) -> tuple[int, dict[int, Row]]:
    """Return the smallest k of hit@k, and the figure by round."""
    dataset, split = headline(run)
    ks = sorted({r.k for r in run.rows if r.metric == "hit" and r.k and (r.dataset, r.split) == (dataset, split)})
    return (ks[0], lookup(run, system, "hit", k=ks[0], seed=seed)) if ks else (1, {})


def questions(run: Run) -> int:
    """Return how many questions the headline is about."""
    return max((row.n for system in run.systems if (row := best_row(run, system))), default=0)


def chance(run: Run) -> float | None:
    """Return the accuracy of guessing on the headline's questions: the mean of 1 / number of options."""
    dataset, split = headline(run)
    table = read_parquet(run.prepared / "questions.parquet", ["dataset", "split", "options", "answer"])
    keep = pc.and_(pc.equal(table["split"], split), pc.greater_equal(table["answer"], 0))
    if dataset != ALL:
        keep = pc.and_(keep, pc.equal(table["dataset"], dataset))
    table = table.filter(keep)
    counts: Sequence[int] = [c for c in pc.list_value_length(table["options"]).to_pylist() if c]
    return sum(1 / c for c in counts) / len(counts) if counts else None
