"""What the thread that has the models does for the API and the pages: it opens rows at their first use, and answers in batches.

    work = Work({"jmlr": row_of(run, "jmlr", 0)})
    queue = Batcher(work)                                        # calls work(kind, system, jobs)

A kind is a method. Each sends its job what the caller is to show, and the caller knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say
from jmlr.serving.batching import Job
from jmlr.serving.row import Row
from jmlr.serving.system import Asked, System

PLACES = 100  # passages among which a place is told; beyond it is "not found"


@dataclass(frozen=True)
class Why:
    """A question whose passages are to be weighed: those it was answered from, and the answer whose loss is told."""

    asked: Asked
    answer: str


@dataclass(frozen=True)
class Moves:
    """A question, and the ids of passages whose places are told round by round."""

    asked: Asked
    ids: Sequence[str]


@dataclass(frozen=True)
class Texts:
    """Texts to encode, as queries or as passages."""

    texts: Sequence[str]
    side: str


class Work:
    """The rows of a run, opened at their first use."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows, self._opened = rows, dict[str, System]()

    @cached_property
    def where(self) -> Any:
        """The device that answers, as in the stage `answer`."""
        from jmlr.runtime.devices import device

        return device()

    def __call__(self, kind: str, system: str, jobs: Sequence[Job]) -> None:
        """Do one batch of jobs of one kind."""
        getattr(self, kind)(self.system(system), jobs)

    def ready(self, name: str) -> None:
        """Open a row and let it answer once, so that nobody waits for what is done at a first use."""
        system = self.system(name)
        if not system.row.endpoint:
            system.answer([Asked("?", ["a", "b"])])

    def system(self, name: str) -> System:
        """Return a row, opened."""
        if name not in self._opened:
            say(f"serve: opening {name}")
            self._opened[name] = System.open(self.rows[name], self.where)
        return self._opened[name]

    def answer(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each question its answer, whole."""
        for job, said in zip(jobs, system.answer([job.asked for job in jobs]), strict=True):
            job.send(said)

    def write(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each question its passages, and then its answer as it grows; a row that chooses, or a server's, answers at once."""
        found = system.found([job.asked for job in jobs])
        for job, passages in zip(jobs, found, strict=True):
            job.send(passages)
        asked = [replace(job.asked, passages=f) for job, f in zip(jobs, found, strict=True)]
        notes: list[dict[str, Any]] = [
            {"far": system.far(job.asked, f), "cut": system.cut(job.asked)} for job, f in zip(jobs, found, strict=True)
        ]
        chosen = [i for i, a in enumerate(asked) if _at_once(system, a)]
        for i, said in zip(chosen, system.answer([asked[i] for i in chosen]) if chosen else (), strict=True):
            jobs[i].send(replace(said, **notes[i]))
        rest = [i for i in range(len(jobs)) if i not in chosen]
        for n, said in system.write([asked[i] for i in rest], live=lambda n: not jobs[rest[n]].cancelled):
            jobs[rest[n]].send(replace(said, **notes[rest[n]]))

    def search(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each question its passages, whole, and what to say where less than all of it was read."""
        for job, found in zip(jobs, system.found([job.asked for job in jobs]), strict=True):
            job.send((found, system.cut(job.asked, answered=False)))

    def embed(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each job the vectors float32 [n, D] of its texts, by the row's retriever, and what to say where some are long."""
        if not system.row.searches:
            raise UserError("this row reads no passages, so it has no retriever")
        finder = system.finder(system.row.searches[-1])
        for job in jobs:
            made = finder.vectors(job.asked.texts, job.asked.side)
            if made.offsets is not None:
                raise UserError("this row's retriever has a vector for each token of a text, and none for the text")
            long, most = finder.longer(job.asked.texts, job.asked.side)
            cut = f"{long} long of {len(job.asked.texts)} texts: the retriever reads the first {most} tokens"
            job.send((np.ascontiguousarray(made.vectors), cut if long else ""))

    def score(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each prompt the log-probabilities of its own tokens."""
        from jmlr.serving.scoring import scored

        for job, told in zip(jobs, scored(system, [job.asked for job in jobs]), strict=True):
            job.send(told)

    def continued(self, system: System, jobs: Sequence[Job]) -> None:
        """Send each prompt what the model writes after it, as it grows."""
        from jmlr.serving.scoring import continuations

        for i, text in continuations(system, [job.asked for job in jobs], live=lambda i: not jobs[i].cancelled):
            jobs[i].send(text)

    def why(self, system: System, jobs: Sequence[Job]) -> None:
        """Send the loss of an answer without a passage, and under each of those given."""
        for job in jobs:
            asked = job.asked.asked
            job.send(system.losses(asked, asked.passages or (), job.asked.answer))

    def moves(self, system: System, jobs: Sequence[Job]) -> None:
        """Send the place of each passage before training and after each round; None: beyond PLACES."""
        for name in system.row.rounds:
            found = system.found([replace(job.asked.asked, passages=None, count=PLACES) for job in jobs], name)
            for job, passages in zip(jobs, found, strict=True):
                place = {p.id: n for n, p in enumerate(passages, 1)}
                job.send({"round": name, "places": [place.get(id) for id in job.asked.ids]})


def _at_once(system: System, asked: Asked) -> bool:
    """Tell whether a row's answer comes in one piece."""
    return bool(system.row.endpoint or (asked.options and system.row.answer.method == "likelihood"))
