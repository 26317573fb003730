import itertools
import math

import pytest
import torch

from jmlr.losses.emdr2 import emdr2
from jmlr.losses.llm_rank import agreement, llm_rank, sample, scale
from jmlr.losses.pdist import pdist


def by_hand(scores, losses):
    """docs/llm_rank.md, step 6, pair by pair."""
    terms = []
    for i, j in itertools.combinations(range(len(scores)), 2):
        if losses[i] == losses[j]:
            continue
        p = 1 / (1 + math.exp(-(scores[i] - scores[j])))
        terms.append(-math.log(p if losses[i] < losses[j] else 1 - p))
    return sum(terms) / len(terms)


def test_llm_rank_equals_the_pairwise_formula():
    g = torch.Generator().manual_seed(0)
    scores, losses = (
        torch.rand(3, 5, generator=g, dtype=torch.float64),
        torch.rand(3, 5, generator=g, dtype=torch.float64),
    )
    losses[0, 1] = losses[0, 3]  # a tie carries no signal
    expected = sum(by_hand(s.tolist(), x.tolist()) for s, x in zip(scores, losses, strict=True)) / 3
    assert llm_rank(scores, losses, torch.ones(3, 5, dtype=torch.bool)).item() == pytest.approx(expected, abs=1e-12)


def test_llm_rank_ignores_masked_places():
    scores, losses = torch.tensor([[0.1, 0.9, 7.0]]), torch.tensor([[1.0, 2.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    assert llm_rank(scores, losses, mask).item() == pytest.approx(by_hand([0.1, 0.9], [1.0, 2.0]), abs=1e-6)


def test_llm_rank_without_a_signal_is_zero_with_zero_gradient():
    scores = torch.rand(2, 4, requires_grad=True)
    loss = llm_rank(scores, torch.ones(2, 4), torch.ones(2, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.all(scores.grad == 0)


def test_scale_spans_minus_one_to_one_and_is_zero_for_equal_scores():
    scores = torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0]], requires_grad=True)
    scaled = scale(scores)
    assert scaled[0].tolist() == [-1.0, -0.5, 1.0]
    assert scaled[1].tolist() == [0.0, 0.0, 0.0]
    scaled.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert torch.all(scores.grad[1] == 0)


def test_sample_without_noise_takes_the_best_and_never_a_masked_place():
    scaled = torch.tensor([[0.1, 0.9, -0.5, 0.4]])
    columns, mask = sample(scaled, 2, 1.0, torch.full((1, 4), 0.5))
    assert columns.tolist() == [[1, 3]]
    columns, mask = sample(scaled, 2, 1.0, torch.full((1, 4), 0.5), torch.tensor([[True, False, True, False]]))
    assert columns.tolist() == [[0, 2]]
    assert mask.all()


def test_sample_draws_with_the_probabilities_of_the_softmax():
    scaled = torch.tensor([[1.0, 0.0, -1.0]]).expand(20000, 3)
    noise = torch.rand(20000, 3, generator=torch.Generator().manual_seed(1))
    columns, _ = sample(scaled, 1, 0.5, noise)
    found = torch.bincount(columns[:, 0], minlength=3) / 20000
    assert torch.allclose(found, (scaled[0] / 0.5).softmax(0), atol=0.015)


def test_agreement_is_one_where_the_retriever_ranks_as_the_llm():
    scores, mask = torch.tensor([[3.0, 2.0, 1.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert agreement(scores, torch.tensor([[0.1, 0.2, 0.3]]), mask).item() == pytest.approx(1)
    assert agreement(scores, torch.tensor([[0.3, 0.2, 0.1]]), mask).item() == pytest.approx(-1)


def test_pdist_is_zero_where_both_distributions_agree_and_emdr2_is_the_marginal_likelihood():
    losses, mask = torch.tensor([[0.5, 1.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert pdist(-losses, losses, mask, target_temperature=1.0, score_temperature=1.0).item() == pytest.approx(
        0, abs=1e-6
    )
    scores = torch.tensor([[1.0, 0.0, 0.5]])
    expected = -math.log(
        sum(p * math.exp(-x) for p, x in zip(scores[0].softmax(0).tolist(), losses[0].tolist(), strict=True))
    )
    assert emdr2(scores, losses, mask, score_temperature=1.0).item() == pytest.approx(expected, abs=1e-6)
