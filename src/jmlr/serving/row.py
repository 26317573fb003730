"""A row of a finished run's table, as its manifests tell it: which models answer, how they read, where they search.

row = row_of(Path("results/demo"), "jmlr", 0)
row.llm, row.adapter, row.passages, row.searches
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.options import AnswerOptions, ReadingOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import answered, answering_round, last_training, made, model_of, part
from jmlr.runtime.manifest import NAME, anew, read_manifest


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        run: folder of the run
        system, seed: which row
        llm: folder or hub name; "" for an endpoint
        endpoint: settings of the server
        adapter: what was trained; None: the model as it is
        reading, answer: how it reads and answers
        passages: how many it reads (K)
        rounds: searches of the retriever before training and after each round up to the one that answers, as manifests name
            them; one of a retriever that stays as it is; none for a closed book
    """

    run: Path
    system: str
    seed: int
    llm: str
    endpoint: dict[str, Any] | None
    adapter: Path | None
    reading: ReadingOptions
    answer: AnswerOptions
    passages: int
    rounds: Sequence[str]

    @property
    def searches(self) -> Sequence[str]:
        """The searches before training and after it: two, one, or none."""
        return [*self.rounds[:1], *self.rounds[1:][-1:]]


def row_of(run: Path, system: str, seed: int) -> Row:
    """Read what a row is from the manifests of its training and its answers.

    Raises:
        UserError: the run has no such row, or it is not finished.
    """
    folder = run / system / f"seed{seed}"
    told = read_manifest(folder / "answer") if (folder / "answer" / NAME).is_file() else None
    settings = told["options"] if told else {}
    answer = AnswerOptions(**{k: settings[k] for k in AnswerOptions.model_fields if k in settings})
    if told and not list(folder.glob("r*/train")):
        notes = told["notes"]
        if not (notes.get("llm") or notes.get("endpoint", {}).get("settings")):
            raise UserError(
                f"'{folder / 'answer'}' does not say who answered: it was made by an earlier version; {anew(folder / 'answer', run)}"
            )
        reading = ReadingOptions(**{k: settings[k] for k in ReadingOptions.model_fields if k in settings})
        answered(run, system, seed)
        llm, endpoint = model_of(run, notes.get("llm", "")), notes.get("endpoint", {}).get("settings")
        return Row(run, system, seed, llm, endpoint, None, reading, answer, notes["passages"], notes["searches"][-1:])
    trained = last_training(run, system, seed)
    manifest = read_manifest(trained)
    options = manifest["options"]
    reading = ReadingOptions(**{k: options[k] for k in ReadingOptions.model_fields if k in options})
    first = _before(folder) or read_manifest(folder / "r1/train")["notes"]["candidates"]
    rounds = [first] if first else []
    if (trained / "retriever").is_dir() and answering_round(run, system, seed) != 0:
        last = int(trained.parent.name[1:])
        earlier = [folder / f"r{n}/search" for n in range(1, last)]
        shown = [s for s in earlier if (s / NAME).is_file()] + [trained.parent / "search"]
        rounds += [str(s.relative_to(run)) for s in shown]
    llm = model_of(run, manifest["notes"]["llm"])
    return Row(run, system, seed, llm, None, trained / "adapter", reading, answer, options["passages"], rounds)


def _before(folder: Path) -> str:
    """Return the search of a row's retriever before training, by its evaluation; "" where there is none yet."""
    evaluated = folder / "evaluate"
    told = read_manifest(evaluated)["inputs"].get("searches", {}) if (evaluated / NAME).is_file() else {}
    return next((str(Path(name).parent) for name in told), "")


def search_of(run: Path, name: str) -> Path:
    """Return a search that a manifest names; raise UserError if it is not there, or something that a question needs beside it."""
    search = part(run, name)
    notes = read_manifest(search)["notes"]
    for other in [*notes.get("fused", []), *([notes["search"]] if "search" in notes else [])]:
        search_of(run, other)
    if notes.get("index"):
        part(run, notes["index"])
    if notes.get("retriever") == "rerank":
        model_of(run, notes["model"])
    if not notes.get("retriever"):  # one of vectors
        model_of(run, read_manifest(made(run, search.parent / "encode/questions"))["notes"]["retriever"])
    made(run, run / "prepare")
    return search


def rows_of(run: Path) -> list[tuple[str, int]]:
    """Return the systems and seeds of a run that have answered, in the order of their names."""
    found = [p.parent for p in run.glob(f"*/seed*/answer/{NAME}")]
    return sorted((p.parents[1].name, int(p.parent.name.removeprefix("seed"))) for p in found)


def private_sources(run: Path) -> list[str]:
    """Return the run's sources whose texts must not leave this machine; where only `prepare` tells that there are any, its name.

    A run without the manifest of `prepare` does not say, so it counts as private.
    """
    fetched = [p.parent for p in sorted(run.glob(f"fetch/*/{NAME}"))]
    named = [f.name for f in fetched if read_manifest(f).get("options", {}).get("private")]
    prepared = run / "prepare"
    told = not (prepared / NAME).is_file() or read_manifest(prepared).get("notes", {}).get("private")
    return named or (["prepare"] if told else [])
