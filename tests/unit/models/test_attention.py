"""Attention of short texts in training: float32 inside, whatever is outside; all else as transformers has it."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from jmlr.models.attention import SHORT, attention
from jmlr.models.fresh import fresh_model
from jmlr.runtime.devices import autocast

LAYER = SimpleNamespace(num_key_value_groups=3, is_causal=True)


def inputs(tokens, dtype, learns=True):
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(2, tokens, heads, 16, generator=generator).transpose(1, 2) for heads in (6, 2, 2)]
    return [x.to(dtype).detach().requires_grad_(learns) for x in made]


def backward(attend, tensors, mask=None):
    out, _ = attend(LAYER, *tensors, mask)
    out.float().square().sum().backward()
    return out, [x.grad.double() for x in tensors]


@pytest.mark.parametrize("masked", ["", "bool", "added"])
def test_gradients_are_those_of_float32_and_come_in_bfloat16(masked):
    mask = torch.ones(2, 1, 40, 40, dtype=torch.bool).tril()
    mask[1, :, :, 30:] = False
    mask[1, :, 30:, 0] = True
    wide = None if not masked else mask if masked == "bool" else torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    half = wide.bfloat16() if masked == "added" else wide
    ours, given = inputs(40, torch.bfloat16), inputs(40, torch.bfloat16)
    exact = [x.detach().double().requires_grad_() for x in given]
    out, found = backward(attention, ours, half)
    _, expected = backward(sdpa_attention_forward, exact, wide.double() if masked == "added" else wide)
    _, theirs = backward(sdpa_attention_forward, given, half)
    assert out.dtype == ours[0].grad.dtype == torch.bfloat16
    for mine, other, true in zip(found, theirs, expected, strict=True):
        assert (mine - true).norm() <= min(0.01 * true.norm(), 1.1 * (other - true).norm())


@pytest.mark.parametrize(("tokens", "dtype", "learns"), [
    (SHORT + 1, torch.bfloat16, True), (40, torch.bfloat16, False), (40, torch.float32, True), (40, torch.float64, True),
])  # fmt: skip
def test_all_else_is_left_as_it_is(tokens, dtype, learns):
    tensors = inputs(tokens, dtype, learns)
    ours, _ = attention(LAYER, *tensors, None)
    theirs, _ = sdpa_attention_forward(LAYER, *tensors, None)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("causal", [True, False])
def test_models_attend_by_it_under_autocast(causal, monkeypatch):
    seen = []
    kept = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, *rest, **named: (seen.append(q.dtype), kept(q, *rest, **named))[1],
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = type(
        "Tokens", (), {"__len__": lambda self: 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    )
    model = fresh_model({"model_type": "llama" if causal else "bert", **sizes}, tokenizer(), 0.1, causal=causal)
    monkeypatch.setattr("jmlr.runtime.devices.has_bf16", lambda where: True)
    with autocast(torch.device("cpu"), "bfloat16"):
        out = model(input_ids=torch.tensor([[1, 5, 6]]))[0]
        assert out.dtype == torch.bfloat16 or not causal
        with torch.no_grad():
            model(input_ids=torch.tensor([[1, 5, 6]]))
    assert seen[0] == torch.float32
    out.float().sum().backward()
