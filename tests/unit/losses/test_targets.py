"""Every file of `src/jmlr/losses/` is a retriever target that can be chosen, documented, and checked against its slow twin."""

from __future__ import annotations

import inspect

import pytest
import torch

from jmlr import losses
from jmlr.options import TrainOptions
from jmlr.runtime.variants import listed

TARGETS = listed("losses")


def loss_of(name):
    return getattr(losses.target(name), name)


def test_there_are_targets_and_train_offers_each_of_them():
    assert {"emdr2", "llm_rank", "pdist"} <= set(TARGETS)
    choices = TrainOptions.model_json_schema()["properties"]["target"]["enum"]
    assert choices == ["frozen", *TARGETS]


def test_a_name_that_no_file_has_is_an_error():
    with pytest.raises(ValueError, match=f"target 'kl' trains no retriever; allowed: {', '.join(TARGETS)}"):
        losses.target("kl")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_what_the_folder_asks_for(name):
    file = losses.target(name)
    assert isinstance(file.SCALED, bool), f"losses/{name}.py: SCALED = True or False says which scores it takes"
    assert list(inspect.signature(loss_of(name)).parameters)[:3] == ["scores", "losses", "mask"]
    twin = inspect.signature(file.reference).parameters.values()
    own = [p.name for p in twin if p.kind is p.KEYWORD_ONLY]
    assert own == losses.options_of(name), f"losses/{name}.py: the loss and its reference take the same options"


def test_each_option_of_a_target_is_one_of_train_whose_help_begins_with_the_targets_that_take_it():
    takers: dict[str, list[str]] = {}
    for name in TARGETS:
        for option in losses.options_of(name):
            takers.setdefault(option, []).append(name)
    assert {"target_temperature", "score_temperature"} <= set(takers)
    for option, names in takers.items():
        assert option in TrainOptions.model_fields, f"options/train.py: add '{option}' of losses/{names[0]}.py"
        text = TrainOptions.model_fields[option].description
        assert text.startswith(f"{', '.join(names)}: "), f"options/train.py: {option} is an option of {names}"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_equals_its_slow_twin_in_value_and_gradient_with_ties_and_masked_places(name):
    g = torch.Generator().manual_seed(3)
    scores = (2 * torch.rand(4, 6, generator=g, dtype=torch.float64) - 1).requires_grad_()
    losses_ = 3 * torch.rand(4, 6, generator=g, dtype=torch.float64)
    losses_[1, 2] = losses_[1, 4]  # a tie
    counts = [6, 5, 2, 6]
    mask = torch.arange(6) < torch.tensor(counts)[:, None]
    defaults = TrainOptions()
    own = {k: getattr(defaults, k) for k in losses.options_of(name)}
    value = loss_of(name)(scores, losses_, mask, **own)
    [gradient] = torch.autograd.grad(value, scores)
    ones = [losses.target(name).reference(list(s[:n]), x[:n].tolist(), **own)
            for s, x, n in zip(scores, losses_, counts, strict=True)]  # fmt: skip
    twin = torch.stack(ones).sum() / 4
    [expected] = torch.autograd.grad(twin, scores)
    assert value.item() == pytest.approx(twin.item(), rel=1e-12)
    assert torch.allclose(gradient, expected, rtol=1e-9, atol=1e-12)
    assert gradient.abs().max() > 1e-3
    assert torch.all(gradient[~mask] == 0)
