"""Dense retrievers read and write what sentence-transformers does, and give its vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_encoders import QUERIES, TEXTS, bert, wordpiece

from jmlr.models.dense import DenseRetriever
from jmlr.runtime.errors import UserError

library = pytest.importorskip("sentence_transformers")
E5 = {"query": "query: ", "passage": "passage: "}


def published(folder, encoder_folder, *, pooling="mean", normalize=True, prompts=None, length=32):
    """Save a model by sentence-transformers itself."""
    from sentence_transformers.models import Normalize, Pooling, Transformer

    modules = [Transformer(str(encoder_folder), max_seq_length=length), Pooling(32, pooling_mode=pooling)]
    model = library.SentenceTransformer(
        modules=[*modules, *([Normalize()] if normalize else [])], prompts=prompts, device="cpu"
    )
    model.save(str(folder))
    return model


def vectors(retriever, texts, kind):
    with torch.no_grad():
        return retriever.encode(retriever.tokenize(texts, side=kind), kind).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("prompts", [None, {"query": "query: ", "document": "passage: "}])
def test_vectors_are_those_of_sentence_transformers_before_and_after_our_export(
    tmp_path, encoder_folder, pooling, normalize, prompts
):
    theirs = published(tmp_path / "a", encoder_folder, pooling=pooling, normalize=normalize, prompts=prompts)
    ours = DenseRetriever.load(str(tmp_path / "a")).eval()
    assert (ours.pooling, ours.normalize) == ((pooling,), True)  # its similarity is the cosine, layer or not
    ours.save(tmp_path / "b")
    again = library.SentenceTransformer(str(tmp_path / "b"), device="cpu")
    for model in (theirs, again):
        for texts, kind, encode in ((QUERIES, "query", model.encode_query), (TEXTS, "passage", model.encode_document)):
            assert np.allclose(vectors(ours, texts, kind), encode(texts, normalize_embeddings=True), atol=1e-5)


def test_a_prompt_named_passage_reaches_passages_and_is_exported_so_that_the_library_finds_it(tmp_path, encoder_folder):
    model = published(tmp_path / "a", encoder_folder, prompts=E5)
    ours = DenseRetriever.load(str(tmp_path / "a")).eval()
    assert np.allclose(vectors(ours, TEXTS, "passage"), model.encode(TEXTS, prompt_name="passage"), atol=1e-5)
    ours.save(tmp_path / "b")
    again = library.SentenceTransformer(str(tmp_path / "b"), device="cpu")
    assert np.allclose(vectors(ours, TEXTS, "passage"), again.encode_document(TEXTS), atol=1e-5)


def test_texts_are_cut_where_sentence_transformers_cuts_them(tmp_path, encoder_folder):
    model = published(tmp_path / "a", encoder_folder, length=8)
    ours = DenseRetriever.load(str(tmp_path / "a")).eval()
    assert max(map(len, ours.tokenize(TEXTS))) == 8 == ours.limit("passage")
    assert np.allclose(vectors(ours, TEXTS, "passage"), model.encode(TEXTS), atol=1e-5)
    shorter = DenseRetriever.load(str(tmp_path / "a"), query_tokens=5)
    assert (shorter.limit("query"), shorter.limit("passage")) == (5, 8)


def test_lower_case_is_honoured(tmp_path):
    tokenizer = wordpiece()
    tokenizer.backend_tokenizer.normalizer = None
    bert(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"}
        for i, (p, k) in enumerate(parts)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": true}')
    ours = DenseRetriever.load(str(tmp_path))
    assert ours.tokenize(["ASPIRIN"]) == ours.tokenize(["aspirin"])


def test_a_checkpoint_without_safetensors_is_refused_in_one_line(tmp_path, encoder_folder):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((encoder_folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(UserError) as error:
        DenseRetriever.load(str(tmp_path))
    assert "safetensors" in str(error.value)
    assert "\n" not in str(error.value)
