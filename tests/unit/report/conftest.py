"""The run that the tests of the report read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_run import Folders, N, answer_table, manifest, metric_rows, values

from jmlr.metrics import write_values
from jmlr.report.load import COLUMNS


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    manifest(
        made.prepared,
        "prepare",
        notes={
            "passages": {"world": {"records": 50, "passages": 42, "duplicates": 8, "left_out": 0, "cut": 0}},
            "questions": {"made": {"train": 9, "test": N}},
            "documents": 7,
        },
    )
    manifest(
        made.costs[0],
        "fetch",
        options={"origin": "demo", "path": ""},
        notes={"source": "world", "files": 4, "bytes": 3 * 2**20},
    )
    for folder in made.costs[1:]:
        manifest(folder, "pretrain")
    passages = [
        {"row": i, "id": f"p{i}", "title": "", "text": f"<b>Text {i}</b>", "source": "world", "section": ""}
        for i in range(N + 2)
    ]
    pq.write_table(pa.Table.from_pylist(passages), made.prepared / "passages.parquet")
    questions = [
        {
            "id": f"q{i}",
            "dataset": "made",
            "split": "test",
            "question": f"Question {i}?",
            "options": ["no", "yes"],
            "answer": 1,
            "answer_text": "yes",
            "gold_ids": [f"p{i}"],
        }
        for i in range(N)
    ]
    pq.write_table(pa.Table.from_pylist(questions), made.prepared / "questions.parquet")
    for evaluation, answers in zip(made.evaluations, made.answers, strict=True):
        system, seed = answers.parts[-3], int(answers.parts[-2][4:])
        manifest(evaluation, "evaluate")
        manifest(answers, "answer")
        pq.write_table(answer_table(system, seed), answers / "answers.parquet")
        with (evaluation / "metrics.csv").open("w", newline="") as f:
            csv.writer(f).writerows([COLUMNS, *metric_rows(system, seed)])
        write_values(evaluation / "per_question.parquet", values(system, seed))
    for folder in made.trainings:
        manifest(folder, "train")
        first = 10 * (int(folder.parts[-2][1:]) - 1)
        rank = 0.6 if folder.parts[-4] == "jmlr" else None
        (folder / "metrics.jsonl").write_text(
            "".join(
                json.dumps(
                    {"step": first + i + 1, "loss_lm": 2 - i / 20, "loss_rank": rank, "agreement": rank, "hit": None}
                )
                + "\n"
                for i in range(10)
            )
        )
    return made
