"""The passages that a retriever found for every question, as stages hand them on: candidates.parquet, and a TREC run file.

write_candidates(folder, questions, passages, scores, rows, tag_of(out))
scores, rows = read_candidates(folder, questions, "--parts")        # float32 and int64 [B, C]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.corpus.trec import write_run
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing

FILE = "candidates.parquet"


def read_candidates(search: Path, questions: list[str], option: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (scores float32 [B, C], rows int64 [B, C]) of a search, best first.

    Args:
        search: the folder of its output
        questions: ids of all questions, in their order
        option: that named the folder, for messages

    Raises:
        UserError: there is none, or it is for other questions.
    """
    table = read_table(existing(search / FILE, option))
    if table["question_id"].to_pylist() != questions:
        raise UserError(f"{option} '{search}': not a search for the questions of --prepared")
    scores = np.array(table["scores"].to_pylist(), np.float32).reshape(len(questions), -1)
    return scores, np.array(table["passages"].to_pylist(), np.int64).reshape(len(questions), -1)


def write_candidates(
    folder: Path, questions: list[str], passages: StoredPassages, scores: Any, rows: Any, tag: str
) -> None:
    """Write what was found: scores float32 [B, C], rows int64 [B, C]; with the passages' ids, and in TREC's file with a tag."""
    found = sorted({*rows.ravel().tolist()})
    names = dict(zip(found, passages.take(found, ("id",)), strict=True))
    table: dict[str, Any] = {"question_id": questions, "passages": pa.array(rows.astype(np.int32).tolist(), pa.list_(pa.int32())),
             "ids": [[names[n][0] for n in r] for r in rows.tolist()], "scores": pa.array(scores.tolist(), pa.list_(pa.float32()))}  # fmt: skip
    pq.write_table(pa.table(table), folder / FILE)
    write_run(folder / "candidates.trec", table["ids"], scores, tag)
