"""Whatever a sentence-transformers directory says of pooling, layers, similarity and length, our scores are that library's."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import QUERIES, TEXTS, bert, wordpiece
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from jmlr.models.dense import DenseRetriever
from jmlr.models.encoder import TRANSFORMER_FILES
from jmlr.models.retriever import load_retriever
from jmlr.pretraining.retriever import pretrain_retriever
from jmlr.runtime.errors import UserError

library = pytest.importorskip("sentence_transformers")
modules = pytest.importorskip("sentence_transformers.models")
EVERY = torch.arange(len(TEXTS)).expand(len(QUERIES), -1)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
INSTRUCTION = {"query": "Instruct: find the passage\nQuery: ", "document": ""}


def published(folder: Path, encoder: Path, *behind, pooling="mean", before=(), prompts=None, **about) -> Path:
    """Save a directory by sentence-transformers itself; `about` is put into config_sentence_transformers.json, None takes it out."""
    parts = [modules.Transformer(str(encoder), max_seq_length=32, config_args={"output_hidden_states": True} if before else {}),
             *before, modules.Pooling(32, pooling_mode=pooling), *behind]  # fmt: skip
    library.SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save(str(folder))
    edit(folder / "config_sentence_transformers.json", **about)
    if before:
        edit(folder / "sentence_bert_config.json", config_args={"output_hidden_states": True})
    return folder


def edit(file: Path, **changes) -> None:
    held = json.loads(file.read_text())
    held = {k: v for k, v in {**held, **changes}.items() if v is not None}
    file.write_text(json.dumps(held))


def theirs(folder: Path) -> np.ndarray:
    model = library.SentenceTransformer(str(folder), device="cpu")
    return np.asarray(model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS)))


def ours(retriever: DenseRetriever) -> np.ndarray:
    with torch.no_grad():
        queries, passages = retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS)
        return retriever.scores(queries, passages, EVERY).numpy()


def assert_the_library_s_scores(folder: Path, out: Path) -> DenseRetriever:
    """Compare the scores of a directory, and of our export of it, each as the library and as we read it."""
    retriever = DenseRetriever.load(str(folder)).eval()
    expected = theirs(folder)
    assert np.ptp(expected) > 0.01
    assert np.allclose(ours(retriever), expected, atol=1e-4)
    retriever.save(out)
    assert np.allclose(theirs(out), expected, atol=1e-4)
    again = DenseRetriever.load(str(out)).eval()
    assert np.allclose(ours(again), expected, atol=1e-4)
    with torch.no_grad():
        assert again.encode(again.tokenize(TEXTS)).shape[1] == again.depth == retriever.depth
    return retriever


@pytest.mark.parametrize("similarity", [None, "cosine", "dot"])
@pytest.mark.parametrize("normalized", [False, True])
def test_scores_are_the_cosine_unless_the_directory_says_dot(tmp_path, encoder_folder, similarity, normalized):
    behind = [modules.Normalize()] if normalized else []
    folder = published(tmp_path / "a", encoder_folder, *behind, similarity_fn_name=similarity)
    retriever = assert_the_library_s_scores(folder, tmp_path / "b")
    assert retriever.normalize == (normalized or similarity != "dot")


def test_a_directory_older_than_its_file_of_settings_has_cosine_similarity(tmp_path, encoder_folder):
    folder = published(tmp_path / "a", encoder_folder)
    (folder / "config_sentence_transformers.json").unlink()
    assert assert_the_library_s_scores(folder, tmp_path / "b").normalize


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_a_distance_is_refused_by_name(tmp_path, encoder_folder, similarity):
    folder = published(tmp_path / "a", encoder_folder, similarity_fn_name=similarity)
    with pytest.raises(
        UserError, match=rf"similarity_fn_name '{similarity}' is not supported \(allowed: cosine, dot\)"
    ):
        load_retriever(str(folder))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("normalized", [False, True])
def test_truncated_vectors_are_truncated(tmp_path, encoder_folder, similarity, normalized):
    behind = [modules.Normalize()] if normalized else []
    folder = published(tmp_path / "a", encoder_folder, *behind, similarity_fn_name=similarity, truncate_dim=8)
    assert assert_the_library_s_scores(folder, tmp_path / "b").depth == 8


@pytest.mark.parametrize("name", TRANSFORMER_FILES)
def test_the_encoder_s_settings_are_read_from_every_name_the_library_gives_them(tmp_path, encoder_folder, name):
    folder = published(tmp_path / "a", encoder_folder)
    edit(folder / "sentence_bert_config.json", max_seq_length=7)
    (folder / "sentence_bert_config.json").rename(folder / name)
    assert assert_the_library_s_scores(folder, tmp_path / "b").limit("passage") == 7


def test_the_length_of_the_directory_goes_before_that_of_the_tokenizer(tmp_path, encoder_folder):
    folder = published(tmp_path / "a", encoder_folder)
    edit(folder / "tokenizer_config.json", model_max_length=5)
    edit(folder / "sentence_bert_config.json", max_seq_length=32)
    assert assert_the_library_s_scores(folder, tmp_path / "b").limit("passage") == 32


@pytest.mark.parametrize(
    "pooling", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ("cls", "mean"), ("max", "lasttoken")]
)  # fmt: skip
def test_every_pooling_gives_the_library_s_vectors(tmp_path, encoder_folder, pooling):
    folder = published(tmp_path / "a", encoder_folder, pooling=pooling, similarity_fn_name="dot")
    assert assert_the_library_s_scores(folder, tmp_path / "b").depth == 32 * (2 if isinstance(pooling, tuple) else 1)


def test_poolings_of_older_directories_have_a_switch_each(tmp_path, encoder_folder):
    folder = published(tmp_path / "a", encoder_folder)
    switches = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True,
                "pooling_mode_max_tokens": True}  # fmt: skip
    (folder / "1_Pooling/config.json").write_text(json.dumps(switches))
    assert assert_the_library_s_scores(folder, tmp_path / "b").pooling == ("max", "lasttoken")


def layers(*names: str) -> list[torch.nn.Module]:
    """Make modules to stand behind the pooling; their weights are drawn anew."""
    torch.manual_seed(5)
    made = {
        "tanh": lambda: modules.Dense(32, 24),
        "up": lambda: modules.Dense(32, 48, bias=False, activation_function=torch.nn.Identity()),
        "down": lambda: modules.Dense(48, 16, activation_function=torch.nn.GELU()),
        "residual": lambda: modules.Dense(32, 20, activation_function=torch.nn.SiLU(), use_residual=True),
        "norm": lambda: modules.LayerNorm(32),
        "unit": modules.Normalize,
    }
    found = [made[name]() for name in names]
    for part in found:
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return found


@pytest.mark.parametrize(
    "names", ["tanh", "up down unit", "norm tanh", "unit up", "residual unit", "norm", "up down"], ids=lambda n: n.replace(" ", "-")
)  # fmt: skip
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_layers_behind_the_pooling_give_the_library_s_vectors_and_are_exported(
    tmp_path, encoder_folder, names, similarity
):
    folder = published(tmp_path / "a", encoder_folder, *layers(*names.split()), similarity_fn_name=similarity)
    assert_the_library_s_scores(folder, tmp_path / "b")


def test_layers_behind_the_pooling_learn(tmp_path, encoder_folder):
    folder = published(tmp_path / "a", encoder_folder, *layers("tanh"))
    retriever = DenseRetriever.load(str(folder)).eval()
    retriever.scores(retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS), EVERY).sum().backward()
    assert retriever.layers[0].linear.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("start", [0, 1])
def test_a_mean_of_layers_gives_the_library_s_vectors_and_learns(tmp_path, encoder_folder, start):
    mix = modules.WeightedLayerPooling(32, num_hidden_layers=2, layer_start=start)
    with torch.no_grad():
        mix.layer_weights.copy_(torch.tensor([0.2, 0.7, 1.4][start:]))
    folder = published(tmp_path / "a", encoder_folder, before=[mix], similarity_fn_name="dot")
    retriever = assert_the_library_s_scores(folder, tmp_path / "b")
    retriever.scores(retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS), EVERY).sum().backward()
    assert retriever.mix.layer_weights.grad.abs().sum() > 0
    edit(folder / "sentence_bert_config.json", config_args=None, config_kwargs=None)
    edit(folder / "config.json", output_hidden_states=None)
    with pytest.raises(UserError, match="WeightedLayerPooling without output_hidden_states: true"):
        DenseRetriever.load(str(folder))


def decoder(folder: Path, kind: str = "qwen3", **settings) -> Path:
    """Save a decoder whose tokenizer pads on the left and ends every text with the token that it pads with, as Qwen3-Embedding's."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = wordpiece().backend_tokenizer
    end = tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", end)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="[SEP]", pad_token="[SEP]", padding_side="left", model_max_length=64
    )
    torch.manual_seed(6)
    sizes = {
        **SIZES,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 64,
        "vocab_size": len(made),
        **settings,
    }
    model = AutoModel.from_config(AutoConfig.for_model(kind, pad_token_id=end, eos_token_id=end, **sizes))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gemma3_text"])
