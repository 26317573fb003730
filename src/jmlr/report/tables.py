"""results.csv, and the table of systems as plain text (what `make demo` prints) and as Markdown (what the README shows)."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from jmlr.report import cost
from jmlr.report.expected import Expected, Value, gap_verdict, plain, time_verdict
from jmlr.report.finding import best_row, hits, pct, sentences
from jmlr.report.load import ALL, COLUMNS, Row, Run, System
from jmlr.report.pool import Estimate, difference, fields, headline, lookup, ordered

WIDTH, MOST_FAILED = 100, 3


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
    unparsed: int
    expected: Value | None
    verdict: str


def results_csv(run: Run) -> str:
    """Return every row of every metrics.csv and the pooled rows, in a fixed order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(fields(row) for row in ordered(run, [*run.rows, *run.pooled]))
    return text.getvalue()


def lines(run: Run, expected: Expected | None = None) -> list[Line]:
    """Return the rows of the table of systems."""
    made, expected = [], expected or Expected()
    dataset = headline(run)[0]
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
        row = best_row(run, system)
        wanted = expected.of("accuracy", system.name, dataset) if row else None
        before, verdict = (values[0] if values else None), expected.verdict("accuracy", row)
        failed = unparsed(run, system)
        made.append(Line(
            system=system, row=row, seeds=seeds, hit_k=k, before=before, after=after, training_s=seconds, unparsed=failed,
            expected=wanted, verdict=verdict,
        ))  # fmt: skip
    return made


def unparsed(run: Run, system: System) -> int:
    """Return how many of a system's answers to questions with options could not be parsed, over all seeds."""
    answers = [run.answers[system.name, seed] for seed in run.seeds_of(system.name)]
    return sum(p < 0 <= g for a in answers for p, g in zip(a.predicted, a.gold, strict=True))


def verdicts(run: Run, expected: Expected) -> list[tuple[Row, Value, str]]:
    """Return every figure for which a value is expected, after the last round: (figure, expected value, verdict)."""
    last: dict[tuple[str, ...], Row] = {}
    split = headline(run)[1]
    for row in sorted(run.pooled, key=lambda r: (r.round, -(r.k or 0))):  # the smallest k and the last round stay
        if row.split == split and expected.of(row.metric, row.system, row.dataset):
            last[row.metric, row.system, row.dataset] = row
    found = []
    for row in ordered(run, list(last.values())):
        value = expected.of(row.metric, row.system, row.dataset)
        assert value is not None
        found.append((row, value, expected.verdict(row.metric, row)))
    return found


@dataclass(frozen=True)
class Apart:
    """An expected difference beside ours: in accuracy on a dataset, or (dataset "") the ratio of two times."""

    first: System
    second: System
    dataset: str
    ours: Estimate | float
    theirs: float
    verdict: str

    def told(self) -> str:
        """Say it in words."""
        two = f"{self.first.title} less {self.second.title}"
        if isinstance(self.ours, Estimate):
            figures = (100 * x for x in (self.ours.value, self.ours.low, self.ours.high, self.theirs))
            return "{}, accuracy on {}: {:+.1f} ({:+.1f} to {:+.1f}) for {:+.1f}".format(two, self.dataset, *figures)
        return f"training of {self.first.title} over that of {self.second.title}: {self.ours:.2f} for {self.theirs:.2f}"


def apart(run: Run, expected: Expected) -> list[Apart]:
    """Return every expected difference of two systems of the run, on the datasets that it has; a mean only over all of these."""
    have, split = {s.name: s for s in run.systems}, headline(run)[1]
    datasets = sorted({r.dataset for r in run.rows if (r.metric, r.split) == ("accuracy", split)} - {ALL})
    found = []
    for gap in expected.gaps:
        if not {gap.first, gap.second} <= set(have):
            continue
        first, second = have[gap.first], have[gap.second]
        values = {d: gap.values[plain(d)] for d in datasets if plain(d) in gap.values}
        if len(values) == len(datasets) > 1 and ALL in gap.values:
            values[ALL] = sum(values.values()) / len(values)
        for dataset, theirs in values.items():
            ours = difference(run, first.name, second.name, dataset, split)
            found.append(Apart(first, second, dataset, ours, theirs, gap_verdict(ours, theirs)))
        times = [cost.of_system(run, s).adaptation.seconds for s in (first, second) if gap.time]
        if gap.time and all(times):
            ratio = times[0] / times[1]
            found.append(Apart(first, second, "", ratio, gap.time, time_verdict(ratio, gap.time)))
    return found


@dataclass(frozen=True)
class Beside:
    """How the run stands beside what is expected: every figure, every difference, and both in one line ("" where nothing is expected)."""

    figures: list[tuple[Row, Value, str]]
    differences: list[Apart]
    line: str

    @classmethod
    def of(cls, run: Run, expected: Expected) -> Beside:
        """Hold a run against what is expected: once, for the page and the table."""
        figures, differences = verdicts(run, expected), apart(run, expected)
        return cls(figures, differences, _verdict_line(run, expected, figures, differences))


def _verdict_line(run: Run, expected: Expected, found: list[tuple[Row, Value, str]], differences: list[Apart]) -> str:
    if not found and not differences:
        return f"Beside the expected values ({expected.source}): {expected.note}." if expected.note else ""
    all_verdicts = [v for *_, v in found] + [d.verdict for d in differences]
    counts = ", ".join(f"{all_verdicts.count(name)} {name}" for name in ("OK", "OKISH", "FAIL"))
    failed = [f"{run.system(row.system).title}, {row.metric}{'' if row.k is None else f'@{row.k}'} on {row.dataset}: "
              f"{pct(row.value)} for {pct(value.value)}" for row, value, v in found if v == "FAIL"]  # fmt: skip
    failed += [d.told() for d in differences if d.verdict == "FAIL"]
    more = f"; and {len(failed) - MOST_FAILED} more" if len(failed) > MOST_FAILED else ""
    told = f". FAIL: {'; '.join(failed[:MOST_FAILED])}{more}" if failed else ""
    return f"Beside the expected values ({expected.source}): {counts}{told}{f'; {expected.note}' if expected.note else ''}."


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
    invented = ["Invented: none of this is medicine."] if run.invented else []
    return [
        *invented,
        f"{what}, in %. hit: gold passages in the retriever's first places, in %, before -> after training.",
        *sentences(run),
    ]


def table_text(run: Run, beside: str = "") -> str:
    """Return the table and the finding as plain text; `beside`: the line of what is expected."""
    rows = [_heads(run), *(_cells(run, line) for line in lines(run))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = [_text_row(row, widths) for row in rows]
    text.insert(1, "  ".join("-" * w for w in widths))
    told = [*_notes(run), *([beside] if beside else [])]
    notes = [wrapped for note in told for wrapped in textwrap.wrap(note, WIDTH)]
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
