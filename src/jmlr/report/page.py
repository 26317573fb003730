"""The page: one HTML file that needs no network, from `page.html.jinja` and `page.css`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jmlr.metrics import heading, metric, names
from jmlr.report import cost, plots
from jmlr.report.browse import browse
from jmlr.report.calibration import calibrations
from jmlr.report.cautions import cautions, unheard
from jmlr.report.contamination import contamination
from jmlr.report.examples import changes
from jmlr.report.expected import Expected
from jmlr.report.finding import pct, sentences
from jmlr.report.gold import given_gold, moved, shared_compute
from jmlr.report.load import ALL, Job, Row, Run, System
from jmlr.report.pool import headline, lookup, main_joint
from jmlr.report.settings import HEADS, settings
from jmlr.report.significance import Pair, p_value
from jmlr.report.tables import Beside, lines
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.stages import STAGES
from jmlr.runtime.summary import duration

MOST_HITS = 4  # columns of hit@k
# Metrics that have their place in the page, or in results.csv alone; each other one is a column.
PLACED = {"accuracy", "unparsed", "ece", "hit", "hit_change", "recall", "ndcg", "mrr", "answer_hit"}
RETRIEVED, REASONED = (
    {"ranked", "texts", "start"},
    {"numbers", "passages", "found", "reference"},
)  # what metrics are told


def render(
    run: Run,
    *,
    title: str,
    remark: str,
    command: str,
    commit: str,
    examples: int,
    questions: bool,
    defaults: Mapping[str, Mapping[str, Any]],
    expected: Expected,
    beside: Beside,
    pairs: list[Pair],
    pictures: Mapping[str, Markup],
    judge: Path | None,
    review: dict[str, Any] | None,
) -> str:
    """Return the page of a run as HTML. No text of a private source stands in it, whatever is asked for."""
    systems, stages = cost.by_system(run), cost.by_stage(run)
    return _templates().get_template("page.html.jinja").render(
        run=run,
        title=title or f"JMLR: run {run.name}",
        remark=remark,
        command=command,
        commit=commit,
        made=_made(run.jobs),
        headline=headline(run),
        sentences=sentences(run),
        lines=lines(run, expected),
        expected=expected,
        verdicts=beside.figures,
        apart=beside.differences,
        summary=beside.line,
        elsewhere=_elsewhere(run, expected),
        pairs=pairs,
        colours={s.name: plots.colour(run, s.name) for s in run.systems},
        pictures=pictures,
        datasets=_datasets(run),
        retrieval=_retrieval(run),
        answer_hits=_answer_hits(run),
        changes=changes(run, 0 if run.private else examples),
        **_told(run, defaults, questions=questions),
        calibrations=calibrations(run),
        **{f"{what}_figures": _columns(run, what) for what in ("answers", "rationales")},
        judged=_judged(judge),
        review=review,
        titles={s.name: s.title for s in run.systems},
        system_costs=systems,
        reference=_reference(run, systems),
        paper=cost.PAPER,
        no_energy=cost.why_no_energy(run),
        stage_costs=stages,
        most=max((c.seconds for c in stages), default=1.0) or 1.0,
        sources=_sources(run.jobs),
        prepared=_notes(run.jobs, "prepare"),
        contamination=contamination(run),
        environment=_environment(run.jobs),
    )  # fmt: skip


def _told(run: Run, defaults: Mapping[str, Mapping[str, Any]], *, questions: bool) -> dict[str, Any]:
    """Return what the run was made with, what it warned of, and its questions: as JSON whose "<" cannot end the script."""
    asked = browse(run) if questions else None
    return {
        "browse": asked,
        "browse_json": Markup(json.dumps(asked, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
        "most_rounds": max((s["rounds"] for s in asked["systems"]), default=1) - 1 if asked else 0,
        "settings": settings(run, defaults),
        "setting_heads": list(HEADS.values()),
        "cautions": cautions(run),
        "unheard": unheard(run),
        "given_gold": given_gold(run),
        "moved": moved(run),
        "shared_compute": shared_compute(run),
        "earlier": [_earlier(s, rounds) for s in run.systems if (rounds := run.answering(s))],
    }


def _earlier(system: System, rounds: dict[int, int]) -> str:
    """Say which rounds of a system answered, where that was not the last: what follows those was measured, and not used."""
    told = []
    for number in sorted({*rounds.values()}):
        seeds = [str(seed) for seed, n in rounds.items() if n == number]
        told.append(
            f"{'the retriever before training' if number == 0 else f'that of round {number}'} with the language model after "
            f"round {max(number, 1)} of {system.rounds} (seed {', '.join(seeds)})"
        )
    return (
        f"{system.title}: not the last retriever answered, but the best on the dev split: {' and '.join(told)}. "
        "A language model that answers before the last round has had fewer steps than the table's time tells."
    )


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("jmlr.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        pct=pct,
        duration=duration,
        size=cost.size,
        amount=cost.amount,
        price=cost.price,
        p=p_value,
        points=_points,
        count_of=count_of,
    )
    return environment


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _elsewhere(run: Run, expected: Expected) -> list[tuple[str, dict[str, Any]]]:
    """Return the expected rows of systems that this run has not: (title, {dataset: value}), if any dataset is the run's."""
    names = dict.fromkeys([headline(run)[0], *(r.dataset for r in run.pooled if r.metric == "accuracy")])
    others = [s for s in expected.titles if s not in {system.name for system in run.systems}]
    found = [(expected.titles[s], {n: v for n in names if (v := expected.of("accuracy", s, n))}) for s in others]
    return [(title, values) for title, values in found if values]


