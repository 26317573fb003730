from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jmlr.models.dense import DenseRetriever
from jmlr.models.forward import answer_losses
from jmlr.models.llm import load_llm
from jmlr.runtime.errors import UserError


def test_answer_losses_equal_the_full_forward_pass_row_by_row(tiny):
    llm, _ = load_llm(str(tiny / "llm"))
    prompts, answers = [[2, 7, 8, 9], [2, 5], [2, 11, 12, 13, 14, 15]], [[30, 3], [31, 32, 3], [33, 3]]
    expected = []
    for p, a in zip(prompts, answers, strict=True):
        logits = llm(input_ids=torch.tensor([p + a])).logits[0, len(p) - 1 : -1]
        expected.append(F.cross_entropy(logits, torch.tensor(a)).item())
    assert answer_losses(llm, prompts, answers).tolist() == pytest.approx(expected, abs=1e-5)


def test_a_vector_does_not_depend_on_the_texts_beside_it(tiny):
    retriever = DenseRetriever.load(str(tiny / "retriever")).eval()
    rows = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
    together = retriever.encode(rows)
    alone = torch.cat([retriever.encode([r]) for r in rows])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.norm(dim=1), torch.ones(3))


def test_encode_all_returns_vectors_in_the_order_of_the_texts(tiny):
    retriever = DenseRetriever.load(str(tiny / "retriever")).eval()
    rows = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [20, 21]]
    vectors, offsets = retriever.encode_all(rows, batch_tokens=6)
    assert offsets is None
    assert torch.allclose(vectors, retriever.encode(rows), atol=1e-6)


def test_sentence_transformers_loads_our_retriever_and_gives_its_vectors(tiny):
    library = pytest.importorskip("sentence_transformers")
    ours = DenseRetriever.load(str(tiny / "retriever")).eval()
    texts = ["A woman aged 34 with fever", "which medicine should be prescribed?"]
    theirs = library.SentenceTransformer(str(tiny / "retriever"), device="cpu").encode(texts)
    with torch.no_grad():
        assert np.allclose(ours.encode(ours.tokenize(texts, 64)).numpy(), theirs, atol=1e-5)


@pytest.mark.real
def test_a_real_encoder_gives_the_vectors_that_sentence_transformers_gives(data):
    library = pytest.importorskip("sentence_transformers")
    path = str(data / "models" / "all-MiniLM-L6-v2")
    ours = DenseRetriever.load(path).eval()
    texts = [
        "Aspirin inhibits cyclooxygenase.",
        "The mitral valve lies between the left atrium and the left ventricle.",
    ]
    with torch.no_grad():
        assert np.allclose(
            ours.encode(ours.tokenize(texts, 256)).numpy(),
            library.SentenceTransformer(path, device="cpu").encode(texts),
            atol=1e-5,
        )


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path):
    for load in (DenseRetriever.load, load_llm):
        with pytest.raises(UserError) as error:
            load(str(tmp_path / "nothing"))
        assert "nothing" in str(error.value)
        assert "\n" not in str(error.value)
