"""A card that is too small for a training is known before a model is loaded; what is not certain is only warned of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from jmlr.models.flops import Shape
from jmlr.options import AnswerOptions, PretrainOptions, ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.runtime import devices
from jmlr.runtime.errors import UserError
from jmlr.stages.answer import answer
from jmlr.stages.pretrain import pretrain
from jmlr.training import on_card, session
from jmlr.training.on_card import (
    Answering,
    FineTuning,
    Pretraining,
    check_fine_tuning,
    check_pretraining,
    hold_against,
    less,
)

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "vocab_size": 32000}  # fmt: skip
BERT = {"model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "vocab_size": 30522}  # fmt: skip
CARD = torch.device("cuda")


def tuning(retriever=None, precision="bfloat16", **options) -> FineTuning:
    reading = ReadingOptions(llm_precision=precision)
    return FineTuning(Shape.of(LLAMA), retriever, TrainOptions(**options), reading, RetrievalOptions())


@pytest.fixture
def gpu(monkeypatch):
    """Make this machine one with a GPU of so many bytes."""

    def make(size: float) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=int(size)))
        for module in (devices, session.devices):
            monkeypatch.setattr(module, "device", lambda: CARD)

    return make


def test_a_retriever_beside_the_llm_takes_16_bytes_a_weight_and_two_take_more():
    bert = Shape.of(BERT)
    alone, beside = tuning().on_a_card(1), tuning(bert, target="llm_rank").on_a_card(1)
    assert beside.certain - alone.certain == 16 * (bert.body + bert.head)
    two = tuning(bert, target="llm_rank", retriever_encoders="separate").on_a_card(1)
    assert two.retriever == 2 * beside.retriever
    lent = tuning(bert, target="llm_rank", retriever_encoders="query_only").on_a_card(1)
    assert lent.retriever == beside.retriever + 4 * (bert.body + bert.head)
    words = tuning(bert, target="llm_rank", retriever_weights="embeddings").on_a_card(1)
    assert words.retriever == 4 * bert.body + 16 * bert.head


def test_what_would_help_is_named_with_what_it_comes_to_and_each_option_helps():
    need = tuning(precision="float32", train_precision="float32")
    found = less(need, 4)
    assert set(found) == {
        "gradient_checkpointing", "train_precision bfloat16", "forward_tokens 2048", "llm_precision bfloat16", "llm_precision 4bit",
        "shard_llm over 4 cards", "shard_llm over 8 cards",
    }  # fmt: skip
    assert all(size < need.on_a_card(4).total for size in found.values())
    assert "gradient_checkpointing" not in less(need, 4, "certain")  # weights stay as they are
    assert "llm_precision 4bit" not in less(tuning(shard_llm=True), 4)  # refused together
    every = Pretraining(Shape.of(LLAMA), PretrainOptions(matrix_learning_rate=0.01))
    assert not any(words.startswith("shard_llm") for words in less(every, 4))  # Muon needs whole matrices


def test_only_what_is_certain_is_refused_and_an_estimate_that_does_not_fit_warns(capsys):
    need = tuning()
    found = need.on_a_card(1)
    with pytest.raises(
        UserError, match=r"^train: weights, gradients and moments .* less: .*llm_precision 4bit"
    ) as error:
        hold_against(need, 1, found.certain - 1, "train")
    assert "\n" not in str(error.value)
    hold_against(need, 1, found.certain + 1, "train")
    assert "train: warning: it may take" in capsys.readouterr().err
    hold_against(need, 1, found.total / 0.9 + 1, "train")
    assert capsys.readouterr().err == ""


def test_what_is_certain_is_no_more_than_a_model_has(tiny):
    from transformers import AutoModelForCausalLM

    from jmlr.models.shapes import shape_of

    weights = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny / "llm").parameters())
    shape = shape_of(str(tiny / "llm"))
    assert 0.99 * weights < shape.weights <= weights
    assert Pretraining(shape, PretrainOptions()).on_a_card(1).certain <= 16 * weights
    narrow = {**LLAMA, "num_key_value_heads": 8, "head_dim": 64}  # heads narrower than the width
    assert Shape.of(narrow).body < Shape.of({**LLAMA, "num_key_value_heads": 8}).body


def test_answering_takes_weights_and_what_it_keeps_of_its_prompts_and_a_cut_model_a_share():
    def need(**options) -> Answering:
        return Answering(Shape.of(LLAMA), AnswerOptions(**options), ReadingOptions(llm_precision="bfloat16"))

    llama = Shape.of(LLAMA)
    whole, cut = need().on_a_card(4), need(shard_llm=True).on_a_card(4)
    assert whole.certain == 2 * llama.weights == 4 * cut.certain
    assert whole.activations == cut.activations
    cache = 32 * 2048 * 2 * 32 * 4096 * 2  # keys and values of 32 layers in bfloat16, of each token
    written = need(method="generate").on_a_card(1)
    assert cache < written.activations < 2 * cache
    assert need(method="generate", answer_batch=8).on_a_card(1).activations == pytest.approx(written.activations / 4)
    closed = Answering(Shape.of(LLAMA), AnswerOptions(), ReadingOptions(llm_precision="bfloat16"), passages=0)
    assert closed.on_a_card(1).activations < need().on_a_card(1).activations / 3, "a question alone is no whole prompt"
    assert set(less(need(), 4)) == {
        "answer_batch 8", "llm_precision 4bit", "answer.shard_llm over 4 cards", "answer.shard_llm over 8 cards",
    }  # fmt: skip


def test_an_answer_is_refused_before_its_model_is_loaded(tiny, gpu, monkeypatch, tmp_path):
    monkeypatch.setattr("jmlr.models.llm.load_to_answer", lambda *_, **__: pytest.fail("a model was loaded"))
    gpu(1e5)
    with pytest.raises(UserError, match=r"answer: weights are .* the GPU has 0.0; less: "):
        answer(tmp_path / "out", tiny / "prepare", AnswerOptions(), ReadingOptions(), llm=str(tiny / "llm"))
    assert not (tmp_path / "out").exists()


def test_a_training_is_refused_before_its_model_is_loaded(tiny, gpu, monkeypatch):
    monkeypatch.setattr(session, "adapted_llm", lambda *_: pytest.fail("a model was loaded"))
    given = {
        "prepared": tiny / "prepare",
        "llm": str(tiny / "llm"),
        "retriever": None,
        "candidates": None,
        "previous": None,
    }
    options = {
        "seed": 0,
        "options": TrainOptions(passages=0),
        "reading": ReadingOptions(),
        "retrieval": RetrievalOptions(),
    }
    gpu(1e5)
    with pytest.raises(UserError, match=r"train: weights, gradients and moments"):
        session.Session.open(**given, **options)


def test_a_pretraining_is_refused_before_anything_is_read_or_written(tiny, gpu, tmp_path):
    gpu(1e5)
    for name, options in (
        ("llm", PretrainOptions(init=str(tiny / "llm"))),
        ("new", PretrainOptions(architecture=LLAMA, tokenizer="source:none/x.json")),
        ("retriever", PretrainOptions(objective="inverse_cloze", architecture=BERT)),
    ):
        with pytest.raises(UserError, match=r"pretrain: weights, gradients and moments .* the GPU has 0.0"):
            pretrain(tmp_path / name, tiny / "prepare", 0, options)
        assert not (tmp_path / name).exists()


def test_a_cpu_and_models_that_do_not_tell_their_shape_are_left_alone(gpu, monkeypatch):
    gpu(1.0)
    monkeypatch.setattr(on_card, "shape_of", lambda _: pytest.fail("a CPU asks for no shape"))
    check_fine_tuning(torch.device("cpu"), "x", None, TrainOptions(), ReadingOptions(), RetrievalOptions())
    check_pretraining(torch.device("cpu"), PretrainOptions(init="x"))
    monkeypatch.setattr(on_card, "shape_of", lambda _: None)
    check_fine_tuning(CARD, "x", "y", TrainOptions(), ReadingOptions(), RetrievalOptions())
    check_pretraining(CARD, PretrainOptions(architecture={"model_type": "new"}))
