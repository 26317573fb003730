"""A search of a finished run, opened once: questions in, the best passages out, by the retriever and index that it had.

finder = Finder.open(Path("results/demo"), search)
[[(row, score), ...]] = finder.find([("Which drug ...?", ["aspirin", "colchicine"])], count=3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jmlr.corpus.prompt import query_text
from jmlr.corpus.tables import read_table
from jmlr.options import RetrievalOptions
from jmlr.runtime.finished import model_of, part
from jmlr.runtime.manifest import read_manifest
from jmlr.runtime.synonyms import FORMER
from jmlr.topk.stored import StoredVectors, open_stored, open_two_steps, search_stored

FAR = 0.01  # share of the run's own questions that may score lower than a question that is near the corpus
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Finder:
    """A retriever with the index of its passages.

    Attributes:
        search: the folder that this is the search of
        retriever: in evaluation mode
        index: as `search_stored` takes it
        reranked: of a search in two steps, how many passages are scored exactly; else 0
        query_options: whether a query has the options of its question
    """

    search: Path
    retriever: Any
    index: Any
    reranked: int
    query_options: bool

    @classmethod
    def open(cls, run: Path, search: Path) -> Finder:
        """Load what a search was made with; raise UserError where it is not there."""
        from jmlr.models.retriever import load_retriever

        notes = read_manifest(search)["notes"]
        index, steps = part(run, notes["index"]) / "index", notes.get("two_steps")
        encoded = read_manifest(search.parent / "encode/questions")
        # A run of an earlier version has former names.
        settings = {FORMER.get(k, (k,))[0]: v for k, v in encoded["options"].items()}
        retrieval = RetrievalOptions(**{k: settings[k] for k in RetrievalOptions.model_fields if k in settings})
        retriever = load_retriever(
            model_of(run, encoded["notes"]["retriever"]), query_tokens=retrieval.search_lengths["query_tokens"]
        ).eval()
        opened = open_two_steps(index) if steps else open_stored(index)
        return cls(search, retriever, opened, steps["reranked"] if steps else 0, retrieval.query_options)

    def vectors(self, texts: Sequence[str], side: str = "query") -> StoredVectors:
        """Return the vectors of some texts, read as a 'query' or as a 'passage'."""
        import torch

        with torch.no_grad():
            ids = self.retriever.tokenize(list(texts), side=side)
            most = 1 if len(ids) == 1 else BATCH_TOKENS
            vectors, offsets = self.retriever.encode_all(ids, side, batch_tokens=most, name="")
        return StoredVectors(vectors.numpy(), None if offsets is None else offsets.numpy())

    def find(self, asked: Sequence[tuple[str, Sequence[str]]], count: int) -> list[list[tuple[int, float]]]:
        """Return (row, score) of the best passages of each question, given with its options."""
        queries = self.vectors([query_text(question, options, self.query_options) for question, options in asked])
        scores, rows = search_stored(self.index, queries, count, max(count, self.reranked) if self.reranked else 0)
        return [
            [(row, score) for row, score in zip(*pair, strict=True) if row >= 0]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    @cached_property
    def _best_of_own(self) -> np.ndarray:
        own = read_table(self.search / "candidates.parquet", ["scores"])["scores"].to_pylist()
        return np.array([scores[0] for scores in own if scores])

    def far(self, best: float) -> str:
        """Say that nearly all of the run's own questions have a better best passage than this one; "" where it is not so."""
        own = self._best_of_own
        if not len(own) or (own < best).mean() >= FAR:
            return ""
        usual = float(np.quantile(own, FAR))
        return (
            f"far from the corpus: the best passage scores {best:.3f}, those of {1 - FAR:.0%} of the run's {len(own):,} questions "
            f"{usual:.3f} or more; the answer most likely is not in what was read"
        )
