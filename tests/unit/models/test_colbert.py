"""ColBERT reads checkpoints of ColBERTv2 and PyLate, gives the scores of other libraries, and masks as it must."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import QUERIES, TEXTS, bert, wordpiece, write_pylate

from jmlr.models.colbert import ColbertRetriever
from jmlr.models.retriever import load_retriever
from jmlr.runtime.errors import UserError
from jmlr.topk.stored import StoredVectors, build_stored, open_stored, search_stored

library = pytest.importorskip("sentence_transformers")
needs_multi_vector = pytest.mark.skipif(
    not hasattr(library, "MultiVectorEncoder"), reason="sentence-transformers before 6 has no MultiVectorEncoder"
)
ROOT = Path(__file__).resolve().parents[3]
EVERY = torch.arange(len(TEXTS)).expand(len(QUERIES), -1)
VARIANTS = {
    "as published": {},
    "two layers, bias, residuals": {
        "dense": [
            {"in_features": 32, "out_features": 32, "use_residual": True, "bias": True},
            {"in_features": 32, "out_features": 16, "use_residual": True},
        ]
    },
    "expansion attended to": {"attend_to_expansion_tokens": True},
    "no expansion": {"do_query_expansion": False},
    "no skiplist": {"skiplist_words": []},
    "other lengths": {"query_length": 9, "document_length": 12},
    "prompts": {"prompts": {"query": "query: ", "document": "passage: "}},
}


def parts(retriever, texts, kind):
    """Return the scored token vectors of each text, as arrays."""
    with torch.no_grad():
        found = retriever.encode(retriever.tokenize(texts, side=kind), kind)
    return [v[v.any(-1)].numpy() for v in found]


def scores(retriever):
    with torch.no_grad():
        return retriever.scores(
            retriever.tokenize(QUERIES, side="query"), retriever.tokenize(TEXTS, side="passage"), EVERY
        )


def assert_equals_library(ours, folder):
    theirs = library.MultiVectorEncoder(str(folder), device="cpu")
    queries = theirs.encode_query(QUERIES, convert_to_numpy=True)
    passages = theirs.encode_document(TEXTS, convert_to_numpy=True)
    for mine, found in ((parts(ours, QUERIES, "query"), queries), (parts(ours, TEXTS, "passage"), passages)):
        assert [m.shape for m in mine] == [f.shape for f in found]
        assert all(np.allclose(m, f, atol=1e-5) for m, f in zip(mine, found, strict=True))
    assert torch.allclose(scores(ours), theirs.similarity(queries, passages).float(), atol=1e-4)


@needs_multi_vector
def test_a_colbertv2_checkpoint_gives_the_library_s_scores_before_and_after_our_export(stanford_folder, tmp_path):
    ours = load_retriever(str(stanford_folder)).eval()
    assert isinstance(ours, ColbertRetriever)
    assert (ours.limit("query"), ours.limit("passage"), ours.depth) == (12, 20, 16)
    assert_equals_library(ours, stanford_folder)
    ours.save(tmp_path / "out")
    assert_equals_library(ours, tmp_path / "out")
    assert torch.equal(scores(load_retriever(str(tmp_path / "out")).eval()), scores(ours))


@needs_multi_vector
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pylate_directory_gives_the_library_s_scores_before_and_after_our_export(tmp_path, variant):
    settings = VARIANTS[variant]
    ours = load_retriever(str(write_pylate(tmp_path / "in", **settings))).eval()
    assert isinstance(ours, ColbertRetriever)
    assert_equals_library(ours, tmp_path / "in")
    ours.save(tmp_path / "out")
    assert_equals_library(ours, tmp_path / "out")
    assert torch.equal(scores(load_retriever(str(tmp_path / "out")).eval()), scores(ours))


# Run by the environment of envs/pylate.txt: vectors of texts, as PyLate gives them, into a file of arrays.
BY_PYLATE = """
import json, sys
import numpy as np
from pylate.models import ColBERT
texts = json.loads(sys.argv[3])
model = ColBERT(sys.argv[1], device="cpu")
found = {kind: model.encode(held, is_query=kind == "query") for kind, held in texts.items()}
np.savez(sys.argv[2], **{f"{kind}{i}": np.asarray(v) for kind, held in found.items() for i, v in enumerate(held)})
"""


def by_pylate(folder, out):
    """Return the vectors of queries and passages by PyLate itself, in an environment of its own."""
    python = Path(os.environ.get("JMLR_PYLATE", ROOT / ".venv-pylate/bin/python"))
    if not python.is_file():
        pytest.skip("no environment with PyLate: `make pylate` makes one, of the versions in envs/pylate.txt")
    texts = {"query": QUERIES, "passage": TEXTS}
    done = subprocess.run(
        [python, "-c", BY_PYLATE, folder, out, json.dumps(texts)], capture_output=True, text=True, cwd=out.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]
    held = np.load(out)
    return {kind: [held[f"{kind}{i}"] for i in range(len(t))] for kind, t in texts.items()}


@pytest.mark.parametrize("folder", ["pylate_folder", "stanford_folder"])
def test_pylate_itself_gives_our_vectors_before_and_after_our_export(folder, request, tmp_path):
    path = request.getfixturevalue(folder)
    ours = load_retriever(str(path)).eval()
    ours.save(tmp_path / "out")
    for number, read in enumerate((path, tmp_path / "out")):
        for kind, found in by_pylate(read, tmp_path / f"{number}.npz").items():
            expected = parts(ours, {"query": QUERIES, "passage": TEXTS}[kind], kind)
            assert [len(f) for f in found] == [len(p) for p in expected]
            assert all(np.allclose(p, f, atol=1e-5) for p, f in zip(expected, found, strict=True))


def test_scores_and_their_gradient_equal_plain_loops_over_tokens(pylate_folder):
    """docs/llm_rank.md, step 2, one query and one passage at a time, no padding, no mask."""
    ours = load_retriever(str(pylate_folder)).double().eval()
    queries, passages = ours.tokenize(QUERIES, side="query"), ours.tokenize(TEXTS, side="passage")
    ours.scores(queries, passages, EVERY).square().sum().backward()
    fast = {n: p.grad.clone() for n, p in ours.named_parameters() if p.grad is not None}
    ours.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for query in queries:
        for passage in passages:
            q, p = ours.encode([query], "query")[0], ours.encode([passage])[0]
            kept = [
                v
                for v, t in zip(p, passage, strict=True)
                if ours.tokenizer.decode([t]) not in ours.reading.skiplist_words
            ]
            total = total + sum(torch.stack([a @ b for b in kept]).max() for a in q) ** 2
    total.backward()
    assert len(fast) > 20
    for name, parameter in ours.named_parameters():
        assert torch.allclose(fast[name], parameter.grad, atol=1e-9), name


def test_a_token_that_does_not_count_never_beats_a_negative_product_and_adds_nothing_as_a_query_s(pylate_folder):
    ours = load_retriever(str(pylate_folder))
    query = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    passages = torch.tensor([[[-0.5, 0.0], [0.0, 0.0]], [[-0.5, 0.0], [0.25, 0.0]]])
    assert ours.interact(query, passages, torch.tensor([[1, 0]])).tolist() == [[0.25, -0.5]]


def test_parts_of_other_lengths_put_together_give_the_scores_of_the_whole(stanford_folder):
    ours = load_retriever(str(stanford_folder)).eval()
    queries, passages = ours.tokenize(QUERIES, side="query"), ours.tokenize(TEXTS)
    width = max(map(len, passages))
    with torch.no_grad():
        together = torch.cat([ours.encode([p], "passage", width) for p in passages])
        found = ours.interact(ours.encode(queries, "query"), together, EVERY)
    assert torch.allclose(found, scores(ours), atol=1e-4)


def test_a_score_does_not_depend_on_the_texts_beside_it(stanford_folder):
    ours = load_retriever(str(stanford_folder)).eval()
    whole = scores(ours)
    for b, query in enumerate(ours.tokenize(QUERIES, side="query")):
        for c, passage in enumerate(ours.tokenize(TEXTS, side="passage")):
            with torch.no_grad():
                alone = ours.scores([query], [passage], torch.tensor([[0]]))
            assert alone.item() == pytest.approx(whole[b, c].item(), abs=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_number_of_a_text_s_vectors_is_known_from_its_tokens(tmp_path, variant):
    ours = load_retriever(str(write_pylate(tmp_path, **VARIANTS[variant]))).eval()
    for texts, side in ((QUERIES, "query"), ([*TEXTS, "", "; . , !"], "passage")):
        rows = ours.tokenize(texts, side=side)
        held = dict(ours.encode_each(rows, side, batch_tokens=40))
        assert ours.vector_counts(rows, side) == [len(held[i]) for i in range(len(texts))]
        assert [len(p) for p in parts(ours, texts, side)] == [len(held[i]) for i in range(len(texts))]


def test_the_index_on_disk_finds_what_the_scores_say(pylate_folder, tmp_path):
    ours = load_retriever(str(pylate_folder)).eval()

    def encoded(texts, kind, folder):
        vectors, offsets = ours.encode_all(ours.tokenize(texts, side=kind), kind, batch_tokens=30)
        folder.mkdir()
        StoredVectors(vectors.numpy(), offsets.numpy()).save(folder)
        return folder

    shards = [encoded(TEXTS[:2], "passage", tmp_path / "a"), encoded(TEXTS[2:], "passage", tmp_path / "b")]
    for storage in ("float32", "int8"):
        passages, vectors, depth = build_stored(shards, tmp_path / storage, storage=storage)
        assert (passages, depth) == (len(TEXTS), 16)
        assert vectors == sum(len(p) for p in parts(ours, TEXTS, "passage"))
        queries = StoredVectors.open(encoded(QUERIES, "query", tmp_path / f"q-{storage}"))
        found, rows = search_stored(open_stored(tmp_path / storage), queries, 4)
        expected = scores(ours)
        assert rows.tolist() == expected.argsort(1, descending=True)[:, :4].tolist()
        assert np.allclose(found, np.take_along_axis(expected.numpy(), rows, 1), atol=1e-4)


def test_queries_of_one_kind_are_not_searched_in_an_index_of_the_other(tmp_path):
    for name, offsets in (("dense", None), ("late", np.array([0, 2, 4]))):
        (tmp_path / name).mkdir()
        StoredVectors(np.eye(4, dtype=np.float32), offsets).save(tmp_path / name)
        build_stored([tmp_path / name], tmp_path / f"{name}-index", storage="float32")
    with pytest.raises(
        UserError, match="one vector for each token, of depth 4; the queries have one vector for each text"
    ):
        search_stored(open_stored(tmp_path / "late-index"), StoredVectors.open(tmp_path / "dense"), 1)
    with pytest.raises(UserError, match="shards of 2 kinds"):
        build_stored([tmp_path / "dense", tmp_path / "late"], tmp_path / "mixed", storage="float32")


def test_the_run_s_lengths_replace_the_checkpoint_s_and_are_exported(stanford_folder, tmp_path):
    ours = load_retriever(str(stanford_folder), query_tokens=30, passage_tokens=50).eval()
    assert ours.encode(ours.tokenize(QUERIES, side="query"), "query").shape[1] == 30
    ours.save(tmp_path)
    about = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert (about["query_length"], about["document_length"]) == (30, 50)
    assert load_retriever(str(stanford_folder), query_tokens=999).limit("query") == 64  # the encoder's positions


def test_a_fresh_colbert_adds_two_markers_and_keeps_a_padded_vocabulary():
    for padding, rows in ((0, len(wordpiece()) + 2), (13, len(wordpiece()) + 13)):
        tokenizer = wordpiece()
        encoder = bert(tokenizer)
        encoder.resize_token_embeddings(len(tokenizer) + padding, mean_resizing=False)
        made = ColbertRetriever.fresh(encoder, tokenizer, 8)
        assert encoder.get_input_embeddings().num_embeddings == rows
        row = made.tokenize(["fever"], side="query")[0]
        assert made.tokenizer.convert_ids_to_tokens(row)[:2] == ["[CLS]", "[Q] "]
        assert "[Q] " not in tokenizer.get_vocab()  # the caller's is left alone


def test_a_passage_of_punctuation_alone_still_has_a_score(pylate_folder):
    ours = load_retriever(str(pylate_folder)).eval()
    with torch.no_grad():
        found = ours.scores(
            ours.tokenize(["blood"], side="query"), ours.tokenize(["..., ;", ""]), torch.tensor([[0, 1]])
        )
    assert torch.isfinite(found).all()


def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path, stanford_folder):
    folder = write_pylate(tmp_path / "a", query_prefix="[QUERY] ")
    with pytest.raises(UserError, match=r"no token '\[QUERY\] '"):
        load_retriever(str(folder))
    folder = write_pylate(
        tmp_path / "b", dense=[{"in_features": 32, "out_features": 16, "activation_function": "x.Softplus"}]
    )
    with pytest.raises(UserError, match=r"activation 'Softplus' is not supported \(allowed: Identity, Tanh"):
        load_retriever(str(folder))
    folder = write_pylate(tmp_path / "c")
    (folder / "1_Dense/model.safetensors").unlink()
    with pytest.raises(UserError, match=r"1_Dense/model\.safetensors"):
        load_retriever(str(folder))