def _datasets(run: Run) -> tuple[list[str], list[tuple[Any, list[Row | None]]]]:
    """Return the headline split's datasets, and for each system its accuracy on each; nothing where there is one dataset."""
    split = headline(run)[1]
    names = list(
        dict.fromkeys(r.dataset for r in run.pooled if r.metric == "accuracy" and r.split == split and r.dataset != ALL)
    )
    if len(names) < 2:
        return [], []
    found = []
    for system in run.systems:
        by_name = {name: lookup(run, system.name, "accuracy", dataset=name, split=split) for name in names}
        found.append((system, [rows[max(rows)] if (rows := by_name[name]) else None for name in names]))
    return names, found


def _retrieval(run: Run) -> list[dict[str, Any]]:
    """Return one record per dataset, retriever and round: hit@k for its cut-offs, nDCG at the one nearest 10, and MRR."""
    split = headline(run)[1]
    depths = sorted({r.k for r in run.pooled if r.metric == "ndcg" and r.k}, key=lambda k: abs(k - 10))[:1]
    chosen: list[tuple[str, int | None]] = [
        ("hit", k) for k in sorted({r.k for r in run.pooled if r.metric == "hit" and r.k})
    ]
    if len(chosen) > MOST_HITS:  # results.csv has them all
        chosen = [chosen[0], *chosen[1 - MOST_HITS :]]
    ks = [k for _, k in chosen]
    others = {r.metric: r.k for r in run.pooled if r.metric not in PLACED and _of(r.metric) == "retrieval"}
    more = [(name, depth) for name, k in others.items() for depth in (depths if k else [None])]
    chosen += [*(("ndcg", k) for k in depths), ("mrr", None), *(("hit_change", k) for k in ks[:1])]
    chosen += more
    heads = [*(f"hit@{k}" for k in ks), *(f"nDCG@{k}" for k in depths), "MRR", *(f"hit@{k}, change" for k in ks[:1])]
    heads += [f"{heading(name)}{f', k = {k}' if k else ''}" for name, k in more]
    return _by_round(run, chosen, heads, split)


def _answer_hits(run: Run) -> list[dict[str, Any]]:
    """Return the same of the answer's words, for datasets whose gold passages are not known."""
    ks = sorted({r.k for r in run.pooled if r.metric == "answer_hit" and r.k})
    return _by_round(run, [("answer_hit", k) for k in ks], [f"hit@{k}" for k in ks], headline(run)[1])


def _by_round(run: Run, chosen: list[tuple[str, Any]], heads: list[str], split: str) -> list[dict[str, Any]]:
    rows = [r for r in run.pooled if r.split == split and (r.metric, r.k) in chosen]
    found = []
    for dataset in dict.fromkeys(r.dataset for r in rows):
        for system in run.systems:
            own = [r for r in rows if r.system == system.name and r.dataset == dataset]
            for number in sorted({r.round for r in own}):
                cells = {(r.metric, r.k): r for r in own if r.round == number}
                found.append({"dataset": dataset, "system": system, "round": number, "heads": heads, "n": own[0].n,
                              "cells": [cells.get(key) for key in chosen]})  # fmt: skip
    return found


def _of(name: str) -> str:
    """Return what a metric is of, by what it must be told: retrieval, rationales or answers."""
    needed = {*metric(name)[1]}
    return "retrieval" if needed & RETRIEVED else "rationales" if needed & REASONED else "answers"


def _columns(run: Run, what: str) -> tuple[list[str], list[tuple[Any, list[Row | None]]]]:
    """Return the heads and, for each system that has any, its figures of metrics without a place of their own."""
    dataset, split = headline(run)
    there = {r.metric for r in run.pooled if r.k is None and (r.dataset, r.split) == (dataset, split)}
    chosen, found = [name for name in names() if name in there - PLACED and _of(name) == what], []
    for system in run.systems:
        rows = [lookup(run, system.name, m, dataset=dataset, split=split) for m in chosen]
        if any(rows):
            found.append((system, [r[max(r)] if r else None for r in rows]))
    return [heading(name) for name in chosen], found


def _judged(folder: Path | None) -> dict[str, Any] | None:
    """Read what `judge` found; None where nobody judged."""
    if folder is None:
        return None
    path = folder / "summary.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"rubric": str(found["rubric"])[:16], "judges": dict(found["judges"]),
                "comparisons": list(found["comparisons"]), "agreement": list(found["agreement"])}  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"--judge: there is no '{path}'") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a summary of `judge`") from None


def _reference(run: Run, costs: list[cost.SystemCost]) -> cost.SystemCost | None:
    """Return the cost that the others are compared with: the joint system's."""
    joint = main_joint(run)
    return next((c for c in costs if joint and c.system.name == joint.name), None)


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
    """Return versions, hardware, the code digest of every stage that ran, and the digests of the prepared data."""
    last = max((j.manifest for j in jobs), key=lambda m: len(m.get("versions", {})), default={})
    codes = {j.stage: j.manifest.get("code", "?") for j in jobs}
    data: dict[str, str] = next((j.manifest.get("outputs", {}) for j in jobs if j.stage == "prepare"), {})
    return {
        "versions": last.get("versions", {}),
        "hardware": last.get("hardware", {}),
        "codes": {s: codes[s] for s in STAGES if s in codes},
        "data": {name: digest[:16] for name, digest in data.items()},
    }
