"""Stage `rerank`: the passages of a search, ordered anew by a cross-encoder, which reads each with the question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jmlr.options import PairOptions
from jmlr.runtime.manifest import stage_output

QUESTIONS = 32  # at a time


def rerank(
    out: Path,
    prepared: Path,
    search: Path,
    model: str,
    options: PairOptions,
    candidates: int = 30,
    query_options: bool = True,
) -> None:
    """Score every passage of a search by a cross-encoder, and keep the best: files as of `search`.

    Equal scores are in the order of rows. No more than the passages of some questions is ever held.

    Args:
        out: folder to make
        prepared: output of `prepare`
        search: output of `search`, or of `rerank`
        model: the cross-encoder: folder or hub name
        candidates: passages of each question that are kept (C); fewer where the search has fewer
        query_options: a question's options are part of what is read

    Example:
        jmlr rerank --out my/rerank --prepared results/demo/prepare --search my/search --model cross-encoder/ms-marco-MiniLM-L6-v2
    """
    import numpy as np

    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.corpus.tables import read_table
    from jmlr.corpus.trec import tag_of
    from jmlr.models.cross_encoder import CrossEncoder
    from jmlr.retrieval.best import best
    from jmlr.retrieval.candidates import read_candidates, write_candidates
    from jmlr.runtime.devices import device
    from jmlr.runtime.progress import Progress

    inputs = {"prepared": prepared, "search": search, "model": Path(model)}
    with stage_output(out, "rerank", inputs=inputs, options=[options]) as (folder, notes):
        passages = StoredPassages.open(prepared)
        asked = read_table(prepared / "questions.parquet", ["id", "question", "options"]).to_pylist()
        rows = np.sort(read_candidates(search, [q["id"] for q in asked], "--search")[1], axis=1)
        reader = CrossEncoder.load(model, tokens=options.pair_tokens).to(device()).eval()
        progress, found = Progress("rerank", len(asked)), []
        for texts in _pairs(asked, rows, passages, query_options):
            read = reader.scores(texts, batch_tokens=options.pair_batch_tokens, precision=options.pair_precision)
            found += [best(own, min(candidates, rows.shape[1])) for own in read.numpy().reshape(-1, rows.shape[1])]
            progress.step(len(texts) // rows.shape[1])
        order = np.stack([places for _, places in found])
        scores, best_rows = np.stack([own for own, _ in found]), np.take_along_axis(rows, order, axis=1)
        write_candidates(folder, [q["id"] for q in asked], passages, scores, best_rows, tag_of(out))
        notes.update(retriever="rerank", search=str(search), model=model, questions=len(asked), pairs=rows.size,
                     candidates=int(scores.shape[1]), query_options=query_options, limit=reader.limit)  # fmt: skip


def _pairs(
    asked: list[dict[str, Any]], rows: Any, passages: Any, query_options: bool
) -> Iterator[list[tuple[str, str]]]:
    """Yield the pairs (question, passage) of some questions at a time, in the order of their rows."""
    from jmlr.corpus.prompt import passage_text, query_text

    for first in range(0, len(asked), QUESTIONS):
        some = asked[first : first + QUESTIONS]
        own = rows[first : first + QUESTIONS]
        texts = [passage_text(*pair) for pair in passages.pairs(own.ravel().tolist())]
        queries = [query_text(q["question"], q["options"], query_options) for q in some]
        yield [(queries[i // own.shape[1]], text) for i, text in enumerate(texts)]
