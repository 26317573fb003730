"""The three uses of docs/topk.md: their code runs as it stands, and finds what the contract says."""

import re
from pathlib import Path

import numpy as np
import pytest

from jmlr.topk.reference import maxsim, topk_reference

PAGE = Path(__file__).resolve().parents[3] / "docs/topk.md"
SECTION = PAGE.read_text().split("## Three uses\n")[1].split("\n## ")[0]
USES = dict(re.findall(r"^### ([^\n]*)\n```python\n(.*?)```$", SECTION, re.M | re.S))


@pytest.fixture
def outcome(request, tmp_path, monkeypatch):
    """Return the variables that the code of a use leaves."""
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(compile(USES[request.param], f"{PAGE.name}: {request.param}", "exec"), variables)
    return variables


def test_the_page_shows_three_uses():
    assert list(USES) == [
        "In place of `faiss.IndexFlatIP`",
        "Re-ranking a ColBERT's candidates",
        "Mining hard negatives",
    ]


@pytest.mark.parametrize("outcome", ["In place of `faiss.IndexFlatIP`"], indirect=True)
def test_in_place_of_faiss(outcome):
    expected = topk_reference(outcome["queries"], outcome["vectors"], 10)
    opened = outcome["index"].search(outcome["queries"], 10)
    for scores, ids in ((outcome["scores"], outcome["ids"]), opened):
        assert scores.tobytes() == expected[0].tobytes()
        assert np.array_equal(ids, expected[1])


@pytest.mark.parametrize("outcome", ["In place of `faiss.IndexFlatIP`"], indirect=True)
def test_what_the_page_says_of_faiss(outcome):
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed (make bench)")
    index = faiss.IndexFlatIP(128)
    index.add(outcome["vectors"])
    scores, ids = index.search(outcome["queries"], 10)
    assert np.array_equal(ids, outcome["ids"])
    assert np.allclose(scores, outcome["scores"], rtol=1e-5)
    few = faiss.IndexFlatIP(128)
    few.add(outcome["vectors"][:3])
    scores, ids = few.search(outcome["queries"], 4)
    assert (ids[:, 3] == -1).all()
    assert (scores[:, 3] == np.finfo(np.float32).min).all()
    few.add(np.full((1, 128), np.nan, np.float32))
    assert few.ntotal == 4


@pytest.mark.parametrize("outcome", ["Re-ranking a ColBERT's candidates"], indirect=True)
def test_reranking_a_colberts_candidates(outcome):
    scores, ids = maxsim(outcome["query_tokens"], outcome["tokens"], outcome["offsets"], 500)
    for query, candidates in enumerate(outcome["candidates"]):
        allowed = np.isin(ids[query], candidates)
        assert outcome["ids"][query].tolist() == ids[query][allowed][:10].tolist()
        assert outcome["scores"][query].tobytes() == scores[query][allowed][:10].tobytes()


@pytest.mark.parametrize("outcome", ["Mining hard negatives"], indirect=True)
def test_mining_hard_negatives(outcome):
    _, ids = topk_reference(outcome["questions"], outcome["passages"], 20)
    for question, gold in enumerate(outcome["gold"]):
        others = ~np.isin(ids[question], gold)
        assert (~others).sum() == len(gold), "left in, the gold passages would be among the best"
        assert list(outcome["negatives"][question]) == ids[question][others][:8].tolist()
