"""A finished run in miniature, written as the stages write it: 3 systems, 2 seeds, 40 questions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

SYSTEMS = {
    "closed_book": {
        "title": "Closed book",
        "llm": "llm",
        "retriever": "r",
        "rounds": 1,
        "train": {"steps": 20, "target": "frozen", "passages": 0},
    },
    "rag": {
        "title": "RAG",
        "llm": "llm",
        "retriever": "r",
        "rounds": 1,
        "train": {"steps": 20, "target": "frozen", "passages": 2},
    },
    "jmlr": {
        "title": "JMLR",
        "llm": "llm",
        "retriever": "r",
        "rounds": 2,
        "train": {"steps": 20, "target": "llm_rank", "passages": 2},
    },
}
RIGHT = {"closed_book": 10, "rag": 16, "jmlr": 34}
SEEDS, N = (0, 1), 40


class Folders:
    """Where everything lies; keyword arguments of the stage."""

    def __init__(self, root: Path) -> None:
        base = root / "results/small"
        self.base, self.prepared = base, base / "prepare"
        pairs = [(s, n) for s in SYSTEMS for n in SEEDS]
        self.evaluations = [base / s / f"seed{n}" / "evaluate" for s, n in pairs]
        self.answers = [base / s / f"seed{n}" / "answer" for s, n in pairs]
        self.trainings = [
            base / s / f"seed{n}" / f"r{r}" / "train" for s, n in pairs for r in range(1, SYSTEMS[s]["rounds"] + 1)
        ]
        self.costs = [base / "fetch/world", base / "llm/seed0/pretrain", base / "llm/seed1/pretrain"]

    def arguments(self) -> dict:
        """Return the arguments of `report` but for out and options."""
        names = ("prepared", "evaluations", "answers", "trainings", "costs")
        return {"name": "small", "systems": SYSTEMS, **{n: getattr(self, n) for n in names}}


def manifest(folder: Path, stage: str, **more: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "stage": stage,
        "options": {},
        "outputs": {},
        "code": "c0de",
        "versions": {"python": "3.12"},
        "hardware": {"machine": "x", "cores": 2},
        "begun": "2026-01-02T03:04:05+00:00",
        "seconds": 12.0,
        "cpu_seconds": 10.0,
        "gpu_hours": 0.0,
        "peak_bytes": 5 * 2**20,
        "warnings": [],
        "notes": {},
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(content))


def answer_table(system: str, seed: int) -> pa.Table:
    right = np.random.default_rng([seed, RIGHT[system]]).permutation(N) < RIGHT[system]
    gold_first = system == "jmlr"
    rows = [
        {
            "question_id": f"q{i}",
            "dataset": "made",
            "split": "test",
            "answer": 1,
            "predicted": 1 if right[i] else 0,
            "scores": [-1.0, -1.0],
            "probabilities": [0.25, 0.75] if right[i] else [0.6, 0.4],
            "passages": [i, N] if gold_first else [N, N + 1],
            "ids": [f"p{i}", f"p{N}"] if gold_first else [f"p{N}", f"p{N + 1}"],
            "passage_scores": [1.0, 0.5],
        }
        for i in range(N)
    ]
    return pa.Table.from_pylist(rows)


def metric_rows(system: str, seed: int) -> list[list[object]]:
    head, accuracy = ["small", system, seed], RIGHT[system] / N
    rounds = SYSTEMS[system]["rounds"]
    last = rounds if system == "jmlr" else 0
    rows = [
        [*head, last, "made", "test", "accuracy", "", accuracy, accuracy - 0.05, accuracy + 0.05, N],
        [*head, last, "made", "test", "unparsed", "", 0, 0, 0, N],
    ]
    if SYSTEMS[system]["train"]["passages"]:
        for r in range(rounds + 1 if system == "jmlr" else 1):
            hit = 0.1 + 0.3 * r
            rows += [
                [*head, r, "made", "test", "hit", k, hit * (1 + (k > 1)), hit - 0.05, hit + 0.05, N] for k in (1, 5)
            ] + [[*head, r, "made", "test", "mrr", "", hit, "", "", N]]
    return rows


def values(system: str, seed: int) -> list[tuple]:
    """Return values per question that have the means of `metric_rows`, but for the last digits."""
    right = [float(p == 1) for p in answer_table(system, seed)["predicted"].to_pylist()]
    rows = []
    for _, _, _, round, dataset, split, metric, k, value, *_ in metric_rows(system, seed):
        drawn = np.random.default_rng([seed, round, int(k or 0)]).permutation(N) < int(float(value) * N + 0.5)
        own = right if metric == "accuracy" else drawn.astype(float).tolist()
        rows.append((round, dataset, split, metric, k, own, [f"q{i}" for i in range(N)]))
    return rows
