"""Put the finished ablations' figures into the repository: ablations.csv here, and the page docs/ablations.md.

for run in demo-ablations demo-c20 demo-letter demo-short-queries; do snakemake --cores all --configfile config/runs/$run.yaml; done
.venv/bin/python docs/demo/ablations.py [RESULTS]
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = """\
# Ablations on the demo

One seed of the demo's small world ([demo.md](demo.md) says what that can show). The rows are
`config/runs/demo-ablations.yaml`, the figures `docs/demo/ablations.csv`; `docs/demo/ablations.py` writes this page.
Times are of one core with other work beside it: only those of one table compare, and roughly. The CSV has the intervals
of hit@1, too; with 400 questions they are some 4 to 5 points to either side.

<!-- table begin -->

{table}
<!-- table end -->

Settings that hold for all rows of a run are runs of their own, `config/runs/demo-*.yaml`, held against the rows above:

{others}
"""
RUNS = ("demo-ablations", "demo-c20", "demo-letter", "demo-short-queries")


def main() -> None:
    """Copy the figures, write the page."""
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results"
    first, *others = (results / run / "report" for run in RUNS)
    for report in (first, *others):
        if not (report / "table.md").is_file():
            sys.exit(f"{report / 'table.md'} is not there; run the workflow first")
    head, *lines = (first / "results.csv").read_text().splitlines(keepends=True)
    lines += [line for report in others for line in (report / "results.csv").read_text().splitlines(keepends=True)[1:]]
    (HERE / "ablations.csv").write_text("".join([head, *lines]))
    tables = [_rows(report / "table.md") for report in others]
    table, rows = (first / "table.md").read_text().strip(), [*tables[0][:2], *(r for t in tables for r in t[2:])]
    (ROOT / "docs/ablations.md").write_text(PAGE.format(table=table, others="\n".join(rows)))


def _rows(file: Path) -> list[str]:
    """Return the lines of a report's table: head, rule and systems."""
    return [line for line in file.read_text().splitlines() if line.startswith("|")]


if __name__ == "__main__":
    main()
