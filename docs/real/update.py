"""Put the figures of the finished run on real text into the repository: results.csv here, the table in docs/reproduce.md.

make real SEEDS="0 1 2" && .venv/bin/python docs/real/update.py

For each system and dataset: hit@1 of the test questions before training and after the last round (means over seeds), and the
change with its 95 % interval by the bootstrap over questions and seeds, paired: a drawn question or seed brings both its values.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from jmlr.config import Config
from jmlr.metrics.hit import hit
from jmlr.report.pool import bootstrap

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUN = ROOT / "results/openstax"
BEGIN, END = "<!-- real begin -->", "<!-- real end -->"
COLUMNS = (
    "system",
    "title",
    "dataset",
    "n",
    "seeds",
    "before",
    "after",
    "change",
    "low",
    "high",
    "accuracy",
    "accuracy_n",
)


def main() -> None:
    """Compute, write, splice."""
    if not (RUN / "report/results.csv").is_file():
        sys.exit(f'{RUN / "report/results.csv"} is not there; make real SEEDS="0 1 2" first')
    cfg = Config.load(yaml.safe_load((ROOT / "config/runs/openstax.yaml").read_text()))
    seeds = sorted(int(f.name[4:]) for f in (RUN / "jmlr").glob("seed*") if (f / "evaluate").is_dir())
    rows = [row for name in cfg.systems for row in _rows(cfg, name, seeds)]
    with (HERE / "results.csv").open("w", newline="") as f:
        table = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    page = ROOT / "docs/reproduce.md"
    head, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{markdown(rows)}\n{END}{rest.partition(END)[2]}")


def _rows(cfg: Config, name: str, seeds: list[int]) -> list[dict[str, Any]]:
    system, options = cfg.systems[name], cfg.train_options(name)
    lent = system.retriever if system.retriever in cfg.systems else ""
    moved = name if options.joint else lent
    accuracy = _accuracy(name)
    base = {"system": name, "title": system.title, "seeds": len(seeds), **accuracy}
    if not moved:
        return [{**base, "dataset": "", "n": "", **dict.fromkeys(("before", "after", "change", "low", "high"), "")}]
    last, start = cfg.systems[moved].rounds, cfg.systems[moved].retriever
    asked = pq.read_table(RUN / "prepare/questions.parquet", columns=["id", "dataset", "split", "gold_ids"]).to_pylist()
    rows = []
    for dataset in dict.fromkeys(q["dataset"] for q in asked):
        gold = {
            q["id"]: q["gold_ids"] for q in asked if (q["dataset"], q["split"]) == (dataset, "test") and q["gold_ids"]
        }
        first = _hits(RUN / f"{start}/r0/search", gold)
        after = np.stack([_hits(RUN / f"{moved}/seed{seed}/r{last}/search", gold) for seed in seeds])
        change = bootstrap([after - first])
        figures = {
            "before": first.mean(),
            "after": after.mean(),
            "change": change.value,
            "low": change.low,
            "high": change.high,
        }
        rows.append({**base, "dataset": dataset, "n": len(gold), **{k: f"{v:.6f}" for k, v in figures.items()}})
    return rows


def _hits(search: Path, gold: dict[str, list[str]]) -> np.ndarray:
    """Return hit@1 of the questions, in the order of `gold`."""
    table = pq.read_table(search / "candidates.parquet", columns=["question_id", "ids"]).to_pylist()
    ranked = {r["question_id"]: r["ids"] for r in table if r["question_id"] in gold}
    return np.array([hit(ranked[q], frozenset(g), 1) for q, g in gold.items()])


def _accuracy(name: str) -> dict[str, str]:
    with (RUN / "report/results.csv").open() as f:
        found = [
            r
            for r in csv.DictReader(f)
            if (r["system"], r["seed"], r["metric"], r["split"]) == (name, "all", "accuracy", "test")
        ]
    return {"accuracy": found[0]["value"], "accuracy_n": found[0]["n"]} if found else {"accuracy": "", "accuracy_n": ""}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table: one line for each system, hit@1 by dataset, accuracy."""
    names = list(dict.fromkeys(r["dataset"] for r in rows if r["dataset"]))
    count = {r["dataset"]: r["n"] for r in rows}
    heads = ["system", *(f"hit@1, {n.removeprefix('openstax_')} (n = {count[n]})" for n in names), "accuracy"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " :-- |" * (len(heads) - 1) + " --: |"]
    for system in dict.fromkeys(r["system"] for r in rows):
        own = {r["dataset"]: r for r in rows if r["system"] == system}
        first = next(iter(own.values()))
        cells = [_cell(own[n]) if n in own else "-" for n in names]
        accuracy = f"{100 * float(first['accuracy']):.1f}" if first["accuracy"] else "-"
        lines.append("| " + " | ".join([first["title"], *cells, accuracy]) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    before, after, change, low, high = (100 * float(row[k]) for k in ("before", "after", "change", "low", "high"))
    return f"{before:.1f} → {after:.1f}: {change:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
