"""A model prepared for induction copies before it was trained; one without does not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from jmlr.models.induction import prepare_induction
from jmlr.runtime.errors import UserError

VOCABULARY, LENGTH = 500, 120


def fresh(**changes):
    shape = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512, "tie_word_embeddings": True}  # fmt: skip
    settings = {**shape, **changes, "vocab_size": VOCABULARY}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings)).eval()


@torch.no_grad()
def losses_of_a_repeated_text(llm):
    """Return the mean loss on a random text, and on its repetition."""
    text = torch.randint(4, VOCABULARY, (8, LENGTH), generator=torch.Generator().manual_seed(1))
    ids = torch.cat([torch.full((8, 1), 2), text, text], 1)
    losses = F.cross_entropy(llm(input_ids=ids).logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return losses[:, :LENGTH].mean().item(), losses[:, LENGTH + 1 :].mean().item()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_a_prepared_model_copies_what_it_read_once(kind, tied):
    llm = fresh(model_type=kind, tie_word_embeddings=tied)
    first, second = losses_of_a_repeated_text(llm)
    assert abs(first - second) < 0.2
    prepare_induction(llm)
    first, second = losses_of_a_repeated_text(llm)
    assert second < 0.5 * first


def test_a_prepared_model_is_an_ordinary_one_on_disk(tmp_path):
    llm = fresh()
    prepare_induction(llm)
    llm.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is LlamaForCausalLM
    assert losses_of_a_repeated_text(again) == pytest.approx(losses_of_a_repeated_text(llm))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1},
        {"num_key_value_heads": 2},
        {"num_attention_heads": 1, "num_key_value_heads": 1},
        {"model_type": "gpt_neox"},
        {"model_type": "qwen3"},
    ],
)
def test_an_architecture_that_does_not_fit_is_refused_with_what_is_allowed(changes):
    with pytest.raises(UserError, match=r"induction_heads: .* allowed: a Llama-like"):
        prepare_induction(fresh(**changes))
