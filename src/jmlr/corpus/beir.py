"""BEIR's folder: a corpus, queries and judgements, as retrieval benchmarks exchange them.

    write_beir(Path("out"), Path("results/demo/prepare"))
    # corpus.jsonl    {"_id": "p7", "title": "Gout", "text": "..."}
    # queries.jsonl   {"_id": "q1", "text": "Which drug ...?"}
    # qrels/test.tsv  query-id <tab> corpus-id <tab> score, one file for each split

What is read back by the cards `beir` (config/datasets, config/corpora) is the same passages, queries and grades. Source:
Thakur et al. 2021, arXiv 2104.08663, and BEIR's wiki, "Load your custom dataset".
"""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jmlr.corpus.judgements import COLUMNS
from jmlr.corpus.tables import read_table, stored_rows
from jmlr.runtime.errors import UserError


def write_beir(folder: Path, prepared: Path) -> dict[str, int]:
    """Write the passages of a prepared run, all its questions, and the gold of those that have some.

    Returns:
        How many passages, queries and judgements there are.

    Raises:
        UserError: no question has a gold passage.
    """
    counts = {"passages": 0, "queries": 0, "judgements": 0}
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        for passage in stored_rows(prepared / "passages.parquet", ["id", "title", "text"]):
            _line(corpus, {"_id": passage["id"], "title": passage["title"], "text": passage["text"]})
            counts["passages"] += 1
    (folder / "qrels").mkdir()
    tables: dict[str, Any] = {}
    with ExitStack() as opened:
        queries = opened.enter_context((folder / "queries.jsonl").open("w", encoding="utf-8"))
        for question in read_table(prepared / "questions.parquet").to_pylist():
            _line(queries, {"_id": question["id"], "text": question["question"]})
            counts["queries"] += 1
            grades = question.get("gold_grades") or [1] * len(question["gold_ids"])
            for passage, grade in zip(question["gold_ids"], grades, strict=True):
                split = question["split"]
                if split not in tables:
                    file = opened.enter_context((folder / f"qrels/{split}.tsv").open("w", encoding="utf-8", newline=""))
                    tables[split] = csv.writer(file, delimiter="\t", lineterminator="\n")
                    tables[split].writerow(COLUMNS)
                tables[split].writerow((question["id"], passage, grade))
                counts["judgements"] += 1
    if not tables:
        raise UserError(
            f"{prepared}/questions.parquet: no question has a gold passage, so that nothing judges retrieval"
        )
    return counts


def _line(file: Any, record: dict[str, str]) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