@pytest.mark.parametrize("pooling", ["lasttoken", "cls", "max", "mean", "weightedmean"])
def test_a_decoder_that_embeds_gives_the_library_s_vectors(tmp_path, kind, pooling):
    folder = published(
        tmp_path / "a", decoder(tmp_path / "llm", kind), modules.Normalize(), pooling=pooling, prompts=INSTRUCTION
    )
    retriever = assert_the_library_s_scores(folder, tmp_path / "b")
    ends = {row[-1] for row in [*retriever.tokenize(TEXTS), *retriever.tokenize(QUERIES, 5, "query")]}
    assert ends == {retriever.tokenizer.eos_token_id}  # however short a text is cut


def test_a_plain_decoder_is_pooled_as_the_library_pools_it(tmp_path):
    folder = decoder(tmp_path / "llm")
    edit(folder / "config.json", architectures=["Qwen3ForCausalLM"])
    assert assert_the_library_s_scores(folder, tmp_path / "b").pooling == ("lasttoken",)


def test_the_token_that_ends_a_text_learns_though_it_pads_too(tmp_path):
    retriever = load_retriever(str(published(tmp_path / "a", decoder(tmp_path / "llm"), pooling="lasttoken")))
    end, rows = retriever.tokenizer.eos_token_id, retriever.encoder.get_input_embeddings().weight
    before = rows[end].detach().clone()
    passages = [f"{a} {b}. {b} {a}." for a in TEXTS[:4] for b in TEXTS[:4]]
    pretrain_retriever(retriever, passages, seed=0, steps=2, batch=4, max_tokens=16, learning_rate=1e-2, weight_decay=0.0,
                       warmup_steps=0, noise_words=0, temperature=0.1, precision="float32")  # fmt: skip
    assert (rows[end] != before).any()


