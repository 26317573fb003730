"""A search of a finished run, opened once: questions in, the best passages out, by the retriever and index that it had.

finder = open_finder(Path("results/demo"), search)
[[(row, score), ...]] = finder.find([("Which drug ...?", ["aspirin", "colchicine"])], count=3)

By vectors, by words, by lists fused, or by another's passages read again, as the search's manifest says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jmlr.corpus.prompt import passage_text, query_text, query_words
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.options import RetrievalOptions
from jmlr.retrieval import WORDS
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import model_of, part
from jmlr.runtime.manifest import read_manifest
from jmlr.runtime.synonyms import FORMER
from jmlr.topk.stored import StoredVectors, open_stored, open_two_steps, search_stored

FAR = 0.01  # share of the run's own questions that may score lower than a question that is near the corpus
BATCH_TOKENS = 4096
Questions = Sequence[tuple[str, Sequence[str]]]  # each with its options
Found = list[list[tuple[int, float]]]  # of each question (row, score) of its passages, best first


@dataclass(frozen=True)
class Finder(ABC):
    """What finds passages; `search` is the folder of the search that it repeats."""

    search: Path

    @abstractmethod
    def find(self, asked: Questions, count: int) -> Found:
        """Return the best passages of each question."""

    def vectors(self, texts: Sequence[str], side: str = "query") -> StoredVectors:
        """Return the vectors of some texts, read as a 'query' or as a 'passage'; raise UserError where there are none."""
        del texts, side
        raise UserError("this row's retriever has no vectors")

    def longer(self, texts: Sequence[str], side: str) -> tuple[int, int]:
        """Return how many texts have as many tokens as are read on a side at most, or more, and that bound; (0, 0): all are read."""
        del texts, side
        return 0, 0

    def read_of(self, question: str, options: Sequence[str]) -> int:
        """Return how many tokens of a question are read where it has more; 0: all of it."""
        del question, options
        return 0

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


def open_finder(run: Path, search: Path) -> Finder:
    """Load what a search was made with; raise UserError where it is not there."""
    kinds: dict[str, Any] = {"bm25": WordFinder, "fusion": FusedFinder, "rerank": PairFinder}
    kind = kinds.get(read_manifest(search)["notes"].get("retriever", ""), VectorFinder)
    finder: Finder = kind.open(run, search)
    return finder


@dataclass(frozen=True)
class VectorFinder(Finder):
    """A retriever of vectors, in evaluation mode, with the index of its passages, as `search_stored` takes it.

    reranked: of a search in two steps, how many passages are scored exactly; else 0
    """

    retriever: Any
    index: Any
    reranked: int
    query_options: bool

    @classmethod
    def open(cls, run: Path, search: Path) -> VectorFinder:
        """Load the retriever, and map the index."""
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

    def longer(self, texts: Sequence[str], side: str) -> tuple[int, int]:
        """Return how many texts have as many tokens as the retriever encodes, or more, and how many it encodes."""
        most = int(self.retriever.limit(side) or 0)
        sizes = map(len, self.retriever.tokenize(list(texts), side=side)) if most else ()
        return sum(size >= most for size in sizes), most

    def read_of(self, question: str, options: Sequence[str]) -> int:
        """Return how many tokens of a question the retriever encodes where it has as many or more; 0: all of it."""
        long, most = self.longer([query_text(question, options, self.query_options)], "query")
        return most if long else 0

    def find(self, asked: Questions, count: int) -> Found:
        """Return the best passages by inner product or MaxSim."""
        queries = self.vectors([query_text(question, options, self.query_options) for question, options in asked])
        scores, rows = search_stored(self.index, queries, count, max(count, self.reranked) if self.reranked else 0)
        return _pairs(rows, scores)


@dataclass(frozen=True)
class WordFinder(Finder):
    """BM25."""

    held: Any
    query_options: bool

    @classmethod
    def open(cls, run: Path, search: Path) -> WordFinder:
        """Map the index of words."""
        from jmlr.retrieval.bm25 import Bm25

        notes = read_manifest(search)["notes"]
        return cls(search, Bm25.open(part(run, notes["index"]) / WORDS), notes["query_options"])

    def find(self, asked: Questions, count: int) -> Found:
        """Return the best passages by the questions' words."""
        queries = [query_words(question, options, self.query_options) for question, options in asked]
        scores, rows = self.held.search(queries, min(count, len(self.held)))
        return _pairs(rows, scores)


