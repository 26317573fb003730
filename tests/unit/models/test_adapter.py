"""The fused LoRA layer computes what peft's does, in value and in every gradient."""

import pytest
import torch

from jmlr.models.adapter import fuse_for_answering, fuse_lora
from jmlr.models.llm import add_adapter


def made(dropout=0.0, dtype=torch.float64, kind="llama"):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        kind, vocab_size=50, **sizes, **({"num_key_value_heads": 1} if kind != "gpt_neox" else {})
    )
    llm = add_adapter(
        AutoModelForCausalLM.from_config(config).to(dtype),
        rank=4,
        alpha=8,
        dropout=dropout,
        targets=["all-linear"],
        modules=[],
    )
    for name, p in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.3)
    return llm


IDS = torch.randint(0, 50, (3, 40), generator=torch.Generator().manual_seed(1))


def values_and_gradients(llm, train=True):
    torch.manual_seed(2)
    llm.train(train)
    logits = llm(input_ids=IDS).logits
    logits.square().mean().backward()
    return logits.detach(), [p.grad for p in llm.parameters() if p.requires_grad]


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "qwen2"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_values_and_gradients_equal_those_of_peft(kind, dropout):
    plain, fast = made(dropout, kind=kind), made(dropout, kind=kind)
    assert fuse_lora(fast) >= 8
    (v, g), (w, h) = values_and_gradients(plain), values_and_gradients(fast)
    assert torch.allclose(v, w, rtol=0, atol=1e-12)
    assert len(g) == len(h) > 10
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(g, h, strict=True))


@pytest.mark.parametrize("length", [1, 40])
def test_values_without_gradient_equal_those_of_peft(length):
    plain, fast = made().eval(), made().eval()
    fuse_lora(fast)
    with torch.no_grad():
        a, b = (m(input_ids=IDS[:, :length]).logits for m in (plain, fast))
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
        with plain.disable_adapter(), fast.disable_adapter():
            c, d = (m(input_ids=IDS[:, :length]).logits for m in (plain, fast))
    assert torch.equal(c, d)
    assert not torch.allclose(a, c)


def test_a_base_model_in_bfloat16_with_an_adapter_in_float32_is_left_to_peft():
    plain, fast = made(dtype=torch.bfloat16), made(dtype=torch.bfloat16)
    fuse_lora(fast)
    with torch.no_grad():
        assert torch.equal(plain(input_ids=IDS).logits, fast(input_ids=IDS).logits)


def test_a_base_model_in_bfloat16_computed_in_bfloat16_is_at_least_as_near_to_the_truth_as_peft():
    exact, plain, fast = made(dtype=torch.float32), made(dtype=torch.bfloat16), made(dtype=torch.bfloat16)
    exact.load_state_dict({k: v.float() for k, v in plain.state_dict().items()})
    fuse_lora(fast)
    v, g = values_and_gradients(exact)
    with torch.autocast("cpu", torch.bfloat16):
        (w, h), (x, i) = values_and_gradients(plain), values_and_gradients(fast)
    assert x.dtype == w.dtype
    assert (x - v).norm() <= 1.02 * (w - v).norm() < 0.05 * v.norm()
    far = [torch.stack([(a - b).norm() for a, b in zip(g, one, strict=True)]).norm() for one in (h, i)]
    assert far[1] <= 1.1 * far[0]


@torch.no_grad()
def test_an_answering_model_in_bfloat16_keeps_all_of_a_small_adapter_and_widens_no_input_for_it():
    exact, plain, fast = made(dtype=torch.float32), made(dtype=torch.bfloat16), made(dtype=torch.bfloat16)
    for name, p in plain.named_parameters():
        p.mul_(0.003 if "lora_B" in name else 1.0)  # so small that W + B A in bfloat16 is W
    exact.load_state_dict({k: v.float() for k, v in plain.state_dict().items()})
    fast.load_state_dict(plain.state_dict())
    fuse_for_answering(fast.eval())
    assert {p.dtype for p in fast.parameters()} == {torch.bfloat16}
    layer = fast.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(3)).bfloat16()
    without, with_adapter = layer.get_base_layer()(x).double(), layer(x).double()
    a, b = layer.lora_A["default"].weight.double(), layer.lora_B["default"].weight.double()
    effect = layer.scaling["default"] * x.double() @ a.T @ b.T
    moved = with_adapter - without
    assert (moved * effect).sum() / effect.square().sum() == pytest.approx(1.0, abs=0.2)  # on the whole it is there
    truth = exact.eval()(input_ids=IDS).logits
    error, peft = ((m.eval()(input_ids=IDS).logits - truth).norm() for m in (fast, plain))
    assert error <= 1.1 * peft


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 40])
def test_an_answering_model_in_float32_answers_as_peft_does(length):
    plain, fast = made(dtype=torch.float32).eval(), made(dtype=torch.float32).eval()
    fuse_for_answering(fast)
    a, b = (m(input_ids=IDS[:, :length]).logits for m in (plain, fast))
    assert torch.allclose(a, b, rtol=0, atol=1e-5)
