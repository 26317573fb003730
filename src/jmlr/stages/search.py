"""Stage `search`: the C best passages of every question (docs/llm_rank.md, step 1); whole, or by shards of the passages.

By an index of vectors, by an index of words (BM25), or by the lists of several searches, which are fused. A shard searches its
rows of an index of vectors; `--parts` puts the shards' results together. The search is exact, and then neither the number of
shards nor their order changes a bit of what comes out; but a large index of a ColBERT is searched in two steps (docs/topk.md),
and what these lose is measured on a sample of the questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.options import SearchOptions
from jmlr.retrieval import WORDS
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import read_manifest, stage_output
from jmlr.runtime.progress import say, warn
from jmlr.runtime.shards import shard_of

EXHAUSTIVE = "exhaustive.parquet"  # of the sample that measures two steps: what the exhaustive search finds


@dataclass(frozen=True)
class Recall:
    """What two steps find of the best passages of all, on a sample of the questions.

    Attributes:
        sample: numbers of the questions, int64 [s], ascending
        scores, rows: the best of all, float32 and int64 [s, C]
        shares: of these, what two steps find, float64 [s]
        reranked: passages of each question that exact MaxSim ranked, in all shards together
    """

    sample: Any
    scores: Any
    rows: Any
    shares: Any
    reranked: int


def search(
    out: Path,
    prepared: Path,
    options: SearchOptions,
    index: Path | None = None,
    queries: Path | None = None,
    shard: str = "0/1",
    parts: list[Path] | None = None,
    fused: list[Path] | None = None,
    rrf_k: int = 60,
    query_options: bool = True,
) -> None:
    """Find the best passages of every question: candidates.parquet, and the same as a TREC run file (candidates.trec).

    Args:
        out: folder to make
        prepared: output of `prepare`
        index: output of `index`
        queries: output of `encode` for the questions; none where the index is one of words
        shard: 'i/n': search the i-th of n equal runs of the index's rows, counted from 0
        parts: outputs of `search` for all shards, to be put together, instead of an index and queries
        fused: outputs of `search` by several retrievers, whose lists are fused, instead of an index and queries
        rrf_k: --fused: a passage at rank r of a list gets 1 / (rrf_k + r)
        query_options: an index of words: a question's options are part of the query

    Example:
        jmlr search --out my/search --prepared results/demo/prepare --index my/index --queries my/queries --candidates 50
    """
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.corpus.tables import read_table
    from jmlr.corpus.trec import tag_of
    from jmlr.retrieval.candidates import write_candidates

    shard_of(shard)
    words = index is not None and (index / WORDS).is_dir()
    if bool(index) + bool(parts) + bool(fused) != 1 or bool(queries) != (bool(index) and not words):
        raise UserError("give either --index and --queries, or --parts, or --fused; of an index of words no --queries")
    inputs = {"index": index, "queries": queries, "prepared": prepared, "parts": parts, "fused": fused}
    variants = {"retriever": "bm25"} if words else {"retriever": "fusion"} if fused else {}
    with stage_output(out, "search", inputs=inputs, options=[options], variants=variants) as (folder, notes):
        passages = StoredPassages.open(prepared)
        questions = read_table(prepared / "questions.parquet", ["id"])["id"].to_pylist()
        count, recall = min(options.candidates, len(passages)), None
        if parts:
            scores, rows = _gather(parts, questions, count)
            recall = _gather_recall(parts, rows)
        elif fused:
            scores, rows = _fused(fused, questions, rrf_k, count)
            notes.update(fused=[str(f) for f in fused], rrf_k=rrf_k)
        elif index and queries:
            scores, rows, recall = _scan(index, queries, prepared, len(questions), len(passages), options, shard)
        elif index:
            scores, rows = _by_words(index, prepared, len(passages), query_options, count)
            notes.update(query_options=query_options, without_a_word=int((scores == 0).sum()))
        write_candidates(folder, questions, passages, scores, rows, tag_of(out))
        if recall:
            _write_exhaustive(folder, questions, recall)
            notes["two_steps"] = {**_told(recall, options.recall, len(passages)), "shard": shard}
        searched = read_manifest(parts[0])["notes"]["index"] if parts else str(index) if index else ""
        notes.update(questions=len(questions), candidates=int(scores.shape[1]), index=searched, **variants)


def _scan(
    index: Path, queries: Path, prepared: Path, questions: int, passages: int, options: SearchOptions, shard: str
) -> tuple[Any, Any, Recall | None]:
    """Search a shard of the index: (scores float32 [B, C], rows int64 [B, C], its recall if in two steps), C at most its rows."""
    from jmlr.topk.stored import StoredVectors, open_shard, search_stored

    vectors = StoredVectors.open(queries, "--queries")
    opened, total = open_shard(index / "index", shard)
    if questions != len(vectors) or passages != total:
        raise UserError(
            f"{questions} questions and {passages} passages in '{prepared}', "
            f"but {len(vectors)} queries in '{queries}' and {total} passages in '{index}'"
        )
    if vectors.offsets is not None and options.in_two_steps(total, len(vectors)):
        return _in_two_steps(index / "index", shard, vectors, options)
    return (*search_stored(opened, vectors, min(options.candidates, len(opened))), None)


def _in_two_steps(index: Path, shard: str, vectors: Any, options: SearchOptions) -> tuple[Any, Any, Recall]:
    """Search a shard as `_scan` does, in two steps that a sample of the questions measures and widens."""
    import numpy as np

    from jmlr.topk.stored import open_two_steps, search_stored, some_queries, widened

    two = open_two_steps(index, shard)
    count = min(options.candidates, len(two.tokens))
    sample = np.sort(np.random.default_rng(0).choice(len(vectors), options.recall_sample, replace=False))
    asked = some_queries(vectors, sample)
    scores, rows = search_stored(two.tokens, asked, count)
    reranked, shares = widened(two, asked, rows, options.recall, max(options.rerank_count, count))
    return *search_stored(two, vectors, count, reranked), Recall(sample, scores, rows, shares, reranked)


def _gather(parts: list[Path], questions: list[str], candidates: int) -> tuple[Any, Any]:
    """Put the results of all shards together."""
    from jmlr.retrieval.candidates import read_candidates
    from jmlr.topk import merge

    return merge([read_candidates(part, questions, "--parts") for part in parts], candidates)


def _fused(searches: list[Path], questions: list[str], rrf_k: int, candidates: int) -> tuple[Any, Any]:
    """Fuse the lists of several retrievers."""
    from jmlr.retrieval.candidates import read_candidates
    from jmlr.retrieval.fusion import fuse, is_ranked

    lists = []
    for search in searches:
        scores, rows = read_candidates(search, questions, "--fused")
        lists.append((rows, is_ranked(scores, read_manifest(search)["notes"].get("retriever", ""))))
    most = max(rows.shape[1] for rows, _ in lists)
    if most < candidates:
        raise UserError(f"--fused: lists of up to {most} passages; allowed: --candidates up to that")
    return fuse(lists, rrf_k=rrf_k, k=candidates)


def _by_words(index: Path, prepared: Path, passages: int, query_options: bool, candidates: int) -> tuple[Any, Any]:
    """Search an index of words."""
    from jmlr.corpus.prompt import query_words
    from jmlr.corpus.tables import read_table
    from jmlr.retrieval.bm25 import Bm25

    held = Bm25.open(index / WORDS)
    if len(held) != passages:
        raise UserError(f"{passages} passages in '{prepared}', but {len(held)} in '{index}'")
    asked = read_table(prepared / "questions.parquet", ["question", "options"]).to_pylist()
    return held.search([query_words(q["question"], q["options"], query_options) for q in asked], candidates)


def _gather_recall(parts: list[Path], found: Any) -> Recall | None:
    """Put together what the shards' exhaustive searches of a sample found, and count what of it two steps found [B, C]."""
    import numpy as np
    import pyarrow.parquet as pq

    from jmlr.topk import merge
    from jmlr.topk.two_steps import recalls

    told = [read_manifest(part)["notes"].get("two_steps") for part in parts]
    if not any(told):
        return None
    tables = [pq.read_table(existing(part / EXHAUSTIVE, "--parts")) for part in parts]
    asked = tables[0]["question"].to_pylist()
    for part, table in zip(parts, tables, strict=True):
        if table["question"].to_pylist() != asked:
            raise UserError(f"--parts '{part}': measured on other questions than '{parts[0]}'; search all shards alike")
    held = [(np.array(t["scores"].to_pylist()), np.array(t["passages"].to_pylist())) for t in tables]
    scores, rows = merge(held, found.shape[1])
    sample = np.array(asked)
    return Recall(sample, scores, rows, recalls(found[sample], rows), sum(t["reranked"] for t in told))


