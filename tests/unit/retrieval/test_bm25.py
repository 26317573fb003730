"""BM25 against its formula; the same order on every run; nothing pickled."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from jmlr.retrieval.best import best
from jmlr.retrieval.bm25 import ABOUT, Bm25, terms_of
from jmlr.runtime.errors import UserError

pytest.importorskip("bm25s")
pytest.importorskip("Stemmer")
TEXTS = [
    "Colchicine treats the pain of gout, and colchicine is old.",
    "Aspirin treats pains.",
    "",
    "Gout is a disease of joints; a long passage tells of joints, of feet, of wine and of kings.",
    "Wine is old. Kings are old.",
    "aspirin treats pains",
]
QUERIES = ["gout pain", "old old kings", "the treatment of pain", "zebra", "", "pains treated by aspirin"]


def by_formula(texts: list[str], query: str, k1: float, b: float, language: str) -> np.ndarray:
    """Score every text by Lucene's formula, in float64: sum of ln(1 + (N - n + 0.5) / (n + 0.5)) f / (f + k1 (1 - b + b l / mean l))."""
    rows = [Counter(terms_of(language)(t)) for t in texts]
    mean = sum(r.total() for r in rows) / len(rows)
    scores = np.zeros(len(texts))
    for word in terms_of(language)(query):
        n = sum(word in r for r in rows)
        for i, row in enumerate(rows):
            idf = math.log(1 + (len(rows) - n + 0.5) / (n + 0.5))
            scores[i] += idf * row[word] / (row[word] + k1 * (1 - b + b * row.total() / mean))
    return scores


@pytest.mark.parametrize("language", ["english", "none", "german"])
@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (1.2, 0.0)])
def test_scores_are_those_of_the_formula_and_the_order_follows_them(tmp_path, k1, b, language):
    Bm25.build(TEXTS, k1=k1, b=b, language=language).save(tmp_path)
    scores, rows = Bm25.open(tmp_path).search(QUERIES, len(TEXTS))
    assert scores.dtype == np.float32
    for n, query in enumerate(QUERIES):
        wanted = by_formula(TEXTS, query, k1, b, language)
        assert scores[n] == pytest.approx(wanted[rows[n]], rel=1e-6)
        assert sorted(rows[n]) == list(range(len(TEXTS)))
        assert (np.diff(scores[n]) <= 0).all()


def test_equal_scores_are_in_the_order_of_rows(tmp_path):
    made = Bm25.build(TEXTS, k1=1.5, b=0.75, language="english")
    scores, rows = made.search(["aspirin", "zebra"], 3)
    assert rows.tolist() == [[1, 5, 0], [0, 1, 2]]
    assert scores[0, 0] == scores[0, 1]
    assert not scores[1].any()


def test_best_is_a_whole_sort_by_score_then_row():
    draw = np.random.default_rng(0)
    for n in (1, 7, 300):
        scores = draw.integers(0, 4, n).astype(np.float32)
        order = sorted(range(n), key=lambda i: (-scores[i], i))
        for k in {1, n // 2 or 1, n}:
            found, rows = best(scores, k)
            assert rows.tolist() == order[:k]
            assert found.tolist() == scores[order[:k]].tolist()


def test_an_index_is_the_same_bytes_in_every_process_and_holds_no_pickle(tmp_path):
    script = "import sys; from pathlib import Path; from jmlr.retrieval.bm25 import Bm25\n"
    script += f"Bm25.build({TEXTS!r}, k1=1.5, b=0.75, language='english').save(Path(sys.argv[1]))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment)
    files = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert [(tmp_path / "1" / f).read_bytes() for f in files] == [(tmp_path / "2" / f).read_bytes() for f in files]
    assert {f.rpartition(".")[2] for f in files} == {"npy", "json"}
    for file in (f for f in files if f.endswith("npy")):
        np.load(tmp_path / "1" / file, allow_pickle=False)


def test_texts_are_read_one_by_one_and_not_kept():
    alive = []

    def texts():
        for n in range(100):
            alive.append(n)
            yield f"passage{n} gout"

    assert len(Bm25.build(texts(), k1=1.5, b=0.75, language="none")) == len(alive) == 100


@pytest.mark.parametrize("texts", [["", "..."], []])
def test_passages_without_a_word_are_one_clear_line(texts):
    with pytest.raises(UserError, match=rf"bm25: no word in {len(texts)} passages"):
        Bm25.build(texts, k1=1.5, b=0.75, language="english")


def test_a_damaged_index_is_one_clear_line(tmp_path):
    Bm25.build(TEXTS, k1=1.5, b=0.75, language="english").save(tmp_path)
    (tmp_path / "data.csc.index.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="is no index of words, or damaged"):
        Bm25.open(tmp_path)
    (tmp_path / ABOUT).unlink()
    with pytest.raises(UserError, match="is no index of words, or damaged"):
        Bm25.open(tmp_path)


def test_words_of_any_script_are_found():
    made = Bm25.build(["患者は発熱", "Fièvre élevée", "fever"], k1=1.5, b=0.75, language="none")
    assert made.search(["発熱", "FIÈVRE", "Fever?"], 1)[1].tolist() == [[0], [1], [2]]
