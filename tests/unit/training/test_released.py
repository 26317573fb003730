"""What the released code does otherwise, each an option: schedule, clipping, what of the retriever is trained, dropout, shorter queries."""

import numpy as np
import pytest
import torch
from torch import nn

from jmlr.models.retriever import load_retriever, ready_to_train
from jmlr.options import EncodeOptions
from jmlr.runtime.errors import UserError
from jmlr.stages.encode import encode
from jmlr.topk.vectors import StoredVectors
from jmlr.training.loop import gather_and_clip
from jmlr.training.optimiser import learning_rate_factor
from jmlr.training.reference import reference_step
from jmlr.training.step import joint_step
from toys import open_session, settings_of, toy_retrieval, toy_training


def trained_names(retriever):
    return {name for name, p in retriever.named_parameters() if p.requires_grad}


def gradients_of(retriever):
    return {name: p.grad for name, p in retriever.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("encoders", ["shared", "separate", "query_only"])
def test_embeddings_alone_are_words_positions_types_and_their_norm_and_learn_as_the_twin_says(
    tiny, candidates, encoders
):
    session = open_session(tiny, candidates, retriever_weights="embeddings", retriever_encoders=encoders)
    names = trained_names(session.retriever)
    assert {n.split(".embeddings.")[1].split(".")[0] for n in names} == {
        "word_embeddings",
        "position_embeddings",
        "token_type_embeddings",
        "LayerNorm",
    }
    assert any(n.startswith("passage") for n in names) == (encoders == "separate")
    found = []
    for step in (joint_step, reference_step):
        result = step(
            session.llm.double(), session.retriever.double(), session.passages, session.questions[:2],
            settings_of(session, train_precision="float32"), 0, 0, True,
        )  # fmt: skip
        result.loss_rank.backward()
        found.append(gradients_of(session.retriever))
        session.retriever.zero_grad(set_to_none=True)
    fast, twin = found
    assert set(fast) == set(twin) <= names
    assert all(torch.allclose(fast[n], twin[n], rtol=0, atol=1e-10) for n in fast)
    assert sum(float(g.abs().sum()) for g in fast.values()) > 0


def test_dropout_is_on_in_what_is_trained_alone_and_draws_the_same_for_the_same_seed(tiny, candidates):
    scores = []
    for dropout, seed in ((0.0, 0), (0.3, 0), (0.3, 0), (0.3, 1)):
        session = open_session(tiny, candidates, retriever_dropout=dropout, retriever_encoders="query_only")
        assert session.retriever.query.encoder.training == bool(dropout)
        assert not session.retriever.passage.encoder.training
        torch.manual_seed(seed)
        queries = session.retriever.encode([session.questions[0].query], "query")
        scores.append(session.retriever.encode([session.questions[0].query], "query").detach())
        assert torch.equal(queries, scores[-1]) == (dropout == 0)
    plain, first, again, other = scores
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, other)


def test_what_cannot_be_trained_so_is_one_line(tiny):
    retriever = load_retriever(str(tiny / "retriever"))
    for one in retriever.modules():
        for name, layer in one.named_children():
            if isinstance(layer, nn.Dropout):
                setattr(one, name, nn.Identity())
    with pytest.raises(UserError, match=r"retriever_dropout 0.1: this retriever has no dropout layer"):
        ready_to_train(retriever, "all", 0.1)


def test_gradients_clipped_together_keep_their_ratio_and_have_one_norm():
    parts = {"llm": nn.Linear(3, 3), "retriever": nn.Linear(3, 3)}
    for factor, model in zip((3.0, 4.0), parts.values(), strict=True):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        model.weight.grad[0, 0] = factor
    norms = gather_and_clip(parts, toy_training(llm_clip_norm=1.0, retriever_clip_norm=0.0, clip_together=True))
    assert {k: v.item() for k, v in norms.items()} == {"llm": 3.0, "retriever": 4.0}
    after = [m.weight.grad[0, 0].item() for m in parts.values()]
    assert after == pytest.approx([0.6, 0.8], abs=1e-5)


@pytest.mark.parametrize(("most", "kept"), [((1.0, 0.0), (1.0, 4.0)), ((0.0, 2.0), (3.0, 2.0))])
def test_gradients_clipped_apart_have_a_norm_each(most, kept):
    parts = {"llm": nn.Linear(3, 3), "retriever": nn.Linear(3, 3)}
    for factor, model in zip((3.0, 4.0), parts.values(), strict=True):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        model.weight.grad[0, 0] = factor
    gather_and_clip(parts, toy_training(llm_clip_norm=most[0], retriever_clip_norm=most[1]))
    assert [m.weight.grad[0, 0].item() for m in parts.values()] == pytest.approx(kept, abs=1e-5)


def test_a_schedule_that_ends_at_nothing_is_hugging_faces_linear_one():
    from transformers import get_linear_schedule_with_warmup

    layer = nn.Linear(1, 1)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, 0, 20)
    for step in range(20):
        ours = learning_rate_factor(step, 20, warmup=0, since=step, floor=0.0)
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()


def test_candidates_are_searched_with_shorter_queries_than_training_scores(tiny, tmp_path):
    vectors = {}
    for name, changes in {
        "long": {"retriever_query_tokens": 24},
        "short": {"retriever_query_tokens": 8},
        "apart": {"retriever_query_tokens": 24, "retriever_search_query_tokens": 8},
    }.items():
        retrieval = toy_retrieval(**changes)
        encode(tmp_path / name, tiny / "prepare", str(tiny / "retriever"), "questions", EncodeOptions(), retrieval)
        vectors[name] = np.array(StoredVectors.open(tmp_path / name, "--vectors").vectors)
    assert retrieval.lengths["query_tokens"] == 24
    assert np.array_equal(vectors["apart"], vectors["short"])
    assert not np.array_equal(vectors["apart"], vectors["long"])
