"""Keep what a finished run on real text found, question by question, and make the tables of all seeds kept so far.

make real DATA=FOLDER SEEDS=0 && .venv/bin/python docs/real/update.py     # any seeds, on any day

- outcomes/seedN.csv: a line for each test question; for each system 1 where it was right, and where it has a retriever of its own
  1 where a gold passage came first, before training and in the round that answered (chosen on the dev split).
- costs.csv: what each system's road added to its base model, by seed.
- results.csv: means over seeds, with 95 % intervals over questions and seeds, and the paired difference to another system.

From results.csv follow the tables of docs/real.md and README.md, figure.svg, and config/expected/openstax.yaml.
"""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from jmlr.config import Config
from jmlr.report.cost import of_system
from jmlr.report.load import Run, read_run
from jmlr.report.pool import Estimate, bootstrap

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "results/openstax"
BEGIN, END = "<!-- real begin -->", "<!-- real end -->"
PAGES = {ROOT / "docs/real.md": True, ROOT / "README.md": False}  # whether differences stand beside accuracies
VERSUS = {  # system -> what its accuracy is compared with
    "zero_rag": "zero",
    "closed_book": "zero",
    "continued": "closed_book",
    "rag": "closed_book",
    "jmlr": "rag",
    "jmlr_prior": "rag",
    "jmlr_kl": "rag",
    "control": "rag",
    "untouched": "zero_rag",
    "rag_own": "closed_book",
    "jmlr_own": "rag_own",
}
MEANS = [
    ("rag", "closed_book"),
    ("jmlr", "rag"),
    ("jmlr_own", "rag_own"),
    ("continued", "jmlr"),
    ("continued", "closed_book"),
]
COLUMNS = ("system", "title", "metric", "dataset", "n", "seeds", "value", "low", "high")
COLUMNS += ("versus", "difference", "difference_low", "difference_high")
Table = dict[str, dict[str, str]]  # question -> column -> 1, 0 or nothing


def main() -> None:
    """Keep the seeds of the finished run, if there is one, then write the tables of all."""
    cfg = Config.load(yaml.safe_load((ROOT / "config/runs/openstax.yaml").read_text()))
    if (RESULTS / "report/results.csv").is_file():
        keep(cfg)
    seeds = {int(f.stem[4:]): read(f) for f in sorted((HERE / "outcomes").glob("seed*.csv"))}
    if not seeds:
        sys.exit(f"neither {RESULTS}/report/results.csv nor {HERE}/outcomes/seed*.csv is there; make real first")
    rows = results(cfg, seeds)
    write(HERE / "results.csv", COLUMNS, [*rows, *means(cfg, seeds)])
    runpy.run_path(str(HERE / "figure.py"))["draw"]()
    (ROOT / "config/expected/openstax.yaml").write_text(expected(rows))
    for page, whole in PAGES.items():
        head, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{markdown(cfg, rows, whole)}\n{END}{rest.partition(END)[2]}")


def keep(cfg: Config) -> None:
    """Write outcomes/seedN.csv for each seed of the finished run, and its lines of costs.csv."""
    run = finished(cfg)
    costs = [r for r in read_lines(HERE / "costs.csv") if int(r["seed"]) not in run.seeds]
    for seed in run.seeds:
        table = outcomes(cfg, run, seed)
        columns = ["dataset", "question", *dict.fromkeys(c for r in table.values() for c in r)]
        lines = [{"dataset": d, "question": q, **row} for (d, q), row in sorted(table.items())]
        write(HERE / f"outcomes/seed{seed}.csv", columns, lines)
    for system in run.systems:
        cost = of_system(run, system)
        for seed in run.seeds_of(system.name):
            costs.append({"seed": seed, "system": system.name, "seconds": round(cost.adaptation.seconds),
                          "cpu_seconds": round(cost.adaptation.cpu_seconds), "flops": f"{cost.adaptation.flops:.3g}",
                          "training_seconds": round(cost.training.seconds)})  # fmt: skip
    write(HERE / "costs.csv", list(costs[0]), sorted(costs, key=lambda r: int(r["seed"])))


