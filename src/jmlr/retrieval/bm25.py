"""BM25 (Robertson and Zaragoza 2009) by the package bm25s (arXiv 2407.03618), in Lucene's variant: passages by the question's words.

    made = Bm25.build(texts, k1=1.5, b=0.75, language="english")     # texts: any iterable
    made.save(folder); made = Bm25.open(folder)                      # arrays are mapped; no pickle
    scores, rows = made.search(["gout pain"], k=10)                  # float32 [B, 10], int64 [B, 10]

Words are those of `jmlr.corpus.words`, of any script, without the language's stop words and stemmed (Snowball). A word
that a query repeats counts as often. A score is a sum of float32 in the query's order, and equal scores are in the order of
rows: the same query finds the same. A passage that shares no word with the query has score 0.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmlr.corpus.words import words
from jmlr.retrieval.best import best
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import require

ABOUT = "about.json"  # beside bm25s' own files
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Bm25:
    """An index of words.

    Attributes:
        held: the index, a `bm25s.BM25`
        language: of its stop words and its stemmer; "none": every word as it stands
    """

    held: Any
    language: str

    @classmethod
    def build(cls, texts: Iterable[str], *, k1: float, b: float, language: str) -> Bm25:
        """Index texts: of each no more than its words' numbers is kept, 4 bytes a word.

        Raises:
            MissingPackageError: bm25s or PyStemmer is not installed.
            UserError: no text has a word.
        """
        require(__name__, "bm25s", "Stemmer")
        import bm25s

        terms, numbers = terms_of(language), dict[str, int]()
        rows = [array("i", (numbers.setdefault(t, len(numbers)) for t in terms(text))) for text in texts]
        if not numbers:
            raise UserError(f"bm25: no word in {len(rows)} passages, but stop words (language {language})")
        held = bm25s.BM25(k1=k1, b=b, method="lucene")
        held.index((rows, numbers), create_empty_token=False, show_progress=False)
        return cls(held, language)

    def save(self, folder: Path) -> None:
        """Write bm25s' files (npy, JSON) and what it does not keep."""
        self.held.save(folder, show_progress=False)
        (folder / ABOUT).write_text(json.dumps({"language": self.language}) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Bm25:
        """Map an index.

        Raises:
            MissingPackageError: bm25s or PyStemmer is not installed.
            UserError: there is none, or it is damaged.
        """
        require(__name__, "bm25s", "Stemmer")
        import bm25s

        try:
            language = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["language"]
            return cls(bm25s.BM25.load(folder, mmap=True), language)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"'{folder}' is no index of words, or damaged ({error}); index again") from None

    def __len__(self) -> int:
        return int(self.held.scores["num_docs"])

    @property
    def words(self) -> int:
        """How many different words are counted."""
        return len(self.held.vocab_dict)

    def search(self, queries: Sequence[str], k: int) -> Found:
        """Return (scores float32 [B, k], rows int64 [B, k]) of the k best texts of each query; k is at most their number."""
        terms, numbers = terms_of(self.language), self.held.vocab_dict
        found = []
        for query in queries:
            ids = [numbers[t] for t in terms(query) if t in numbers]
            found.append(best(self.held.get_scores_from_ids(ids), k))
        return np.stack([s for s, _ in found]), np.stack([r for _, r in found])


def terms_of(language: str) -> Callable[[str], list[str]]:
    """Return what makes of a text the words that are counted.

    >>> terms_of("english")("The effects of aspirin")
    ['effect', 'aspirin']
    >>> terms_of("none")("The effects of aspirin")
    ['the', 'effects', 'of', 'aspirin']
    """
    if language == "none":
        return words
    import Stemmer
    from bm25s import stopwords

    named = {"english": "EN"}.get(language, language.upper())
    left_out, stem = frozenset(getattr(stopwords, f"STOPWORDS_{named}")), Stemmer.Stemmer(language).stemWords
    return lambda text: stem([w for w in words(text) if w not in left_out])
