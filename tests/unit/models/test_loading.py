"""What is refused or repaired when a language model is loaded: its kind, its context, its padding row, its file's form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tokenizers import TEXT, tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from jmlr.corpus.prompt import frame
from jmlr.inference.answering import replies
from jmlr.models.card import write_card
from jmlr.models.forward import answer_losses
from jmlr.models.llm import add_adapter, load_llm, save_adapter
from jmlr.models.prefix import write
from jmlr.options import AnswerOptions, PretrainOptions
from jmlr.runtime import meter
from jmlr.runtime.errors import UserError
from jmlr.stages.answer import answer
from jmlr.stages.pretrain import pretrain
from toys import toy_reading

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
STATES = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}


def saved(folder: Path, kind: str = "llama", **settings) -> Path:
    """Save a small model of a kind with a byte-level tokenizer whose end token pads, too."""
    tokenizer = tokenizer_of("gpt-2")
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(settings or SIZES), **ids, bos_token_id=2))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


REFUSED = {
    "mamba": STATES, "falcon_mamba": STATES, "mamba2": {**STATES, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    "openai-gpt": OLD, "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}, "bert": {**SIZES, "is_decoder": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_that_would_fail_or_go_wrong_later_is_refused_when_it_is_loaded(tmp_path, kind):
    with pytest.raises(UserError, match=f"models of the kind '{kind}' .*take one of another kind") as error:
        load_llm(str(saved(tmp_path, kind, **REFUSED[kind])))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("gpt2", OLD), ("opt", {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32}), ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
     ("biogpt", SIZES), ("phi3", SIZES), ("mixtral", {**SIZES, "num_key_value_heads": 4, "num_local_experts": 2, "num_experts_per_tok": 1})],
)  # fmt: skip
def test_other_kinds_are_loaded(tmp_path, kind, settings):
    llm, _ = load_llm(str(saved(tmp_path, kind, **settings)))
    assert llm.config.model_type == kind


# What a generation_config.json may hold; each changed the answers, or ended in a traceback, while others were overridden.
OWN = {
    "min_new_tokens": 8, "suppress_tokens": "first", "begin_suppress_tokens": "first", "bad_words_ids": "firsts",
    "sequence_bias": "bias", "max_time": 1e-9, "forced_eos_token_id": 6, "encoder_repetition_penalty": 3.0,
    "exponential_decay_length_penalty": (1, 5.0), "guidance_scale": 3.0, "watermarking_config": {"bias": 9.0},
    "penalty_alpha": 0.6, "num_return_sequences": 2, "constraints": [1], "force_words_ids": [[5]], "stop_strings": ["a"],
    "dola_layers": "high", "prompt_lookup_num_tokens": 3, "return_dict_in_generate": True, "token_healing": True,
    "assistant_early_exit": 1, "compile_config": {}, "do_sample": True, "num_beams": 3, "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1, "max_length": 5, "min_length": 9, "renormalize_logits": True, "diversity_penalty": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return load_llm(str(saved(tmp_path_factory.mktemp("llm"))))


@pytest.mark.parametrize("name", OWN)
def test_no_setting_of_a_model_s_own_generation_applies(small, name):
    llm, tokenizer = small
    prompts = [[2, 7, 8, 9], [2, 5]]
    llm.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    before = write(llm, tokenizer, prompts, 8)
    first = int(llm(input_ids=torch.tensor([prompts[0]])).logits[0, -1].argmax())
    made = {"first": [first], "firsts": [[first]], "bias": [[[first], -50.0]]}
    own = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    setattr(own, name, made.get(OWN[name], OWN[name]) if isinstance(OWN[name], str) else OWN[name])
    llm.generation_config = own
    assert write(llm, tokenizer, prompts, 8) == before
    assert llm.generation_config is own  # it is exported as it came


def test_the_end_token_s_embedding_learns_though_it_pads_too(tmp_path):
    llm, tokenizer = load_llm(str(saved(tmp_path)))
    adapted = add_adapter(llm, rank=2, alpha=2, dropout=0.0, targets=["q_proj"], modules=["embed_tokens"])
    end = tokenizer.eos_token_id
    answer_losses(adapted, [[2, 7, end, 9]], [[8, end]]).sum().backward()
    assert adapted.get_input_embeddings().weight.grad[end].abs().sum() > 0


def test_texts_beyond_a_model_s_positions_are_refused_before_anything_is_read(tiny, tmp_path):
    for kind, settings in (("gpt2", OLD), ("llama", SIZES)):
        folder = saved(tmp_path / kind, kind, **settings)
        said = f"llm_tokens 512 is more than the context of '{folder}': 64 tokens"
        with pytest.raises(UserError, match=said):
            answer(tmp_path / "out", tiny / "prepare", AnswerOptions(), toy_reading(), llm=str(folder))
        with pytest.raises(UserError, match="max_tokens 512 is more than the context"):
            pretrain(tmp_path / "out", tiny / "prepare", 0, PretrainOptions(init=str(folder), steps=1))
        llm, tokenizer = load_llm(str(folder))
        with pytest.raises(UserError, match="this model reads at most 64"):
            replies(llm, tokenizer, ["a " * 60], 8, 1, False, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_fresh_model_with_too_few_positions_is_refused(tiny, tmp_path):
    options = PretrainOptions(architecture={"model_type": "llama", **SIZES}, vocab_size=300, steps=1)
    with pytest.raises(UserError, match="max_tokens 512 is more than the context of 'architecture': 64 tokens"):
        pretrain(tmp_path / "out", tiny / "prepare", 0, options)


def test_an_adapter_s_folder_is_no_model(tmp_path):
    llm, _ = load_llm(str(saved(tmp_path / "llm")))
    save_adapter(add_adapter(llm, rank=2, alpha=2, dropout=0.0, targets=["q_proj"], modules=[]), tmp_path / "a")
    with pytest.raises(UserError, match="an adapter, not a model; merge it into its base model first"):
        load_llm(str(tmp_path / "a"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_of_a_model_is_one_line(tmp_path, name):
    folder = saved(tmp_path / "llm")
    (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    with pytest.raises(UserError, match="cannot be loaded") as error:
        load_llm(str(folder))
    assert "\n" not in str(error.value)


TEMPLATE = "{% for m in messages %}<|user|>{{ m.content }}</s>{% endfor %}<|assistant|>"


def write_gguf(file: Path, model, tokenizer, *, template: str = TEMPLATE) -> Path:
    """Write a Llama with a byte-level tokenizer as llama.cpp's converter does: queries and keys in its order of rotation."""
    gguf = pytest.importorskip("gguf", reason="needs the extra gguf")
    import json

    config, weights = model.config, {k: v.numpy() for k, v in model.state_dict().items()}
    out = gguf.GGUFWriter(file, "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_vocab_size(config.vocab_size)
    held = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([3 if t in tokenizer.all_special_tokens else 1 for t in tokens])
    out.add_token_merges([" ".join(pair) for pair in held["model"]["merges"]])
    out.add_bos_token_id(tokenizer.bos_token_id)
    out.add_eos_token_id(tokenizer.eos_token_id)
    out.add_pad_token_id(tokenizer.eos_token_id)
    out.add_chat_template(template)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}  # fmt: skip
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, weight in weights.items():
        part = name.removesuffix(".weight")
        if part in outer:
            out.add_tensor(f"{outer[part]}.weight", weight)
            continue
        layer, inner = part.removeprefix("model.layers.").split(".", 1)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(names[inner])
        if heads:
            weight = weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        out.add_tensor(f"blk.{layer}.{names[inner]}.weight", np.ascontiguousarray(weight))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def test_a_gguf_file_is_a_model_with_its_tokenizer_that_trains_and_is_saved(tmp_path):
    meter.reset()
    llm, tokenizer = load_llm(str(saved(tmp_path / "llm", **SIZES, num_key_value_heads=2)))
    file = write_gguf(tmp_path / "model.gguf", llm, tokenizer)
    for precision in ("bfloat16", "float32"):
        read, words = load_llm(str(file), precision=precision)
        ids = words(TEXT, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            ours, theirs = (m(input_ids=torch.tensor([ids[:40]])).logits.float() for m in (read, llm))
        assert (ours - theirs).abs().max() < (1e-4 if precision == "float32" else 0.05) * theirs.abs().max()
        around = frame(words, True)
        assert (around.lead, around.turn) == ("<|user|>", "</s><|assistant|>")
        read.save_pretrained(tmp_path / precision)  # transformers refuses this for the model that it read itself
        words.save_pretrained(tmp_path / precision)
        again, _ = load_llm(str(tmp_path / precision), precision=precision)
        with torch.no_grad():
            assert torch.equal(again(input_ids=torch.tensor([ids[:40]])).logits.float(), ours)
    adapted = add_adapter(read, rank=2, alpha=2, dropout=0.0, targets=["all-linear"], modules=["embed_tokens"])
    answer_losses(adapted, [[2, 7]], [[8]]).sum().backward()
    assert adapted.get_input_embeddings().weight.grad.abs().sum() > 0
    assert meter.counts()["llm"]["tokens_gradient"] == 3  # what it computed is counted as any model's


def test_a_gguf_file_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="needs the extra gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and nothing more")
    for path, said in (("bad.gguf", "cannot be loaded"), ("none.gguf", "there is no such file")):
        with pytest.raises(UserError, match=said) as error:
            load_llm(str(tmp_path / path))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="llm_precision 4bit; allowed for a GGUF file: float32, bfloat16"):
        load_llm(str(tmp_path / "bad.gguf"), precision="4bit")
    import transformers.utils

    monkeypatch.setattr(transformers.utils, "is_gguf_available", lambda: False)
    with pytest.raises(UserError, match=r"needs the package gguf: pip install -e .\.\[gguf\]"):
        load_llm(str(tmp_path / "bad.gguf"))