def finished(cfg: Config) -> Run:
    """Read the finished run."""
    systems = {k: {**v.model_dump(), "train": dict(cfg.train_options(k))} for k, v in cfg.systems.items()}
    folders = {what: sorted(RESULTS.glob(f"*/seed*/{what}")) for what in ("evaluate", "answer", "pretrain")}
    rounds = [p.parent for p in sorted(RESULTS.glob("*/seed*/r*/*/manifest.json"))]
    rounds += [p.parent for p in sorted(RESULTS.glob("*/seed*/r*/encode/*/manifest.json"))]
    trainings = [p for p in rounds if p.name == "train"]
    costs = [*folders["pretrain"], *(p for p in rounds if p.name != "train")]
    return read_run("openstax", systems, RESULTS / "prepare", folders["evaluate"], folders["answer"], trainings, costs)


def outcomes(cfg: Config, run: Run, seed: int) -> dict[tuple[str, str], dict[str, int]]:
    """Return a seed's outcomes: (dataset, question) -> column -> 0 or 1."""
    table: dict[tuple[str, str], dict[str, int]] = {}
    for name, system in cfg.systems.items():
        own = seed if (name, seed) in run.answers else min(run.seeds_of(name))  # who is not trained answers once
        answers = run.answers[name, own]
        for question, dataset, split, right in zip(
            answers.ids, answers.datasets, answers.splits, answers.correct, strict=True
        ):
            if split == "test":
                table.setdefault((dataset, question), {})[f"{name} right"] = int(right)
        if not cfg.train_options(name).joint:
            continue
        last = run.answering(run.system(name)).get(own, system.rounds)
        values = run.values[name, own]
        for dataset in values.datasets:
            for when, number in (("before", 0), ("after", last)):
                for question, hit in values.of(number, dataset, "test", "hit", 1).items():
                    table.setdefault((dataset, question), {})[f"{name} {when}"] = int(hit)
    return table


def results(cfg: Config, seeds: dict[int, Table]) -> list[dict[str, Any]]:
    """Return the rows of results.csv."""
    rows = []
    datasets = sorted({r["dataset"] for table in seeds.values() for r in table.values()})
    for name, system in cfg.systems.items():
        for dataset in datasets:
            base = {"system": name, "title": system.title, "dataset": dataset, "seeds": len(seeds)}
            right = column(seeds, dataset, f"{name} right")
            versus = VERSUS.get(name, "")
            other = [column(seeds, dataset, f"{versus} right")] if versus else None
            rows.append({**base, "metric": "accuracy", **figures([right], other), "versus": versus})
            after = column(seeds, dataset, f"{name} after")
            if after.size:
                before = column(seeds, dataset, f"{name} before")
                rows.append({**base, "metric": "hit@1", **figures([after], [before]), "versus": "before training"})
    return rows


def means(cfg: Config, seeds: dict[int, Table]) -> list[dict[str, Any]]:
    """Return the rows of results.csv for the mean of the data sets, of the pairs that the page speaks of."""
    datasets = sorted({r["dataset"] for table in seeds.values() for r in table.values()})
    rows = []
    for name, versus in MEANS:
        right, other = ([column(seeds, d, f"{n} right") for d in datasets] for n in (name, versus))
        base = {"system": name, "title": cfg.systems[name].title, "dataset": "mean", "seeds": len(seeds)}
        rows.append({**base, "metric": "accuracy", **figures(right, other), "versus": versus})
    return rows


def column(seeds: dict[int, Table], dataset: str, name: str) -> NDArray[np.float64]:
    """Return a column of outcomes [seeds, questions]; empty where there is none."""
    questions = sorted({q for table in seeds.values() for q, r in table.items() if r["dataset"] == dataset})
    held = [[table[q].get(name, "") for q in questions] for table in seeds.values()]
    known = [i for i in range(len(questions)) if all(row[i] != "" for row in held)]
    return np.array([[float(row[i]) for i in known] for row in held])


