"""The report's pictures, drawn by matplotlib as SVG that stands inside the page.

Ink is written as `currentColor`, so that one picture serves light and dark; a system has one colour in all pictures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from jmlr.metrics.statistics.interval import wilson
from jmlr.report.calibration import Calibration, calibrations
from jmlr.report.finding import best_row, chance, hits
from jmlr.report.load import Row, Run
from jmlr.report.pool import headline, lookup

INK = "#010203"  # stands for currentColor until the SVG is written
COLOURS = ("#8a8f98", "#3d8bd9", "#e0792b", "#2a9d76", "#a66fd0", "#d65c6a", "#b09a2c", "#4fb3c4")
MOST_POINTS = 150  # of a learning curve: more are not seen
CURVES = {
    "loss_lm": "LM loss, nats per token",
    "loss_rank": "retriever's loss",
    "agreement": "agreement (Kendall's tau)",
    "hit": "gold passage first, %",
}
SHARES = {"hit"}  # of the curves: drawn in %


def colour(run: Run, system: str) -> str:
    """Return a system's colour."""
    return COLOURS[[s.name for s in run.systems].index(system) % len(COLOURS)]


def pictures(run: Run) -> dict[str, Markup]:
    """Draw all that the page shows; "" for what a run has no figures of."""
    return {
        "accuracy": accuracy_plot(run),
        "retrieval": retrieval_plot(run),
        "curves": curve_plots(run),
        "reliability": reliability_plot(run, calibrations(run)),
    }


