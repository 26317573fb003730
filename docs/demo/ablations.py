"""Put the finished ablations' figures into the repository: ablations.csv here, and the page docs/ablations.md.

snakemake --cores all --configfile config/runs/demo-ablations.yaml && .venv/bin/python docs/demo/ablations.py [REPORT]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = """\
# Ablations on the demo

One seed of the demo's small world ([demo.md](demo.md) says what that can show). The rows are
`config/runs/demo-ablations.yaml`, the figures `docs/demo/ablations.csv`; `docs/demo/ablations.py` writes this page.
Times are of one core with other work beside it: only those of one table compare, and roughly.

<!-- table begin -->

{table}
<!-- table end -->
"""


def main() -> None:
    """Copy the rows, write the page."""
    report = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results/demo-ablations/report"
    if not (report / "table.md").is_file():
        sys.exit(f"{report / 'table.md'} is not there; run the workflow first")
    shutil.copy(report / "results.csv", HERE / "ablations.csv")
    (ROOT / "docs/ablations.md").write_text(PAGE.format(table=(report / "table.md").read_text().strip()))


if __name__ == "__main__":
    main()
