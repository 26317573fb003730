"""Put the finished demo's figures into the repository: results.csv and report.png here, the table in README.md, expected values.

make demo SEEDS="0 1 2" && .venv/bin/python docs/demo/update.py        # the picture needs chromium on PATH
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- demo begin -->", "<!-- demo end -->"
QUIET = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"


def expected(results: Path) -> str:
    """Return config/expected/demo.yaml: accuracy and hit@1 of every system after its last round, pooled over seeds."""
    from jmlr.config import Config

    with results.open(newline="") as f:
        rows = list(csv.DictReader(f))
    seeds = sorted({r["seed"] for r in rows} - {"all"})
    lines = [
        f"# The demo's committed results (docs/demo/results.csv), seeds {', '.join(seeds)}; written by docs/demo/update.py.",
        f"source: docs/demo/results.csv, seeds {' '.join(seeds)}",
        "okish_points: 5",
    ]
    titles = {name: system.title for name, system in Config().systems.items()}
    for metric, k in (("accuracy", ""), ("hit", "1")):
        own = [r for r in rows if (r["seed"], r["metric"], r["k"], r["split"]) == ("all", metric, k, "test")]
        last = {r["system"]: r for r in sorted(own, key=lambda r: int(r["round"]))}
        lines.append(f"{metric}:")
        for name in (n for n in titles if n in last):
            value, low, high = (f"{100 * float(last[name][c]):.2f}" for c in ("value", "low", "high"))
            figures = f"{{value: {value}, low: {low}, high: {high}}}"
            lines.append(f"  {name}: {{title: {json.dumps(titles[name])}, {last[name]['dataset']}: {figures}}}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Copy, splice, photograph."""
    report = ROOT / "results/demo/report"
    if not (report / "report.html").is_file():
        sys.exit(f'{report / "report.html"} is not there; make demo SEEDS="0 1 2" first')
    shutil.copy(report / "results.csv", HERE / "results.csv")
    (ROOT / "config/expected/demo.yaml").write_text(expected(HERE / "results.csv"))
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    readme.write_text(f"{head}{BEGIN}\n{(report / 'table.md').read_text().strip()}\n{END}{tail}")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium or google-chrome: report.png is as it was")
    with tempfile.TemporaryDirectory() as profile:
        picture = f"--screenshot={HERE / 'report.png'}"
        command = [
            browser,
            *QUIET.split(),
            f"--user-data-dir={profile}",
            "--window-size=1040,1330",
            picture,
            f"file://{report / 'report.html'}",
        ]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
