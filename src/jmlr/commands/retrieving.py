"""The passages of one question, found as a search of a finished run found those of its own: by vectors, by words, by lists fused or re-ranked.

search = whole_search(run, "jmlr/seed0/r2/search")          # a line where something that it needs is not there
passages_of(run, search, "Which drug treats gout?", [], 3)  # [(row, score), ...], best first
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jmlr.options import RetrievalOptions
from jmlr.retrieval import WORDS
from jmlr.runtime.finished import made, model_of, part
from jmlr.runtime.manifest import read_manifest
from jmlr.runtime.synonyms import FORMER

FAR = 0.01  # share of the run's own questions that may score lower than a question that is near the corpus
Found = list[tuple[int, float]]


def whole_search(run: Path, name: str) -> Path:
    """Return a search that a manifest names; raise UserError if it is not there, or something that a question needs beside it."""
    search = part(run, name)
    notes = read_manifest(search)["notes"]
    for other in [*notes.get("fused", []), *([notes["search"]] if "search" in notes else [])]:
        whole_search(run, other)
    if notes.get("index"):
        part(run, notes["index"])
    if notes.get("retriever") == "rerank":
        model_of(run, notes["model"])
    if not notes.get("retriever"):  # one of vectors
        model_of(run, read_manifest(made(run, search.parent / "encode/questions"))["notes"]["retriever"])
    made(run, run / "prepare")
    return search


def passages_of(run: Path, search: Path, question: str, options: list[str], count: int) -> Found:
    """Return (row, score) of the best passages under a search's retriever; say so where all of them are far."""
    found = _found(run, search, question, options, count)
    if found and not read_manifest(search)["notes"].get("fused"):  # reciprocal ranks are high for whatever is asked
        _say_far(search, found[0][1])
    return found


def _found(run: Path, search: Path, question: str, options: list[str], count: int) -> Found:
    notes = read_manifest(search)["notes"]
    find = {"bm25": _by_words, "fusion": _fused, "rerank": _reranked}.get(notes.get("retriever", ""), _by_vectors)
    return find(run, search, notes, question, options, count)


def _by_words(run: Path, search: Path, notes: dict[str, Any], question: str, options: list[str], count: int) -> Found:
    from jmlr.corpus.prompt import query_words
    from jmlr.retrieval.bm25 import Bm25

    del search
    held = Bm25.open(part(run, notes["index"]) / WORDS)
    scores, rows = held.search([query_words(question, options, notes["query_options"])], min(count, len(held)))
    return list(zip(rows[0].tolist(), scores[0].tolist(), strict=True))


def _fused(run: Path, search: Path, notes: dict[str, Any], question: str, options: list[str], count: int) -> Found:
    """Fuse as many of each list as the run's own search did."""
    import numpy as np

    from jmlr.retrieval.fusion import fuse, is_ranked

    del search
    lists = []
    for name in notes["fused"]:
        own = part(run, name)
        told = read_manifest(own)["notes"]
        found = _found(run, own, question, options, told["candidates"])
        rows, scores = np.array([[row for row, _ in found]]), np.array([[score for _, score in found]])
        lists.append((rows, is_ranked(scores, told.get("retriever", ""))))
    most = max(rows.shape[1] for rows, _ in lists)
    best, rows = fuse(lists, rrf_k=notes["rrf_k"], k=min(count, most))
    return list(zip(rows[0].tolist(), best[0].tolist(), strict=True))


def _reranked(run: Path, search: Path, notes: dict[str, Any], question: str, options: list[str], count: int) -> Found:
    """Read as many passages of the list as the run's own stage did."""
    from jmlr.corpus.prompt import passage_text, query_text
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.models.cross_encoder import CrossEncoder
    from jmlr.retrieval.best import best

    own = part(run, notes["search"])
    rows = sorted(row for row, _ in _found(run, own, question, options, read_manifest(own)["notes"]["candidates"]))
    asked, settings = query_text(question, options, notes["query_options"]), read_manifest(search)["options"]
    pairs = [(asked, passage_text(*texts)) for texts in StoredPassages.open(run / "prepare").pairs(rows)]
    reader = CrossEncoder.load(model_of(run, notes["model"]), tokens=settings["pair_tokens"]).eval()
    scores, places = best(
        reader.scores(pairs, batch_tokens=settings["pair_batch_tokens"]).numpy(), min(count, len(rows))
    )
    return [(rows[place], score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)]


def _by_vectors(run: Path, search: Path, notes: dict[str, Any], question: str, options: list[str], count: int) -> Found:
    import torch

    from jmlr.corpus.prompt import query_text
    from jmlr.models.retriever import load_retriever
    from jmlr.topk.stored import StoredVectors, open_stored, open_two_steps, search_stored

    index, steps = part(run, notes["index"]), notes.get("two_steps")
    encoded = read_manifest(search.parent / "encode/questions")
    # A run of an earlier version has former names.
    settings = {FORMER.get(k, (k,))[0]: v for k, v in encoded["options"].items()}
    retrieval = RetrievalOptions(**{k: settings[k] for k in RetrievalOptions.model_fields if k in settings})
    retriever = load_retriever(
        model_of(run, encoded["notes"]["retriever"]), query_tokens=retrieval.search_lengths["query_tokens"]
    ).eval()
    with torch.no_grad():
        ids = retriever.tokenize([query_text(question, options, retrieval.query_options)], side="query")
        vectors, offsets = retriever.encode_all(ids, "query", batch_tokens=1)
    queries = StoredVectors(vectors.numpy(), None if offsets is None else offsets.numpy())
    opened = open_two_steps(index / "index") if steps else open_stored(index / "index")
    scores, rows = search_stored(opened, queries, count, max(count, steps["reranked"]) if steps else 0)
    return [(row, score) for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True) if row >= 0]


def _say_far(search: Path, best: float) -> None:
    """Say so where nearly all of the run's own questions have a better best passage than this one."""
    import numpy as np

    from jmlr.corpus.tables import read_table

    own = np.array([s[0] for s in read_table(search / "candidates.parquet", ["scores"])["scores"].to_pylist() if s])
    if len(own) and (own < best).mean() < FAR:
        usual = float(np.quantile(own, FAR))
        print(
            f"far from the corpus: the best passage scores {best:.3f}, those of {1 - FAR:.0%} of the run's {len(own):,} questions "
            f"{usual:.3f} or more; the answer most likely is not in what was read"
        )