def alone(picture: Markup) -> str:
    """Return a picture of the page as an SVG file: black on white, its panels below each other.

    >>> print(alone(Markup('<div><svg viewBox="0 0 4 3" role="img">A</svg><svg viewBox="0 0 2 5" role="img">B</svg></div>')))
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 8" width="4pt" height="8pt" style="background: white; color: black">
    <svg y="0" width="4" height="3" viewBox="0 0 4 3" role="img">A</svg>
    <svg y="3" width="2" height="5" viewBox="0 0 2 5" role="img">B</svg>
    </svg>
    """
    panels, width, y = [], 0.0, 0.0
    for across, down, rest in re.findall(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"(.*?</svg>)', picture, re.S):
        panels.append(f'<svg y="{y:g}" width="{across}" height="{down}" viewBox="0 0 {across} {down}"{rest}')
        width, y = max(width, float(across)), y + float(down)
    size = f'viewBox="0 0 {width:g} {y:g}" width="{width:g}pt" height="{y:g}pt"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="background: white; color: black">'
    return "\n".join([head, *panels, "</svg>"])


def accuracy_plot(run: Run) -> Markup:
    """Draw each system's accuracy with its interval, its seeds as small marks, and what guessing would give."""
    rows = [(s, row) for s in run.systems if (row := best_row(run, s))]

    def draw(axes: Any) -> None:
        for y, (system, row) in enumerate(reversed(rows)):
            _interval(axes, row, y, colour(run, system.name))
            seeds = [lookup(run, system.name, "accuracy", seed=str(n)) for n in run.seeds_of(system.name)]
            values = [100 * found[max(found)].value for found in seeds if found]
            if len(values) > 1:
                axes.plot(values, [y - 0.25] * len(values), "|", color=INK, markersize=6, alpha=0.6)
        axes.plot(
            [],
            [],
            "o",
            color=INK,
            markersize=5,
            label="accuracy" + (", mean of the seeds" if len(run.seeds) > 1 else ""),
        )
        axes.plot([], [], color=INK, linewidth=3, alpha=0.45, label="95 % interval")
        if len(run.seeds) > 1:
            axes.plot([], [], "|", color=INK, markersize=6, alpha=0.6, label="one seed")
        axes.set_yticks(range(len(rows)), [s.title for s, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("accuracy, %")
        axes.set_xlim(0, 100)
        guess = chance(run)
        if guess is not None:
            axes.axvline(100 * guess, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6, label="guessing")
        _legend(axes, below=True)

    return _svg([draw], 5.4, 0.9 + 0.42 * len(rows), "accuracy of each system")


def retrieval_plot(run: Run) -> Markup:
    """Draw hit@k (its smallest k) and MRR of every retriever after each round, with intervals."""
    dataset, split = headline_of_retrieval(run)
    k, _ = hits(run, run.systems[0].name)
    drawings = []
    for metric, at, title in (("hit", k, f"hit@{k}, %"), ("mrr", None, "MRR, %")):
        series = {s.name: lookup(run, s.name, metric, k=at, dataset=dataset, split=split) for s in run.systems}
        if any(series.values()):
            drawings.append(_rounds(run, {name: found for name, found in series.items() if found}, title))
    return _svg(drawings, 3.7, 2.4, "the retriever after each round", 2) if drawings else Markup("")


def _rounds(run: Run, series: dict[str, dict[int, Row]], title: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        last = max(max(found) for found in series.values())
        for name, found in series.items():
            rounds = sorted(found)
            values = [100 * found[r].value for r in rounds]
            shown = run.system(name)
            if len(rounds) == 1:  # frozen: the same in every round
                axes.plot(
                    [0, max(last, 1)],
                    [values[0]] * 2,
                    color=colour(run, name),
                    linestyle=(0, (4, 3)),
                    label=shown.title,
                )
                continue
            low, high = ([100 * (getattr(found[r], end) or found[r].value) for r in rounds] for end in ("low", "high"))
            axes.fill_between(rounds, low, high, color=colour(run, name), alpha=0.18, linewidth=0)
            axes.plot(rounds, values, "o-", color=colour(run, name), label=shown.title)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("round")
        axes.set_xticks(range(last + 1))
        axes.set_ylim(0, None)
        _legend(axes)

    return draw


def curve_plots(run: Run) -> Markup:
    """Draw the figures of every training step, smoothed; thin lines are seeds."""
    keys = [key for key in CURVES if any(r.get(key) is not None for records in run.histories.values() for r in records)]
    drawings = [_curve(run, key) for key in keys]
    return _svg(drawings, 3.7, 2.2, "learning curves", 2) if keys else Markup("")


def _curve(run: Run, key: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        named = set()
        for (name, _), records in run.histories.items():
            points = [(r["step"], r[key]) for r in records if r.get(key) is not None]
            if len(points) < 2:
                continue
            steps, values = np.array(points, dtype=float).T
            steps = steps * float(run.system(name).train.get("batch", 1))
            values = 100 * values if key in SHARES else values
            label = None if name in named else run.system(name).title
            named.add(name)
            shown = slice(None, None, -(-len(steps) // MOST_POINTS))
            axes.plot(
                steps[shown], smooth(values)[shown], color=colour(run, name), linewidth=1.3, alpha=0.85, label=label
            )
        axes.set_title(CURVES[key], fontsize=9, loc="left")
        axes.set_xlabel("training questions seen")
        if named:
            _legend(axes)

    return draw


def reliability_plot(run: Run, found: Sequence[Calibration]) -> Markup:
    """Draw accuracy beside confidence for each system; the diagonal is perfect calibration."""
    drawings = [_reliability(run, c) for c in found]
    return _svg(drawings, 2.5, 2.9, "reliability of each system", 4) if found else Markup("")


def _reliability(run: Run, found: Calibration) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        tint, most = colour(run, found.system.name), max(b.n for b in found.bins)
        axes.plot(
            [0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6, label="as right as sure"
        )
        axes.plot([], [], "o", color=tint, markersize=5, label="answers, in bins")
        for b in found.bins:
            low, high = wilson(b.accuracy, max(b.n // found.seeds, 1))
            axes.plot([100 * b.confidence] * 2, [100 * low, 100 * high], color=tint, linewidth=2, alpha=0.4)
            axes.plot([100 * b.confidence], [100 * b.accuracy], "o", color=tint, markersize=3 + 5 * (b.n / most) ** 0.5)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_aspect("equal")
        axes.set_title(f"{found.system.title}\nECE {100 * found.ece:.1f} %", fontsize=9, loc="left")
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("accuracy, %")
        _legend(axes, size=6.5)

    return draw


def _legend(axes: Any, *, below: bool = False, size: float = 8) -> None:
    """Say what the marks are: in the plot where there is room, or in one line below it."""
    if below:
        axes.figure.legend(frameon=False, fontsize=size, loc="outside lower center", ncols=4)
    else:
        axes.legend(frameon=False, fontsize=size)


def smooth(values: np.ndarray) -> np.ndarray:
    """Return centred means over about a twentieth of the points; at the ends over the half that there is."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def headline_of_retrieval(run: Run) -> tuple[str, str]:
    """Return the dataset and split that the retriever's figures are about: the headline's, or another that has gold passages."""
    have = list(dict.fromkeys((r.dataset, r.split) for r in run.rows if r.metric == "mrr"))
    return headline(run) if headline(run) in have or not have else have[0]


def _interval(axes: Any, row: Row, y: float, tint: str) -> None:
    if row.low is not None and row.high is not None:
        axes.plot([100 * row.low, 100 * row.high], [y, y], color=tint, linewidth=3, alpha=0.45, solid_capstyle="round")
    axes.plot([100 * row.value], [y], "o", color=tint, markersize=7)
    axes.annotate(
        f"{100 * row.value:.1f}", (100 * row.value, y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5
    )


def _svg(drawings: Sequence[Callable[[Any], None]], width: float, height: float, what: str, columns: int = 1) -> Markup:
    """Draw panels, each an inline SVG of its own, so that a narrow page can put them below each other."""
    panels = Markup("").join(_panel(draw, width, height, what) for draw in drawings)
    return Markup('<div class="panels c{}">{}</div>').format(columns, panels)


def _panel(draw: Callable[[Any], None], width: float, height: float, what: str) -> Markup:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor"), INK
    )
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "jmlr", "font.size": 9, "font.family": "sans-serif", "axes.spines.top": False,
             "axes.spines.right": False, "axes.linewidth": 0.6, "legend.labelcolor": INK, **ink}  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = text.getvalue()[text.getvalue().index("<svg") :].replace(INK, "currentColor")
    head = rf'<svg viewBox="\1" role="img" aria-label="{what}">'
    body = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', head, body, count=1, flags=re.S)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", body)  # names of matplotlib's parts, the same in every panel
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 system-ui, sans-serif", body)
    return Markup(body.replace(" xlink:href=", " href="))
