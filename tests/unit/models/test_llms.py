"""Causal language models of several families pass a joint step, answer, are saved and come back; precisions; vocabularies."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from jmlr.corpus.prompt import Prompter
from jmlr.inference.likelihood import score_options
from jmlr.models.adapter import fuse_lora
from jmlr.models.forward import answer_losses
from jmlr.models.fresh import train_tokenizer
from jmlr.models.llm import load_adapter, load_llm, merge_adapter, save_adapter
from jmlr.runtime import devices
from jmlr.runtime.errors import UserError
from jmlr.training.reference import reference_step
from jmlr.training.step import joint_step
from toys import open_session, toy_reading, toy_training

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}
FAMILIES = {
    "llama": GROUPED,
    "qwen2": {**GROUPED, "tie_word_embeddings": True},
    "qwen3": {**GROUPED, "head_dim": 8},
    "mistral": {**GROUPED, "sliding_window": None, "head_dim": 8},
    "gpt_neox": SMALL,
    # These change what the head gives: by a cap, a factor, a divisor.
    "gemma2": {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 0.3},
    "cohere": {**GROUPED, "logit_scale": 0.25},
    "granite": {**GROUPED, "logits_scaling": 4.0},
}
# The paper's: every projection and the head get an adapter, embeddings and norms are trained in full.
PAPER = {
    "lora_rank": 128, "lora_alpha": 256, "lora_dropout": 0.05,
    "lora_targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"],
    "train_modules": ["embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"],
}  # fmt: skip
READING = toy_reading()


def made(folder, tiny, family, padding=24, **settings):
    """Make a model whose tokenizer has no padding and no begin-of-text token, and whose embedding has rows to spare."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = train_tokenizer(pq.read_table(tiny / "prepare/passages.parquet")["text"].to_pylist(), 500)
    tokenizer.pad_token = tokenizer.bos_token = None
    torch.manual_seed(0)
    settings = {**FAMILIES[family], **settings, "vocab_size": len(tokenizer) + padding}
    config = AutoConfig.for_model(
        family, **settings, pad_token_id=None, bos_token_id=None, eos_token_id=tokenizer.eos_token_id
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def candidates(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    count = len(pq.read_table(tiny / "prepare/passages.parquet"))
    ids = pq.read_table(tiny / "prepare/questions.parquet")["id"].to_pylist()
    rows = [sorted({(n * 5 + k * 3) % count for k in range(6)}) for n in range(len(ids))]
    table = {
        "question_id": ids,
        "passages": pa.array(rows, pa.list_(pa.int32())),
        "scores": [[0.0] * len(r) for r in rows],
    }
    pq.write_table(pa.table(table), folder / "candidates.parquet")
    (folder / "manifest.json").write_text(json.dumps({"outputs": {}}))
    return folder


def opened(tiny, candidates, llm, precision="float32", **changes):
    options = toy_training(target="llm_rank", samples=4, sampling_temperature=0.2, **changes)
    reading = READING.model_copy(update={"llm_precision": precision})
    return open_session(tiny, candidates, llm=llm, options=options, reading=reading)


def joint(session, step=joint_step, questions=2):
    settings = session.step_settings
    return step(session.llm, session.retriever, session.passages, session.questions[:questions], settings, 0, 0, True)


def option_scores(llm, tokenizer, tiny):
    prompter = Prompter(tokenizer, **READING.model_dump(exclude={"llm_precision"}))
    records = [r for r in pq.read_table(tiny / "prepare/questions.parquet").to_pylist() if r["options"]][:3]
    return score_options(llm.eval(), prompter, records, [[] for _ in records], room=16, mean=False)


def assert_merged_equals(merged, expected, tokenizer, tiny, folder):
    """Save a merged model, load it with transformers, and compare its scores of options."""
    from transformers import AutoModelForCausalLM

    merged.save_pretrained(folder)
    assert not (folder / "adapter_config.json").exists()
    for ours, theirs in zip(
        option_scores(AutoModelForCausalLM.from_pretrained(folder), tokenizer, tiny), expected, strict=True
    ):
        assert ours == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_passes_the_joint_step_answers_and_comes_back_from_its_adapter_and_merged(
    tiny, candidates, tmp_path, family
):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, family))
    fast, slow = joint(session), joint(session, reference_step)
    assert fast.loss_lm.item() == pytest.approx(slow.loss_lm.item(), rel=1e-4)
    assert fast.loss_rank.item() == pytest.approx(slow.loss_rank.item(), rel=1e-3)
    (fast.loss_lm + fast.loss_rank).backward()
    session.optimiser.step()
    save_adapter(session.llm, tmp_path / "adapter")

    llm, tokenizer = load_llm(str(tmp_path / "llm"))
    rows = llm.get_input_embeddings().num_embeddings
    assert rows == len(tokenizer) + 24  # a padded vocabulary stays as it is
    adapted = load_adapter(llm, tmp_path / "adapter", trainable=False)
    expected = option_scores(adapted, tokenizer, tiny)
    assert all(len(s) > 1 and len(set(s)) > 1 for s in expected)
    fuse_lora(adapted)  # training adds in this order
    assert option_scores(adapted, tokenizer, tiny) == option_scores(session.llm, tokenizer, tiny)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "llm"), tmp_path / "adapter")
    assert option_scores(plain, tokenizer, tiny) == expected

    assert_merged_equals(merge_adapter(plain), expected, tokenizer, tiny, tmp_path / "merged")


