"""Stage `search`: the C best passages of every question (docs/llm_rank.md, step 1), exactly; whole, or by shards of the passages.

A shard searches its rows of the index; `--parts` puts the shards' results together. Neither the number of shards nor
their order changes a bit of what comes out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jmlr.options import SearchOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import read_manifest, stage_output
from jmlr.runtime.shards import shard_of


def search(
    out: Path,
    prepared: Path,
    options: SearchOptions,
    index: Path | None = None,
    queries: Path | None = None,
    shard: str = "0/1",
    parts: list[Path] | None = None,
) -> None:
    """Find the best passages of every question: candidates.parquet, and the same as a TREC run file (candidates.trec).

    Args:
        out: folder to make
        prepared: output of `prepare`
        index: output of `index`
        queries: output of `encode` for the questions
        shard: 'i/n': search the i-th of n equal runs of the index's rows, counted from 0
        parts: outputs of `search` for all shards, to be put together, instead of an index and queries

    Example:
        jmlr search --out my/search --prepared results/demo/prepare --index my/index --queries my/queries --candidates 50
    """
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.corpus.tables import read_table

    shard_of(shard)
    if bool(parts) == bool(index or queries) or bool(index) != bool(queries):
        raise UserError("give either --index and --queries, or --parts")
    with stage_output(
        out,
        "search",
        inputs={"index": index, "queries": queries, "prepared": prepared, "parts": parts},
        options=[options],
    ) as (folder, notes):
        passages = StoredPassages.open(prepared)
        questions = read_table(prepared / "questions.parquet", ["id"])["id"].to_pylist()
        if parts:
            scores, rows = _gather(parts, questions, min(options.candidates, len(passages)))
        else:
            assert index is not None and queries is not None  # noqa: PT018
            scores, rows = _scan(index, queries, prepared, len(questions), len(passages), options, shard)
        _write(folder, questions, passages, scores, rows)
        searched = read_manifest(parts[0])["notes"]["index"] if parts else str(index)
        notes.update(questions=len(questions), candidates=int(scores.shape[1]), index=searched)


def _scan(
    index: Path, queries: Path, prepared: Path, questions: int, passages: int, options: SearchOptions, shard: str
) -> tuple[Any, Any]:
    """Search a shard of the index: (scores float32 [B, C], rows int64 [B, C]), C at most the shard's rows."""
    from jmlr.topk.stored import StoredVectors, open_shard, search_stored

    vectors = StoredVectors.open(queries, "--queries")
    opened, total = open_shard(index / "index", shard)
    if questions != len(vectors) or passages != total:
        raise UserError(
            f"{questions} questions and {passages} passages in '{prepared}', "
            f"but {len(vectors)} queries in '{queries}' and {total} passages in '{index}'"
        )
    return search_stored(opened, vectors, min(options.candidates, len(opened)))


def _gather(parts: list[Path], questions: list[str], candidates: int) -> tuple[Any, Any]:
    """Put the results of all shards together."""
    import numpy as np

    from jmlr.corpus.tables import read_table
    from jmlr.topk import merge

    found: list[tuple[Any, Any]] = []
    for part in parts:
        table = read_table(existing(part / "candidates.parquet", "--parts"))
        if table["question_id"].to_pylist() != questions:
            raise UserError(f"--parts '{part}': not a search for the questions of --prepared")
        scores = np.array(table["scores"].to_pylist(), np.float32).reshape(len(questions), -1)
        found.append((scores, np.array(table["passages"].to_pylist(), np.int64).reshape(len(questions), -1)))
    return merge(found, candidates)


def _write(folder: Path, questions: list[str], passages: Any, scores: Any, rows: Any) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from jmlr.corpus.trec import write_run

    found = sorted({*rows.ravel().tolist()})
    names = dict(zip(found, passages.take(found, ("id",)), strict=True))
    table: dict[str, Any] = {"question_id": questions, "passages": pa.array(rows.astype(np.int32).tolist(), pa.list_(pa.int32())),
             "ids": [[names[n][0] for n in r] for r in rows.tolist()], "scores": pa.array(scores.tolist(), pa.list_(pa.float32()))}  # fmt: skip
    pq.write_table(pa.table(table), folder / "candidates.parquet")
    write_run(folder / "candidates.trec", table["ids"], scores)
