"""What of retrieval a run makes: which retrievers find how many passages, how often; what is encoded and indexed for that.

searches(run)["retriever", 30]      # 1: how often; a fusion's lists are longer than what others take
encodings(run)["retriever"]         # (4, 4): how often questions are encoded, and passages encoded and indexed
"""

from __future__ import annotations

from collections.abc import Iterator

from jmlr.config import Config


def searches(run: Config) -> dict[tuple[str, int], int]:
    """Return how often each retriever, a model's or that of a system, finds so many passages of every question."""
    seeds, most = len(run.seeds), run.search.candidates
    found: dict[tuple[str, int], int] = {}

    def add(name: str, depth: int) -> None:
        model = run.models.get(name)
        if model or depth > most:  # a system's own searches are those of its rounds, below
            found[name, depth] = 1 if run.is_fixed(name) else seeds
        for part in model.lists if model else []:
            add(part, max(depth, model.depth if model else 0))

    for name, system in run.systems.items():
        options = run.train_options(name)
        if options.joint or options.passages:
            add(system.retriever, most)
        if system.candidates:
            add(system.candidates, most)
        if options.joint:
            found[name, most] = system.rounds * seeds
    return found


def encodings(run: Config) -> dict[str, tuple[int, int]]:
    """Return of each model that retrievers begin from, how often questions are encoded, and passages encoded and indexed."""
    seeds, names = len(run.seeds), dict.fromkeys(name for name, _ in searches(run))
    found = {
        m: ((1, 1) if run.is_fixed(m) else (seeds, seeds)) for m in names if m in run.models and not run.models[m].kind
    }
    for name in (s for s in names if s in run.systems):
        own, options, model = run.systems[name].rounds * seeds, run.train_options(name), run.systems[name].retriever
        asked, indexed = found[model]
        found[model] = asked + own, indexed + (0 if options.keeps_passages else own)
    return found


def searches_of(run: Config, model: str) -> Iterator[tuple[int, int]]:
    """Yield (passages of a question, how often) of all searches by vectors of a model, or of what systems made of it."""
    for (name, depth), often in searches(run).items():
        if name == model or (name in run.systems and run.systems[name].retriever == model):
            yield depth, often


def without_rates(run: Config) -> list[str]:
    """Return a line for each retriever without vectors whose jobs are counted and no more."""
    kinds = {name: run.models[name].kind for name, _ in searches(run) if name in run.models}
    names = [name for name, kind in kinds.items() if kind in ("bm25", "fusion")]
    return [f"models.{name} ({run.models[name].kind}): its jobs are counted, their hours are not" for name in names]
