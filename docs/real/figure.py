"""Draw results.csv as figure.svg, the picture of README.md and docs/real.md: accuracy of every system, and where its retriever went.

.venv/bin/python docs/real/figure.py     # update.py does it too
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
COLOURS = {"openstax_review": "#3d8bd9", "openstax_glossary": "#e0792b"}
APART = 0.17  # between the data sets of one system


def draw() -> None:
    """Write figure.svg: to the left accuracy with its 95 % interval, to the right the change of hit@1 by training."""
    with (HERE / "results.csv").open(newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["dataset"] in COLOURS]
    titles = list(dict.fromkeys(r["title"] for r in rows))[::-1]
    style: dict[Any, Any] = {
        "svg.hashsalt": "jmlr",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(9.2, 4.6), layout="constrained")
        accuracy, change = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
        for row in rows:
            place = titles.index(row["title"]) + APART * (1 if row["dataset"] == "openstax_review" else -1)
            if row["metric"] == "accuracy":
                _interval(accuracy, row, place, ("value", "low", "high"))
            else:
                _interval(change, row, place, ("difference", "difference_low", "difference_high"))
        accuracy.set_yticks(range(len(titles)), titles)
        accuracy.axvline(25, color="#999999", linewidth=0.8, linestyle=":")
        accuracy.text(25.5, len(titles) - 0.45, "guessing", color="#777777", fontsize=8)
        accuracy.set(xlabel="accuracy, % (95 % interval)", xlim=(20, 90))
        change.axvline(0, color="#999999", linewidth=0.8)
        change.set(xlabel="hit@1, points won by training")
        for dataset, colour in COLOURS.items():
            n = next(r["n"] for r in rows if r["dataset"] == dataset)
            accuracy.plot([], [], "o", color=colour, label=f"{dataset.removeprefix('openstax_')}, n = {n}")
        seeds = rows[0]["seeds"]
        figure.legend(
            title=f"test questions, {seeds} seed{'s' * (seeds != '1')}",
            loc="outside upper right",
            ncols=2,
            frameon=False,
        )
        figure.savefig(HERE / "figure.svg", metadata={"Date": None}, facecolor="white")


def _interval(axes: Any, row: dict[str, str], place: float, columns: tuple[str, str, str]) -> None:
    """Draw a value with its interval, in points of a hundred."""
    value, low, high = (100 * float(row[c]) for c in columns)
    colour = COLOURS[row["dataset"]]
    axes.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.4, solid_capstyle="round")
    axes.plot([value], [place], "o", color=colour, markersize=4.5)


if __name__ == "__main__":
    draw()
