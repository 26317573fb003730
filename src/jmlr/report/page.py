"""The page: one HTML file that needs no network, from `page.html.jinja` and `page.css`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jmlr.report import cost, plots
from jmlr.report.examples import changes
from jmlr.report.finding import pct, sentences
from jmlr.report.load import Job, Row, Run
from jmlr.report.pool import headline, lookup
from jmlr.report.tables import lines


def render(run: Run, *, title: str, remark: str, command: str, examples: int) -> str:
    """Return the page of a run as HTML."""
    environment = Environment(
        loader=PackageLoader("jmlr.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(pct=pct, duration=cost.duration, size=cost.size)
    systems, stages = cost.by_system(run), cost.by_stage(run)
    return environment.get_template("page.html.jinja").render(
        run=run,
        title=title or f"JMLR: run {run.name}",
        remark=remark,
        command=command,
        made=_made(run.jobs),
        headline=headline(run),
        sentences=sentences(run),
        lines=lines(run),
        colours={s.name: plots.colour(run, s.name) for s in run.systems},
        accuracy_plot=plots.accuracy_plot(run),
        datasets=_datasets(run),
        retrieval_plot=plots.retrieval_plot(run),
        retrieval=_retrieval(run),
        curve_plots=plots.curve_plots(run),
        changes=changes(run, examples),
        system_costs=systems,
        stage_costs=stages,
        most=max((c.seconds for c in stages), default=1.0) or 1.0,
        sources=_sources(run.jobs),
        prepared=_notes(run.jobs, "prepare"),
        environment=_environment(run.jobs),
    )


def _datasets(run: Run) -> tuple[list[str], list[tuple[Any, list[Row | None]]]]:
    """Return the headline split's datasets, and for each system its accuracy on each; nothing where there is one dataset."""
    split = headline(run)[1]
    names = list(
        dict.fromkeys(
            r.dataset for r in run.pooled if r.metric == "accuracy" and r.split == split and r.dataset != "all"
        )
    )
    if len(names) < 2:
        return [], []
    found = []
    for system in run.systems:
        by_name = {name: lookup(run, system.name, "accuracy", dataset=name, split=split) for name in names}
        found.append((system, [rows[max(rows)] if (rows := by_name[name]) else None for name in names]))
    return names, found


def _retrieval(run: Run) -> list[dict[str, Any]]:
    """Return one record per dataset, retriever and round: hit@k for its cut-offs and MRR."""
    split = headline(run)[1]
    rows = [r for r in run.pooled if r.metric in ("hit", "mrr") and r.split == split]
    keys = sorted({k for r in rows if (k := r.k)})
    found = []
    for dataset in dict.fromkeys(r.dataset for r in rows):
        for system in run.systems:
            own = [r for r in rows if r.system == system.name and r.dataset == dataset]
            for number in sorted({r.round for r in own}):
                cells = {r.k: r for r in own if r.round == number}
                found.append({"dataset": dataset, "system": system, "round": number, "cells": [cells.get(k) for k in [*keys, None]],
                              "heads": [*(f"hit@{k}" for k in keys), "MRR"], "n": own[0].n})  # fmt: skip
    return found


def _made(jobs: Sequence[Job]) -> str:
    begun = [str(j.manifest.get("begun", "")) for j in jobs]
    try:
        return f"{dt.datetime.fromisoformat(max(begun)):%d %B %Y}"
    except ValueError:
        return "an unknown day"


def _sources(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    made = [j.manifest for j in jobs if j.stage == "fetch"]
    return [{"name": m["notes"].get("source", "?"), "origin": m["options"].get("origin", "?"), "path": m["options"].get("path") or "",
             "files": m["notes"].get("files", 0), "bytes": m["notes"].get("bytes", 0)} for m in made]  # fmt: skip


def _notes(jobs: Sequence[Job], stage: str) -> dict[str, Any]:
    return next((dict(j.manifest.get("notes", {})) for j in jobs if j.stage == stage), {})


def _environment(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return versions, hardware, and the code digest of every stage that ran."""
    last = max((j.manifest for j in jobs), key=lambda m: len(m.get("versions", {})), default={})
    codes = {j.stage: j.manifest.get("code", "?") for j in jobs}
    order = [s for s in cost.STAGES if s in codes]
    return {
        "versions": last.get("versions", {}),
        "hardware": last.get("hardware", {}),
        "codes": {s: codes[s] for s in order},
    }
