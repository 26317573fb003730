"""What a reader should be warned of: what the stages warned of, from their manifests, and where a retriever got worse from round to round.

    for caution in cautions(run):
        caution.where, caution.text      # "train, JMLR, seeds 0, 1, round 2", "loss_rank has not fallen in 75 steps ..."

Manifests hold no text of the data, so nothing of it comes from here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jmlr.corpus.answers import letter
from jmlr.report.finding import falls, hits, learned, points
from jmlr.report.load import Job, Run
from jmlr.report.pool import headline

STAYS = "loss_rank has not fallen"  # how that warning of a training begins
FEWEST, NEARLY = 10, 0.9  # questions, and the share of them that makes an answer no choice


@dataclass(frozen=True)
class Caution:
    """One warning, with the jobs that gave it; `times` counts those that differ in their figures only."""

    where: str
    text: str
    times: int = 1


def cautions(run: Run) -> list[Caution]:
    """Return what the run's jobs warned of, in their order, and every fall between rounds."""
    groups: dict[tuple[str, str | None, str], list[tuple[Job, str]]] = {}
    for job in run.jobs:
        for text in job.manifest.get("warnings") or ():
            groups.setdefault((job.stage, job.origin, re.sub(r"[\d.,]+", "#", text)), []).append((job, text))
    found = [Caution(_where(run, [job for job, _ in own]), _text(run, own), len(own)) for own in groups.values()]
    return [*(Caution("report", text) for text in [*falls(run), *one_sided(run)]), *found]


def one_sided(run: Run) -> Iterator[str]:
    """Tell of systems that choose one option nearly always, and far more often than it is right: their accuracy says nothing of reading."""
    split = headline(run)[1]
    for system in run.systems:
        for seed in run.seeds_of(system.name):
            answers = run.answers[system.name, seed]
            chosen = [
                (p, g) for p, g, s in zip(answers.predicted, answers.gold, answers.splits, strict=True) if s == split
            ]
            option, times = Counter(p for p, _ in chosen).most_common(1)[0] if chosen else (-1, 0)
            right = sum(g == option for _, g in chosen)
            if (
                len(chosen) >= FEWEST
                and option >= 0
                and times >= NEARLY * len(chosen)
                and times - right > len(chosen) / 5
            ):
                yield (
                    f"{system.title}, seed {seed}, chose option {letter(option)} for {times} of {len(chosen)} {split} questions, "
                    f"of which it is right for {right}: its accuracy says nothing of reading"
                )


def _text(run: Run, own: list[tuple[Job, str]]) -> str:
    """Return the text of a warning; of a loss that stays, what the retriever learned by then, where that is beyond chance."""
    job, text = own[0]
    if not text.startswith(STAYS) or not job.origin:
        return text
    k, rows = hits(run, job.origin)
    last = max((j.round for j, _ in own if j.round in rows), default=0)
    gap = learned(run, job.origin, k, (min(rows), last)) if last else None
    if gap is None or not gap.beyond_zero or gap.value < 0:
        return text
    rose = f"hit@{k} rose by {points(gap)} from before training to after round {last}"
    return f"{text.partition(';')[0]}, yet the retriever learned: {rose}. That loss says nothing against it"


def unheard(run: Run) -> int:
    """Return how many jobs are of a time when manifests held no warnings."""
    return sum("warnings" not in job.manifest for job in run.jobs)


def _where(run: Run, jobs: list[Job]) -> str:
    titles = {s.name: s.title for s in run.systems}
    first = jobs[0]
    parts = [first.stage, *([titles.get(first.origin, first.origin)] if first.origin else [])]
    parts += [*_numbers("seed", (j.seed for j in jobs)), *_numbers("round", (j.round for j in jobs))]
    return ", ".join(parts)


def _numbers(what: str, given: Iterable[int | None]) -> list[str]:
    """Return "seed 0" or "seeds 0, 1"; nothing where no number is known."""
    known = sorted({n for n in given if n is not None})
    return [f"{what}{'s' if len(known) > 1 else ''} {', '.join(map(str, known))}"] if known else []
