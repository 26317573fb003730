"""Put the finished demo's figures into the repository: results.csv and report.png here, the table in README.md, expected values.

make demo-docs        # runs three seeds first; the picture needs chromium on PATH

All of them come from one report, or none is changed: a table and a picture of two ages would tell two stories.
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
    titles = {name: system.title for name, system in Config.load({}).systems.items()}
    for metric, k in (("accuracy", ""), ("hit", "1")):
        own = [r for r in rows if (r["seed"], r["metric"], r["k"], r["split"]) == ("all", metric, k, "test")]
        last = {r["system"]: r for r in sorted(own, key=lambda r: int(r["round"]))}
        lines.append(f"{metric}:")
        for name in (n for n in titles if n in last):
            value, *ends = (
                f"{100 * float(last[name][c]):.2f}" if last[name][c] else "" for c in ("value", "low", "high")
            )
            figures = f"{{value: {value}, low: {ends[0]}, high: {ends[1]}}}" if all(ends) else value
            lines.append(f"  {name}: {{title: {json.dumps(titles[name])}, {last[name]['dataset']}: {figures}}}")
    return "\n".join(lines) + "\n"


def picture(browser: str, page: Path, file: Path) -> None:
    """Photograph the head of the report."""
    with tempfile.TemporaryDirectory() as profile:
        size = ["--window-size=1040,1330", f"--screenshot={file}", f"file://{page}"]
        subprocess.run([browser, *QUIET.split(), f"--user-data-dir={profile}", *size], check=True, capture_output=True)
    if not file.is_file():
        sys.exit(f"{browser} took no picture: nothing was changed")


def main() -> None:
    """Photograph, then copy and splice."""
    report = ROOT / "results/demo/report"
    if not (report / "report.html").is_file():
        sys.exit(f"{report / 'report.html'} is not there; make demo-docs makes it")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium or google-chrome on PATH, which takes the picture: nothing was changed")
    head, begin, rest = (ROOT / "README.md").read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        sys.exit(f"README.md lost its marks '{BEGIN}' and '{END}': nothing was changed")
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / "report.png"
        picture(browser, report / "report.html", new)
        shutil.copy(new, HERE / "report.png")
    shutil.copy(report / "results.csv", HERE / "results.csv")
    (ROOT / "config/expected/demo.yaml").write_text(expected(HERE / "results.csv"))
    table = (report / "table.md").read_text().strip()
    (ROOT / "README.md").write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")


if __name__ == "__main__":
    main()