@pytest.mark.parametrize("tied", [False, True])
def test_the_paper_s_adapter_trains_what_it_says_and_comes_back(tiny, candidates, tmp_path, tied):
    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, "llama", tie_word_embeddings=tied), **PAPER)
    names = {n for n, p in session.llm.named_parameters() if p.requires_grad}
    for part in PAPER["lora_targets"]:
        assert any(f"{part}.lora_B" in n for n in names), part
    for part in PAPER["train_modules"]:
        assert any(f".{part}.modules_to_save" in n for n in names), part
    assert not any("base_layer" in n for n in names)
    joint(session).loss_lm.backward()
    session.optimiser.step()
    save_adapter(session.llm, tmp_path / "adapter")
    llm, tokenizer = load_llm(str(tmp_path / "llm"))
    adapted = load_adapter(llm, tmp_path / "adapter", trainable=False)
    expected = option_scores(adapted, tokenizer, tiny)
    fuse_lora(adapted)
    assert option_scores(adapted, tokenizer, tiny) == option_scores(session.llm, tokenizer, tiny)
    assert_merged_equals(merge_adapter(adapted), expected, tokenizer, tiny, tmp_path / "merged")


def test_weights_that_stay_shared_are_merged_and_saved_once(tiny, candidates, tmp_path):
    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, "llama", tie_word_embeddings=True))
    merged = merge_adapter(session.llm)
    assert merged.config.tie_word_embeddings
    merged.save_pretrained(tmp_path / "merged")
    assert "lm_head.weight" not in load_file(tmp_path / "merged/model.safetensors")