@dataclass(frozen=True)
class FusedFinder(Finder):
    """Reciprocal rank fusion of others' lists; `lists` has of each how many it takes, and the kind that the search's notes name."""

    lists: Sequence[tuple[Finder, int, str]]
    rrf_k: int

    @classmethod
    def open(cls, run: Path, search: Path) -> FusedFinder:
        """Open the finders of the lists."""
        notes, lists = read_manifest(search)["notes"], []
        for name in notes["fused"]:
            told = read_manifest(part(run, name))["notes"]
            lists.append((open_finder(run, part(run, name)), told["candidates"], told.get("retriever", "")))
        return cls(search, lists, notes["rrf_k"])

    def find(self, asked: Questions, count: int) -> Found:
        """Return the best passages of the fused lists, of each as many as the run's own search took."""
        from jmlr.retrieval.fusion import fuse, is_ranked

        found = [(finder.find(asked, most), kind) for finder, most, kind in self.lists]
        answers: Found = []
        for n in range(len(asked)):
            lists = []
            for hits, kind in found:
                rows, scores = np.array([[row for row, _ in hits[n]]]), np.array([[score for _, score in hits[n]]])
                lists.append((rows, is_ranked(scores, kind)))
            longest = max(rows.shape[1] for rows, _ in lists)
            scores, rows = fuse(lists, rrf_k=self.rrf_k, k=min(count, longest))
            answers += _pairs(rows, scores)
        return answers

    def read_of(self, question: str, options: Sequence[str]) -> int:
        """Return how many tokens of a question the shortest-sighted of the others reads, where it has more; 0: all read all of it."""
        return min(filter(None, (finder.read_of(question, options) for finder, _, _ in self.lists)), default=0)

    def far(self, best: float) -> str:
        """Say nothing: reciprocal ranks are high for whatever is asked."""
        del best
        return ""


@dataclass(frozen=True)
class PairFinder(Finder):
    """A cross-encoder that orders the passages of another; `read` is how many of these it reads."""

    first: Finder
    read: int
    passages: StoredPassages
    reader: Any
    batch_tokens: int
    query_options: bool

    @classmethod
    def open(cls, run: Path, search: Path) -> PairFinder:
        """Load the cross-encoder, and open the finder of its passages."""
        from jmlr.models.cross_encoder import CrossEncoder

        told = read_manifest(search)
        notes, settings = told["notes"], told["options"]
        first = part(run, notes["search"])
        reader = CrossEncoder.load(model_of(run, notes["model"]), tokens=settings["pair_tokens"]).eval()
        read, passages = read_manifest(first)["notes"]["candidates"], StoredPassages.open(run / "prepare")
        opened = open_finder(run, first)
        return cls(search, opened, read, passages, reader, settings["pair_batch_tokens"], notes["query_options"])

    def read_of(self, question: str, options: Sequence[str]) -> int:
        """Return how many tokens of a question the other finder reads, where it has more; 0: all of it."""
        return self.first.read_of(question, options)

    def find(self, asked: Questions, count: int) -> Found:
        """Return the best passages of those that the other finds, by the score of question and passage read together."""
        from jmlr.retrieval.best import best

        answers: Found = []
        for (question, options), hits in zip(asked, self.first.find(asked, self.read), strict=True):
            rows, query = sorted(row for row, _ in hits), query_text(question, options, self.query_options)
            pairs = [(query, passage_text(*texts)) for texts in self.passages.pairs(rows)]
            found = self.reader.scores(pairs, batch_tokens=self.batch_tokens).numpy()
            scores, places = best(found, min(count, len(rows)))
            answers.append([(rows[n], score) for n, score in zip(places.tolist(), scores.tolist(), strict=True)])
        return answers


def _pairs(rows: np.ndarray, scores: np.ndarray) -> Found:
    return [
        [(row, score) for row, score in zip(*pair, strict=True) if row >= 0]
        for pair in zip(rows.tolist(), scores.tolist(), strict=True)
    ]
