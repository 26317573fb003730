"""Cross-encoders: scores as sentence-transformers gives them, whatever the batch; what is none is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_encoders import QUERIES, TEXTS, wordpiece

from jmlr.models.cross_encoder import CrossEncoder
from jmlr.models.usable import fault_of
from jmlr.runtime.errors import UserError
from model_files import write_cross_encoder

PAIRS = [(query, text) for query in QUERIES for text in [*TEXTS, "", " ".join(TEXTS)]]


def write(folder: Path, kind: str = "bert", labels: int = 1) -> Path:
    return write_cross_encoder(folder, wordpiece(), kind, labels)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_scores_are_those_of_sentence_transformers(tmp_path, kind):
    library = pytest.importorskip("sentence_transformers")
    write(tmp_path, kind)
    theirs = library.CrossEncoder(str(tmp_path), device="cpu", activation_fn=torch.nn.Identity())
    ours = CrossEncoder.load(str(tmp_path)).eval()
    assert ours.limit == 64
    scores = ours.scores(PAIRS, batch_tokens=200)
    assert scores.dtype == torch.float32
    assert scores.tolist() == pytest.approx(theirs.predict(PAIRS, batch_size=1).tolist(), abs=1e-5)
    assert len({round(s, 3) for s in scores.tolist()}) > len(PAIRS) // 2, "texts tell in the score"


def test_neither_the_batch_nor_the_order_of_pairs_changes_a_score(tmp_path):
    reader = CrossEncoder.load(str(write(tmp_path))).eval()
    whole = reader.scores(PAIRS, batch_tokens=10_000)
    for pairs, tokens in ((PAIRS, 1), (PAIRS[::-1], 150)):
        again = reader.scores(pairs, batch_tokens=tokens)
        assert torch.allclose(again if pairs is PAIRS else again.flip(0), whole, atol=1e-5)
    assert reader.scores([], batch_tokens=10).shape == (0,)


def test_pairs_are_cut_to_the_tokens_that_are_asked_for(tmp_path):
    write(tmp_path)
    short, long = (CrossEncoder.load(str(tmp_path), tokens=n).eval() for n in (12, 0))
    pairs = [("fever", TEXTS[1]), ("fever", f"{TEXTS[1]} {TEXTS[2]}")]
    cut, whole = (reader.scores(pairs, batch_tokens=100).tolist() for reader in (short, long))
    assert cut[0] == pytest.approx(cut[1], abs=1e-6)
    assert whole[0] != pytest.approx(whole[1], abs=1e-3)


def test_a_model_of_two_labels_or_none_is_refused_in_one_line_before_anything_is_loaded(tmp_path):
    two = write(tmp_path / "two", labels=2)
    with pytest.raises(UserError, match="it has 2 labels; allowed: 1"):
        CrossEncoder.load(str(two))
    assert fault_of(two, "cross-encoder").startswith("it has 2 labels; allowed: one for sequence classification")
    assert fault_of(write(tmp_path / "one"), "cross-encoder") == ""
    config = json.loads((two / "config.json").read_text())
    (two / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    assert fault_of(two, "cross-encoder").startswith("BertModel is no cross-encoder")
    (tmp_path / "x.gguf").write_bytes(b"")
    assert "allowed: the folder of a cross-encoder" in fault_of(tmp_path / "x.gguf", "cross-encoder")
