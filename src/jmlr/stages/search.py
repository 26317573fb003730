"""Stage `search`: the C best passages of every question (METHOD 3.1), exactly."""

from __future__ import annotations

from pathlib import Path

from jmlr.options import SearchOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import stage_output


def search(out: Path, index: Path, queries: Path, prepared: Path, options: SearchOptions) -> None:
    """Find the best passages of every question: candidates.parquet, and the same as a TREC run file.

    Args:
        out: folder to make
        index: output of `index`
        queries: output of `encode` for the questions
        prepared: output of `prepare`
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from jmlr.topk.stored import StoredVectors, open_stored, search_stored

    with stage_output(
        out, "search", inputs={"index": index, "queries": queries, "prepared": prepared}, options=[options]
    ) as (folder, notes):
        vectors = StoredVectors.open(queries, "--queries")
        opened = open_stored(index / "index")
        names = pq.read_table(prepared / "passages.parquet", columns=["id"])["id"].to_numpy(zero_copy_only=False)
        questions = pq.read_table(prepared / "questions.parquet", columns=["id"])["id"].to_pylist()
        if len(questions) != len(vectors) or len(names) != len(opened):
            raise UserError(
                f"{len(questions)} questions and {len(names)} passages in '{prepared}', "
                f"but {len(vectors)} queries in '{queries}' and {len(opened)} passages in '{index}'"
            )
        scores, rows = search_stored(opened, vectors, min(options.candidates, len(opened)))
        table = {"question_id": questions, "passages": pa.array(rows.astype(np.int32).tolist(), pa.list_(pa.int32())),
                 "ids": [list(names[r]) for r in rows], "scores": pa.array(scores.tolist(), pa.list_(pa.float32()))}  # fmt: skip
        pq.write_table(pa.table(table), folder / "candidates.parquet")
        with (folder / "candidates.trec").open("w") as f:
            for question, found, values in zip(questions, rows, scores, strict=True):
                f.writelines(
                    f"{question} Q0 {names[r]} {rank + 1} {v:.9g} jmlr\n"
                    for rank, (r, v) in enumerate(zip(found, values, strict=True))
                )
        notes.update(questions=len(questions), candidates=int(scores.shape[1]), index=str(index))
