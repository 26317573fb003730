"""`rerank`: the order of the cross-encoder's scores, the passages those of the search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jmlr.corpus.prompt import passage_text, query_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.models.cross_encoder import CrossEncoder
from jmlr.options import IndexOptions, PairOptions, SearchOptions
from jmlr.runtime.errors import UserError
from jmlr.stages import rerank as stage
from jmlr.stages.index import index
from jmlr.stages.rerank import rerank
from jmlr.stages.search import search
from model_files import write_cross_encoder


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a search by words and a cross-encoder that knows the world's words."""
    from transformers import AutoTokenizer

    root = tmp_path_factory.mktemp("rerank")
    index(root / "index", IndexOptions(), prepared=tiny / "prepare", bm25={})
    search(root / "search", tiny / "prepare", SearchOptions(candidates=7), root / "index")
    write_cross_encoder(root / "reader", AutoTokenizer.from_pretrained(tiny / "retriever"))
    return root


def rows(folder: Path) -> list[dict]:
    return pq.read_table(folder / "candidates.parquet").to_pylist()


@pytest.mark.parametrize("with_options", [True, False])
def test_passages_are_those_of_the_search_in_the_order_of_the_scores(made, tiny, tmp_path, monkeypatch, with_options):
    monkeypatch.setattr(stage, "QUESTIONS", 5)
    rerank(tmp_path / "all", tiny / "prepare", made / "search", str(made / "reader"), PairOptions(),
           candidates=9, query_options=with_options)  # fmt: skip
    reader, passages = CrossEncoder.load(str(made / "reader")).eval(), StoredPassages.open(tiny / "prepare")
    asked = pq.read_table(tiny / "prepare/questions.parquet").to_pylist()
    for question, before, after in list(zip(asked, rows(made / "search"), rows(tmp_path / "all"), strict=True))[:12]:
        assert sorted(after["passages"]) == sorted(before["passages"])
        query = query_text(question["question"], question["options"], with_options)
        pairs = [(query, passage_text(*texts)) for texts in passages.pairs(after["passages"])]
        assert after["scores"] == pytest.approx(reader.scores(pairs, batch_tokens=64).tolist(), abs=1e-5)
        assert (np.diff(after["scores"]) <= 0).all()
    assert [r["passages"] for r in rows(tmp_path / "all")] != [r["passages"] for r in rows(made / "search")]
    notes = json.loads((tmp_path / "all/manifest.json").read_text())["notes"]
    assert (notes["retriever"], notes["pairs"], notes["candidates"]) == ("rerank", 7 * len(asked), 7)


def test_the_best_of_more_passages_are_kept(made, tiny, tmp_path):
    given = {
        "prepared": tiny / "prepare",
        "search": made / "search",
        "model": str(made / "reader"),
        "options": PairOptions(),
    }
    rerank(tmp_path / "all", **given, candidates=7)
    rerank(tmp_path / "some", **given, candidates=2)
    assert [r["passages"][:2] for r in rows(tmp_path / "all")] == [r["passages"] for r in rows(tmp_path / "some")]


def test_equal_scores_are_in_the_order_of_rows(made, tiny, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(CrossEncoder, "scores", lambda self, pairs, **_: torch.zeros(len(pairs)))
    rerank(tmp_path / "out", tiny / "prepare", made / "search", str(made / "reader"), PairOptions())
    assert all(r["passages"] == sorted(r["passages"]) for r in rows(tmp_path / "out"))


def test_a_search_for_other_questions_or_no_cross_encoder_is_one_line_and_leaves_nothing(made, tiny, tmp_path):
    with pytest.raises(UserError, match=r"cross-encoder .* cannot be loaded"):
        rerank(tmp_path / "out", tiny / "prepare", made / "search", str(made / "index"), PairOptions())
    with pytest.raises(UserError, match="--search"):
        rerank(tmp_path / "out", tiny / "prepare", made / "index", str(made / "reader"), PairOptions())
    assert not (tmp_path / "out").exists()