def test_bfloat16_holds_the_model_s_weights_and_trains_the_adapter_in_float32(tiny, candidates, tmp_path):
    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, "llama"), "bfloat16")
    kinds = {p.requires_grad: p.dtype for p in session.llm.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    full = opened(tiny, candidates, tmp_path / "llm")
    half, whole = joint(session), joint(full)
    assert half.loss_lm.dtype == torch.float32
    assert half.loss_lm.item() == pytest.approx(whole.loss_lm.item(), rel=0.02)
    half.loss_lm.backward()
    session.optimiser.step()
    assert torch.isfinite(joint(session).loss_lm)


def test_modules_trained_in_full_move_at_the_paper_s_rate_though_the_model_is_held_in_bfloat16(
    tiny, candidates, tmp_path, monkeypatch
):
    monkeypatch.setattr(devices, "has_bf16", lambda where: True)
    folder = made(tmp_path / "llm", tiny, "llama")
    settings = {**PAPER, "train_precision": "bfloat16", "llm_learning_rate": 2e-5, "lora_dropout": 0.0}
    session = opened(tiny, candidates, folder, "bfloat16", **settings)
    trained = {n: p for n, p in session.llm.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}
    norm = trained["base_model.model.model.norm.modules_to_save.default.weight"]
    before = norm.detach().clone()
    joint(session).loss_lm.backward()
    session.optimiser.step()
    assert (norm != before).float().mean() > 0.9
    save_adapter(session.llm, tmp_path / "adapter")
    again = load_adapter(load_llm(str(folder), precision="bfloat16")[0], tmp_path / "adapter", trainable=True)
    assert torch.equal(again.get_parameter("base_model.model.model.norm.modules_to_save.default.weight"), norm)
    with pytest.raises(UserError, match="train_modules with llm_precision bfloat16 need train_precision bfloat16"):
        opened(tiny, candidates, folder, "bfloat16", **{**settings, "train_precision": "float32"})


def test_a_model_that_makes_its_logits_in_an_unknown_way_is_refused(tiny, tmp_path, monkeypatch):
    from transformers import GraniteForCausalLM

    folder = made(tmp_path / "llm", tiny, "granite")
    plain = GraniteForCausalLM.forward

    def forward(self, **given):
        out = plain(self, **given)
        out.logits = out.logits * 3
        return out

    monkeypatch.setattr(GraniteForCausalLM, "forward", forward)
    with pytest.raises(UserError, match="models of the kind 'granite' change what their head gives"):
        load_llm(str(folder))


def test_a_tokenizer_that_loses_words_is_refused(tiny, tmp_path):
    from transformers import AutoTokenizer

    folder = made(tmp_path / "llm", tiny, "qwen2")
    words = AutoTokenizer.from_pretrained(tiny / "llm")  # of whole words; transformers reads it as Qwen's byte pairs
    words.save_pretrained(folder)
    with pytest.raises(UserError, match="it loses words; transformers loads it as Qwen2Tokenizer"):
        load_llm(str(folder))


def test_a_tokenizer_larger_than_the_embedding_is_refused_with_both_sizes(tiny, tmp_path):
    folder = made(tmp_path / "llm", tiny, "llama", padding=-5)
    with pytest.raises(UserError, match=r"token numbers up to (\d+), its embedding (\d+) rows") as error:
        load_llm(str(folder))
    assert "\n" not in str(error.value)


def test_an_adapter_s_folder_holds_no_copy_of_the_base_model(tiny, candidates, tmp_path):
    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, "llama"), lora_targets=["q_proj", "lm_head"])
    save_adapter(session.llm, tmp_path / "adapter")
    names = set(load_file(tmp_path / "adapter/adapter_model.safetensors"))
    assert names
    assert all(".lora_" in n for n in names)


def test_four_bits_without_bitsandbytes_say_what_to_install(tiny, tmp_path, monkeypatch):
    import transformers.utils

    monkeypatch.setattr(transformers.utils, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(UserError, match=r"4bit needs bitsandbytes.*pip install -e .\.\[qlora\]"):
        load_llm(str(made(tmp_path / "llm", tiny, "llama")), precision="4bit")


def test_four_bits_give_the_gradient_of_the_same_model_dequantised_after_judging_too(tiny, candidates, tmp_path):
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    session = opened(tiny, candidates, made(tmp_path / "llm", tiny, "llama"), "4bit")

    def gradients():
        session.llm.zero_grad()
        joint(session)
        joint(session).loss_lm.backward()
        return {n: p.grad.clone() for n, p in session.llm.named_parameters() if p.grad is not None}

    small = gradients()
    base = session.llm.get_base_model()
    for name, module in list(base.named_modules()):
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            weight = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
            plain = torch.nn.Linear(*weight.shape[::-1], bias=False)
            plain.weight = torch.nn.Parameter(weight, requires_grad=False)
            parent, _, own = name.rpartition(".")
            setattr(base.get_submodule(parent), own, plain)
    whole = gradients()
    assert len(small) == len(whole) > 20
    for name, expected in whole.items():
        assert (small[name] - expected).norm() <= 0.05 * expected.norm() + 1e-7, name


def test_four_bits_train_an_adapter_and_answer(tiny, candidates, tmp_path):
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    folder = made(tmp_path / "llm", tiny, "llama")
    session = opened(tiny, candidates, folder, "4bit")
    linear = session.llm.get_base_model().model.layers[0].mlp.up_proj.base_layer
    assert isinstance(linear, bitsandbytes.nn.Linear4bit)
    assert linear.weight.dtype == torch.uint8
    before = [linear.weight.clone(), joint(session).loss_lm.item()]
    for _ in range(3):  # each judges passages without gradient first
        session.optimiser.zero_grad()
        joint(session).loss_lm.backward()
        session.optimiser.step()
    assert torch.equal(linear.weight, before[0])
    assert joint(session).loss_lm.item() < before[1]
    save_adapter(session.llm, tmp_path / "adapter")
    llm, tokenizer = load_llm(str(folder), precision="4bit")
    expected = option_scores(session.llm, tokenizer, tiny)
    assert option_scores(load_adapter(llm, tmp_path / "adapter", trainable=False), tokenizer, tiny) == expected
    ids = [[5, 6, 7]]
    assert answer_losses(llm, ids, ids).item() > 0
