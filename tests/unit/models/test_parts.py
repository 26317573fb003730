"""Texts of uneven length in parts with little padding; figures that add up over parts."""

import random

import pytest
import torch

from jmlr.models import parts
from jmlr.models.encoder import batches
from jmlr.models.parts import computed_in_parts, in_parts
from jmlr.models.tensors import filled_up
from jmlr.training.tally import Tally


@pytest.mark.parametrize("most", [1, 100, 1000, 10**9])
def test_every_text_is_in_one_part_within_the_limits(most):
    lengths = [random.Random(0).randint(1, 300) for _ in range(200)]
    found = in_parts(lengths, most)
    assert sorted(i for part in found for i in part) == list(range(200))
    for part in found:
        longest = max(lengths[i] for i in part)
        assert len(part) == 1 or len(part) * longest <= most
        assert sum(longest - lengths[i] for i in part) <= parts.PADDING_TOKENS
    assert max(map(len, found)) > 1 or most <= 300


def test_the_shapes_of_parts_come_again():
    """Each new shape is compiled on a CPU: 400 batches of random lengths have few, and little more to compute than their tokens."""
    draw, shapes, computed, tokens, made = random.Random(0), set(), 0, 0, 0
    for _ in range(400):
        lengths = [draw.randint(60, 150) for _ in range(32)]
        for part in in_parts(lengths, 2048):
            shapes.add((len(part), filled_up(max(lengths[i] for i in part))))
            computed += len(part) * filled_up(max(lengths[i] for i in part))
            made += 1
        tokens += sum(lengths)
    assert len(shapes) < 60 < 1000 < made
    assert computed < 1.25 * tokens


@pytest.mark.parametrize("most", [1, 500, 8192])
def test_batches_hold_every_text_once_and_no_more_tokens_than_allowed_as_they_are_filled_up(most):
    lengths = random.Random(1).choices(range(1, 300), k=500)
    found = list(batches(lengths, most))
    assert sorted(i for batch in found for i in batch) == list(range(500))
    assert all(len(b) == 1 or len(b) * filled_up(max(lengths[i] for i in b)) <= most for b in found)
    assert [i for b in found for i in b] == sorted(range(500), key=lambda i: (-lengths[i], i))


@pytest.mark.parametrize("length", [*range(1, 300), 511, 512, 513, 8191])
def test_a_text_is_filled_up_by_an_eighth_at_most_and_not_beyond_what_the_model_takes(length):
    assert length <= filled_up(length) <= length + max(0, length // 8)
    assert filled_up(length, length) == length
    assert filled_up(length, length - 1) == length
    assert filled_up(length, 0) == length


def test_rows_come_back_in_the_order_of_the_texts():
    lengths = [3, 900, 5, 1, 900, 40]
    rows = computed_in_parts(lambda part: torch.tensor([[float(i)] for i in part]), lengths, 1000, torch.device("cpu"))
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_tally_weighs_every_part_by_its_questions_and_keeps_what_is_not_a_number():
    tally = Tally(torch.device("cpu"))
    tally.add({"loss_lm": (torch.tensor(6.0), 3), "hit": (torch.tensor(1.0), 1)})
    tally.add({"loss_lm": (torch.tensor(2.0), 1), "loss_rank": (torch.tensor(float("nan")), 1)})
    values, asked = tally.read({"llm_gradient_norm": torch.tensor(0.5)}, asked=False)
    assert values["loss_lm"] == 2.0
    assert values["hit"] == 1.0
    assert values["loss_rank"] != values["loss_rank"]
    assert values["llm_gradient_norm"] == 0.5
    assert "passage_loss" not in values
    assert not asked