@pytest.mark.real
def test_a_real_gguf_file_answers(data):
    pytest.importorskip("gguf", reason="needs the extra gguf")
    [file] = list((data / "models").rglob("SmolLM2-135M-Instruct*.gguf"))[:1] or [None]
    if file is None:
        pytest.skip(f"{data / 'models'} has no SmolLM2-135M-Instruct GGUF file (its get-smollm2.sh brings it)")
    llm, tokenizer = load_llm(str(file), precision="bfloat16")
    said = replies(llm, tokenizer, ["What is the capital of France?"], 16, 1, True, lambda _: None)
    assert "Paris" in said[0]


def test_an_adapter_s_card_says_how_to_load_it_in_the_precision_of_the_run(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    about = {"retriever": None, "seed": 0, "round": 1, "code": "c", "data": {}}
    for llm, precision, said in (
        ("some/llm", "bfloat16", 'from_pretrained("some/llm", dtype=torch.bfloat16)'),
        ("some/llm", "4bit", 'from_pretrained("some/llm", dtype=torch.float32)'),
        (str(tmp_path / "model.gguf"), "float32", f'{tmp_path.name}", gguf_file="model.gguf", dtype=torch.float32)'),
    ):
        write_card(
            tmp_path, "adapter", {**about, "llm": llm, "options": {"target": "frozen", "llm_precision": precision}}
        )
        text = (tmp_path / "README.md").read_text()
        assert said in text
        assert "load with peft" in text
        assert str(tmp_path.parent.parent) not in text  # nothing of this machine's folders
        assert ("base_model: some/llm" in text) == (llm == "some/llm")
        assert ("Its base model is `model.gguf`, which is not on the hub" in text) == (llm != "some/llm")


def test_an_adapter_s_card_calls_a_base_model_of_this_machine_by_its_name(tmp_path):
    about = {"retriever": None, "seed": 0, "round": 1, "code": "c", "data": {}, "options": {"target": "frozen"}}
    made, ready = tmp_path / "results/mine/small/seed3/pretrain", tmp_path / "models/Llama-2-7b-hf"
    for llm, more, name in (
        (made, {}, "`small` with seed 3, which the run made"),
        (made, {"ancestor": ""}, "`small` with seed 3, which the run made from nothing"),
        (made, {"ancestor": "org/llm"}, "`small` with seed 3, which the run made from `org/llm`"),
        (ready, {}, "`Llama-2-7b-hf`"),
    ):
        llm.mkdir(parents=True, exist_ok=True)
        for what, said in (
            (
                "adapter",
                f"Its base model is {name}, which is not on the hub and no part of this folder; `jmlr export --adapter` writes both.",
            ),
            ("unmerged", f"Its base model is {name}. It stands beside this folder, as `base/`."),
        ):
            write_card(tmp_path, what, {**about, **more, "llm": str(llm)})
            text = (tmp_path / "README.md").read_text()
            assert said in text
            assert str(tmp_path) not in text


def test_a_card_links_to_the_project_where_its_package_says_where_that_is(tmp_path, monkeypatch):
    about = {
        "llm": "some/llm",
        "retriever": None,
        "seed": 0,
        "round": 1,
        "code": "c",
        "data": {},
        "options": {"target": "frozen"},
    }
    for urls, said in (
        ([], " by jmlr, a replication"),
        (
            ["Issues, https://x.example/i", "Source, https://x.example/jmlr"],
            " by [jmlr](https://x.example/jmlr), a replication",
        ),
    ):
        monkeypatch.setattr("jmlr.models.card.project_urls", lambda urls=urls: urls)
        write_card(tmp_path, "merged", about)
        assert said in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_peft_holds_an_adapter_as_the_card_says(tmp_path, dtype):
    from peft import PeftModel

    llm, _ = load_llm(str(saved(tmp_path / "llm")))
    save_adapter(add_adapter(llm, rank=2, alpha=2, dropout=0.0, targets=["q_proj"], modules=["norm"]), tmp_path / "a")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "llm", dtype=dtype)
    held = dict(PeftModel.from_pretrained(base, str(tmp_path / "a")).named_parameters())
    assert {p.dtype for n, p in held.items() if "lora_" in n} == {torch.float32}
    assert {p.dtype for n, p in held.items() if "modules_to_save" in n} == {dtype}
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "llm", dtype=dtype)
    other.load_adapter(str(tmp_path / "a"))
    assert {p.dtype for n, p in other.named_parameters() if "lora_" in n} == {dtype}