def figures(values: list[NDArray[np.float64]], other: list[NDArray[np.float64]] | None) -> dict[str, Any]:
    """Return the mean over data sets and the difference to `other`, paired, with their intervals."""
    own = bootstrap(values)
    told = {"n": sum(v.shape[1] for v in values), "value": own.value, "low": own.low, "high": own.high}
    if other is None:
        return {**told, **dict.fromkeys(("difference", "difference_low", "difference_high"), "")}
    apart: Estimate = bootstrap([v - o for v, o in zip(values, other, strict=True)])
    return {**told, "difference": apart.value, "difference_low": apart.low, "difference_high": apart.high}


def markdown(cfg: Config, rows: Sequence[dict[str, Any]], whole: bool) -> str:
    """Return the table: a line for each system; accuracy and hit@1 by dataset, in %; `whole`: with differences in accuracy."""
    datasets = list(dict.fromkeys(r["dataset"] for r in rows))
    short = {d: d.removeprefix("openstax_") for d in datasets}
    n = {d: next(r["n"] for r in rows if r["dataset"] == d) for d in datasets}
    heads = ["system", *(f"accuracy, {short[d]} (n = {n[d]})" for d in datasets), *(["compared with"] if whole else [])]
    heads += [f"hit@1, {short[d]}" for d in datasets]
    lines = ["| " + " | ".join(heads) + " |", "|" + " :-- |" * len(heads)]
    for name, system in cfg.systems.items():
        own = {(r["metric"], r["dataset"]): r for r in rows if r["system"] == name}
        versus = VERSUS.get(name)
        cells = [system.title, *(level(own["accuracy", d], whole) for d in datasets)]
        if whole:
            cells.append(cfg.systems[versus].title if versus else "-")
        cells += [moved(own["hit@1", d]) if ("hit@1", d) in own else "-" for d in datasets]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def level(row: dict[str, Any], whole: bool) -> str:
    """Return an accuracy with its interval, and where asked the difference to the system it is compared with."""
    value, low, high = (100 * float(row[k]) for k in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f} to {high:.1f})" + (f"; {apart(row)}" if whole and row["versus"] else "")


def moved(row: dict[str, Any]) -> str:
    """Return a share before and after training, and the change."""
    after, change = 100 * float(row["value"]), 100 * float(row["difference"])
    return f"{after - change:.1f} → {after:.1f}: {apart(row)}"


def apart(row: dict[str, Any]) -> str:
    """Return a difference with its interval."""
    value, low, high = (100 * float(row[k]) for k in ("difference", "difference_low", "difference_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def expected(rows: Sequence[dict[str, Any]]) -> str:
    """Return config/expected/openstax.yaml."""
    seeds, counts = rows[0]["seeds"], {r["dataset"]: r["n"] for r in rows if r["metric"] == "accuracy"}
    lines = [
        f"# Figures of docs/real/results.csv, in %, {seeds} seed{'s' * (int(seeds) != 1)}; written by docs/real/update.py.",
        "source: docs/real/results.csv",
        "okish_points: 3",
        "n: {" + ", ".join(f"{dataset}: {n}" for dataset, n in counts.items()) + "}",
    ]
    for key, metric in (("accuracy", "accuracy"), ("hit", "hit@1")):
        lines.append(f"{key}:")
        chosen = [r for r in rows if r["metric"] == metric]
        for name in dict.fromkeys(r["system"] for r in chosen):
            own = [r for r in chosen if r["system"] == name]
            cells = [
                f"{r['dataset']}: {{{', '.join(f'{k}: {100 * float(r[k]):.2f}' for k in ('value', 'low', 'high'))}}}"
                for r in own
            ]
            lines.append(f"  {name}: {{title: {json.dumps(own[0]['title'])}, {', '.join(cells)}}}")
    return "\n".join(lines) + "\n"


def read(file: Path) -> Table:
    """Read the outcomes of a seed."""
    return {r["question"]: r for r in read_lines(file)}


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read a CSV file, if it is there."""
    if not file.is_file():
        return []
    with file.open(newline="") as f:
        return list(csv.DictReader(f))


def write(file: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV file."""
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as f:
        table = csv.DictWriter(f, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
