"""One encoder for queries and passages, or one each: who gets gradient, what stays bit-frozen, what is written."""

from __future__ import annotations

import pytest
import torch
from tiny_encoders import QUERIES, TEXTS

from jmlr.models.retriever import TwoEncoders, load_retriever
from jmlr.runtime import meter
from jmlr.runtime.errors import UserError

EVERY = torch.arange(len(TEXTS)).expand(len(QUERIES), -1)
FOLDERS = ["encoder_folder", "pylate_folder"]


def scores(retriever):
    return retriever.scores(retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS), EVERY)


def step(retriever):
    """Make one optimiser step on a loss that depends on every score."""
    trainable = [p for p in retriever.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=1e-2)
    scores(retriever).softmax(1)[:, 0].sum().backward()
    optimiser.step()


def copies(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def moved(before, module):
    return any(not torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("folder", FOLDERS)
def test_two_encoders_begin_with_the_scores_of_the_one(folder, request):
    path = str(request.getfixturevalue(folder))
    expected = scores(load_retriever(path, encoders="shared").eval())
    for encoders in ("separate", "query_only"):
        assert torch.equal(scores(load_retriever(path, encoders=encoders).eval()), expected)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("encoders", ["separate", "query_only"])
def test_training_moves_the_query_encoder_and_the_passage_encoder_only_where_asked(folder, encoders, request, tmp_path):
    two = load_retriever(str(request.getfixturevalue(folder)), encoders=encoders).eval()
    assert isinstance(two, TwoEncoders)
    query, passage = copies(two.query), copies(two.passage)
    step(two)
    assert moved(query, two.query)
    assert moved(passage, two.passage) == (encoders == "separate")
    two.save(tmp_path / "out")
    again = load_retriever(str(tmp_path / "out")).eval()
    assert torch.equal(scores(again), scores(two))
    halves = [load_retriever(str(tmp_path / f"out/{k}")).eval() for k in ("query", "passage")]
    assert not moved(copies(two.query), halves[0])
    assert not moved(copies(two.passage), halves[1])
    next_round = load_retriever(str(tmp_path / "out"), encoders=encoders)
    assert any(p.requires_grad for p in next_round.passage.parameters()) == (encoders == "separate")


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_each_of_two_encoders_computes_is_counted_as_its_own(folder, request):
    """Where only the queries' encoder is trained, its gradient counts, whatever the passages' encoder does."""
    path, rows = str(request.getfixturevalue(folder)), [[2, 5, 6, 3]]
    found = {}
    for encoders in ("shared", "query_only"):
        meter.reset()
        two = load_retriever(path, encoders=encoders)
        with torch.no_grad():
            two.encode(rows, "passage")
        two.encode(rows, "query").sum().backward()
        found[encoders] = meter.counts()["retriever"]
    assert found["query_only"] == found["shared"]
    assert found["shared"]["trained"] == found["shared"]["parameters"] > 0


def test_two_encoders_are_not_silently_made_one(encoder_folder, tmp_path):
    load_retriever(str(encoder_folder), encoders="separate").save(tmp_path / "two")
    with pytest.raises(UserError, match=r"has two encoders.*separate or query_only"):
        load_retriever(str(tmp_path / "two"), encoders="shared")


def test_encoders_of_two_kinds_or_depths_are_refused(encoder_folder, pylate_folder, tmp_path):
    dense, late = load_retriever(str(encoder_folder)), load_retriever(str(pylate_folder))
    with pytest.raises(UserError, match="of two kinds"):
        TwoEncoders(dense, late)
    dense.encoder.config.hidden_size = 31
    with pytest.raises(UserError, match=r"depth 31.*32"):
        TwoEncoders(dense, load_retriever(str(encoder_folder)))