KINDS = {
    "roberta": {"type_vocab_size": 1}, "xlm-roberta": {}, "camembert": {}, "distilbert": {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2},
    "mpnet": {}, "electra": {"embedding_size": 32}, "albert": {"embedding_size": 16}, "deberta-v2": {},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8, "reference_compile": False},
    "t5": {"d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2},
}  # fmt: skip


def encoder_of_kind(kind: str, folder: Path) -> Path:
    """Save a tiny encoder of another kind than BERT, with its tokenizer."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=wordpiece().backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]",
                                        cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]", model_max_length=48)  # fmt: skip
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        kind, **{**SIZES, "max_position_embeddings": 64, "vocab_size": len(tokenizer), "pad_token_id": 0, **KINDS[kind]}
    )
    model = AutoModel.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_of_many_kinds_give_the_library_s_vectors(tmp_path, kind):
    folder = encoder_of_kind(kind, tmp_path / "encoder")
    assert_the_library_s_scores(published(tmp_path / "a", folder), tmp_path / "b")


def test_what_would_change_vectors_and_is_not_honoured_is_refused_by_name(tmp_path, encoder_folder):
    folder = published(tmp_path / "a", encoder_folder)

    def refused(file: str, said: str, **changes) -> None:
        shutil.copytree(folder, tmp_path / "b", dirs_exist_ok=True)
        if file == "modules.json":
            held = json.loads((folder / file).read_text())
            (tmp_path / "b" / file).write_text(json.dumps([*held[: changes.get("keep", 2)], *changes["more"]]))
        else:
            edit(tmp_path / "b" / file, **changes)
        with pytest.raises(UserError, match=said) as error:
            load_retriever(str(tmp_path / "b"))
        assert "\n" not in str(error.value)

    def module(kind: str) -> dict:
        return {"idx": 2, "name": "2", "path": "2_X", "type": kind}

    refused("sentence_bert_config.json", "'query_length' is not supported", query_length=8)
    refused(
        "sentence_bert_config.json",
        "'processing_kwargs' is not supported",
        processing_kwargs={"text": {"max_length": 8}},
    )
    refused("sentence_bert_config.json", "'transformer_task' is not supported", transformer_task="fill-mask")
    refused("sentence_bert_config.json", "'modality_config' is not supported", modality_config={"message": {}})
    refused("sentence_bert_config.json", "'model_kwargs.subfolder' is not supported", model_kwargs={"subfolder": "x"})
    refused(
        "config_sentence_transformers.json", "a SparseEncoder, not a SentenceTransformer", model_type="SparseEncoder"
    )
    refused("modules.json", "module Dropout of modules.json", more=[module("sentence_transformers.models.Dropout")])
    refused(
        "modules.json",
        "custom_st.Transformer of modules.json is code of its own",
        more=[module("custom_st.Transformer")],
    )
    refused(
        "modules.json", "allowed: Transformer, perhaps", keep=1, more=[module("sentence_transformers.models.Normalize")]
    )
    refused("1_Pooling/config.json", "pooling 'median' is not supported", pooling_mode="median")


def test_an_adapter_is_no_retriever(tmp_path, encoder_folder):
    shutil.copytree(encoder_folder, tmp_path / "a")
    (tmp_path / "a/adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="an adapter, not a model; merge it"):
        load_retriever(str(tmp_path / "a"))


def test_a_bert_s_padding_row_gets_no_gradient_from_padding(tmp_path, encoder_folder):
    retriever = load_retriever(str(encoder_folder))
    retriever.scores(retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS), EVERY).sum().backward()
    assert retriever.encoder.get_input_embeddings().weight.grad[bert(wordpiece()).config.pad_token_id].abs().max() == 0


@contextmanager
def heard():
    """Gather what libraries warn of and log; transformers keeps its messages from other loggers, and loading ours silences it."""
    from transformers.utils import logging as library_logging

    class Held(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    lines, handler, before = [], Held(logging.WARNING), library_logging.get_verbosity()
    loggers = [logging.getLogger(name) for name in (None, "transformers")]
    library_logging.set_verbosity_warning()
    for logger in loggers:
        logger.addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield lines
    for logger in loggers:
        logger.removeHandler(handler)
    library_logging.set_verbosity(before)
    lines += [str(w.message) for w in warned]


@pytest.mark.parametrize("kind", ["bert", "pretrained from scratch", "roberta", "mpnet"])
def test_an_exported_retriever_loads_without_a_word_and_gives_our_vectors(tmp_path, tiny, encoder_folder, kind):
    folders = {"bert": encoder_folder, "pretrained from scratch": tiny / "retriever"}
    ours = load_retriever(str(folders.get(kind) or encoder_of_kind(kind, tmp_path / "encoder"))).eval()
    ours.save(tmp_path / "out")
    with heard() as said:
        model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
        found = np.concatenate([model.encode_query(QUERIES), model.encode_document(TEXTS)])
    assert said == []
    expected = [
        ours.encode_all(ours.tokenize(texts, side=side), side, batch_tokens=512)[0]
        for texts, side in ((QUERIES, "query"), (TEXTS, "passage"))
    ]
    assert np.allclose(found, np.concatenate(expected), atol=1e-5)
