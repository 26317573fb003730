"""results.tex: the table of systems for a paper, with what is expected beside it (needs the package booktabs)."""

from __future__ import annotations

from collections.abc import Sequence

from jmlr.report.expected import Expected, Value
from jmlr.report.finding import pct
from jmlr.report.load import ALL, Row, Run
from jmlr.report.pool import headline, lookup

SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
)


def results_tex(run: Run, expected: Expected) -> str:
    """Return a LaTeX table: accuracy in % with its 95 % interval, a column for each dataset and the mean over them."""
    split = headline(run)[1]
    names = list(dict.fromkeys(r.dataset for r in run.pooled if r.metric == "accuracy" and r.split == split))
    names.sort(key=lambda n: n == ALL)
    head = " & ".join(["system", *("mean" if n == ALL else n.translate(SPECIAL) for n in names)])
    body = [_line(s.title, [_cell(_last(run, s.name, n, split)) for n in names]) for s in run.systems]
    others = [s for s in expected.titles if any(expected.of("accuracy", s, n) for n in names)]
    beside = [_line(expected.titles[s], [_given(expected.of("accuracy", s, n)) for n in names]) for s in others]
    counts = ", ".join(f"{n.translate(SPECIAL)} {max(r.n for r in run.pooled if r.dataset == n and r.metric == 'accuracy')}"
                       for n in names if n != ALL)  # fmt: skip
    return "\n".join([
        f"% Run {run.name}: accuracy in %, 95 % bootstrap intervals. Made by jmlr report; needs \\usepackage{{booktabs}}.",
        f"% Questions: {counts}.",
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", head + r" \\", r"\midrule", *body,
        *([r"\midrule", rf"\multicolumn{{{len(names) + 1}}}{{l}}{{\emph{{expected: {expected.source.translate(SPECIAL)}}}}} \\", *beside]
          if beside else []),
        r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def _last(run: Run, system: str, dataset: str, split: str) -> Row | None:
    rows = lookup(run, system, "accuracy", dataset=dataset, split=split)
    return rows[max(rows)] if rows else None


def _line(title: str, cells: Sequence[str]) -> str:
    return " & ".join([title.translate(SPECIAL), *cells]) + r" \\"


def _cell(row: Row | None) -> str:
    if row is None:
        return "--"
    interval = "" if row.low is None or row.high is None else rf" {{\scriptsize [{pct(row.low)}, {pct(row.high)}]}}"
    return pct(row.value) + interval


def _given(value: Value | None) -> str:
    return "--" if value is None else pct(value.value)
