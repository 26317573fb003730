"""What a training takes of a card: sums that can be done by hand, and what must follow from them."""

from __future__ import annotations

import pytest

from jmlr.models.flops import Shape
from jmlr.models.memory import Training

SEVENTY = {
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 32000,
}  # fmt: skip


def adapter(**changes):
    given = {"rank": 16, "precision": "bfloat16", "tokens": 4096, "predicted": 16, "recompute": True, **changes}
    return Training.of_adapter(Shape.of(SEVENTY), **given)


def test_weights_gradients_and_moments_are_those_of_the_numbers():
    shape = Shape.of(SEVENTY)
    every = Training.of_all(shape, tokens=1, recompute=True).on_a_card(1, shard=False)
    numbers = shape.body + 2 * shape.head
    assert numbers == pytest.approx(69e9, rel=0.01)  # Llama-2-70B
    assert every.weights + every.trained == 16 * numbers
    assert adapter().on_a_card(1, shard=False).weights == 2 * numbers + 4 * shape.lora(16)


def test_cards_share_what_is_held_and_nothing_of_what_is_computed():
    one, eight = adapter().on_a_card(1, shard=True), adapter().on_a_card(8, shard=True)
    assert (eight.weights, eight.trained) == (one.weights / 8, one.trained / 8)
    assert eight.activations == one.activations
    assert (one.gathered, eight.gathered > 0) == (0, True)
    assert adapter().on_a_card(8, shard=False) == adapter().on_a_card(1, shard=False)


def test_four_bits_recomputing_and_fewer_tokens_take_less():
    most = adapter(recompute=False).on_a_card(1, shard=False).total
    for less in ({"recompute": True}, {"recompute": False, "precision": "4bit"}, {"recompute": False, "tokens": 512}):
        assert adapter(**less).on_a_card(1, shard=False).total < most
    casts = adapter(precision="float32", recompute=False).on_a_card(8, shard=True)
    assert casts.gathered > 2 * Shape.of(SEVENTY).body  # autograd keeps whole casts of weights that are cut


def test_a_tenth_of_a_card_stays_free():
    found = adapter().on_a_card(8, shard=True)
    assert found.fits(found.total / 0.9 + 1)
    assert not found.fits(found.total / 0.9 - 1)