def _told(recall: Recall, wanted: float, passages: int) -> dict[str, Any]:
    """Say what two steps find, and warn where it is less than is asked for; return the same as notes."""
    from jmlr.metrics.statistics.interval import interval

    share, count = float(recall.shares.mean()), recall.rows.shape[1]
    low, high = interval([recall.shares], samples=2000)
    said = f"recall@{count} {share:.3f} [{low:.3f}, {high:.3f}] beside the exhaustive search of {len(recall.sample):,} questions"
    said += f"; {recall.reranked:,} of {passages:,} passages reranked for each"
    if share < wanted:
        warn(
            "search",
            f"two steps: {said}; search.recall asks for {wanted:g}: set search.exhaustive, or a larger search.rerank_count",
        )
    else:
        say(f"search: two steps: {said}")
    return {"recall": share, "interval": [low, high], "candidates": count, "sample": len(recall.sample),
            "reranked": recall.reranked, "passages": passages}  # fmt: skip


def _write_exhaustive(folder: Path, questions: list[str], recall: Recall) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {
        "question": recall.sample,
        "question_id": [questions[n] for n in recall.sample],
        "passages": pa.array(recall.rows.tolist(), pa.list_(pa.int64())),
        "scores": pa.array(recall.scores.tolist(), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(table), folder / EXHAUSTIVE)
