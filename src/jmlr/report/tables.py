"""results.csv, and the table of systems as plain text (what `make demo` prints) and as Markdown (what the README shows)."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from jmlr.report import cost
from jmlr.report.finding import best_row, hits, pct, sentences
from jmlr.report.load import ALL, COLUMNS, Row, Run, System
from jmlr.report.pool import fields, headline, lookup, ordered

WIDTH = 100


@dataclass(frozen=True)
class Line:
    """One system in the table."""

    system: System
    row: Row | None
    seeds: dict[int, float]
    hit_k: int
    before: float | None
    after: float | None
    training_s: float | None


def results_csv(run: Run) -> str:
    """Return every row of every metrics.csv and the pooled rows, in a fixed order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(fields(row) for row in ordered(run, [*run.rows, *run.pooled]))
    return text.getvalue()


def lines(run: Run) -> list[Line]:
    """Return the rows of the table of systems."""
    made = []
    for system in run.systems:
        seeds = {}
        for seed in run.seeds_of(system.name):
            rows = lookup(run, system.name, "accuracy", seed=str(seed))
            if rows:
                seeds[seed] = rows[max(rows)].value
        k, found = hits(run, system.name)
        values = [found[r].value for r in sorted(found)]
        seconds = cost.training_seconds(run, system.name)
        after = values[-1] if len(values) > 1 else None
        made.append(Line(system, best_row(run, system), seeds, k, values[0] if values else None, after, seconds))
    return made


def _cells(run: Run, line: Line) -> list[str]:
    row = line.row
    interval = f"{pct(row.low)} to {pct(row.high)}" if row and row.low is not None and row.high is not None else "-"
    hit = "-" if line.before is None else pct(line.before) + ("" if line.after is None else f" -> {pct(line.after)}")
    seeds = " ".join(pct(line.seeds[s]) if s in line.seeds else "-" for s in run.seeds)
    seconds = "-" if line.training_s is None else f"{line.training_s:.0f} s"
    return [
        line.system.title,
        pct(row.value) if row else "-",
        interval,
        str(row.n) if row else "-",
        seeds,
        hit,
        seconds,
    ]


def _heads(run: Run) -> list[str]:
    k = hits(run, "")[0]
    seeds = f"seed {run.seeds[0]}" if len(run.seeds) == 1 else "seeds " + " ".join(map(str, run.seeds))
    return ["system", "accuracy", "95 % interval", "n", seeds, f"hit@{k}", "fine-tuning"]


def _notes(run: Run) -> list[str]:
    dataset, split = headline(run)
    what = f"Accuracy on the {split} questions{'' if dataset == ALL else f' of {dataset}'}"
    what += ", mean over datasets" if dataset == ALL else ""
    return [
        f"{what}, in %. hit: gold passages in the retriever's first places, in %, before -> after training.",
        *sentences(run),
    ]


def table_text(run: Run) -> str:
    """Return the table and the finding as plain text."""
    rows = [_heads(run), *(_cells(run, line) for line in lines(run))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = [_text_row(row, widths) for row in rows]
    text.insert(1, "  ".join("-" * w for w in widths))
    notes = [wrapped for note in _notes(run) for wrapped in textwrap.wrap(note, WIDTH)]
    return "\n".join([*text, "", *notes]) + "\n"


def _text_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = {0, 4, 5}  # names and lists read from the left, single numbers align at the right
    return "  ".join(
        f"{c:{'<' if i in left else '>'}{w}}" for i, (c, w) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def table_markdown(run: Run) -> str:
    """Return the same as Markdown."""
    rows = [
        [c.replace("->", "→").replace("|", "\\|") for c in cells]
        for cells in [_heads(run), *(_cells(run, x) for x in lines(run))]
    ]
    rule = [":--" if i in (0, 4, 5) else "--:" for i in range(len(rows[0]))]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])
    return table + "\n\n" + " ".join(_notes(run)).replace("->", "→") + "\n"
