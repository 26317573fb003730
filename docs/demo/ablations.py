"""Put the finished ablations' figures into the repository: ablations.csv here, the table in docs/ablations.md.

snakemake --cores all --configfile config/runs/demo-ablations.yaml && .venv/bin/python docs/demo/ablations.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- ablations begin -->", "<!-- ablations end -->"


def main() -> None:
    """Copy the rows, splice the table."""
    report = ROOT / "results/demo-ablations/report"
    if not (report / "table.md").is_file():
        sys.exit(f"{report / 'table.md'} is not there; run the workflow first")
    shutil.copy(report / "results.csv", HERE / "ablations.csv")
    page = ROOT / "docs/ablations.md"
    head, _, rest = page.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(f"{head}{BEGIN}\n{(report / 'table.md').read_text().strip()}\n{END}{tail}")


if __name__ == "__main__":
    main()
