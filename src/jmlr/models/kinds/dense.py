"""Dense retriever: one vector for each text, the score is the inner product (jmlr.models.dense)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jmlr.models.dense import DenseRetriever

SIMILARITIES = ("cosine", "dot")
CARD = {
    "title": "Dense retriever",
    "library": "sentence-transformers",
    "load": """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
scores = model.similarity(model.encode_query(["..."]), model.encode_document(["..."]))""",
}


def load(folder: str, **lengths: int) -> DenseRetriever:
    """Load one from its folder; `lengths` as for `jmlr.models.retriever.load_retriever`."""
    from jmlr.models.dense import DenseRetriever

    return DenseRetriever.load(folder, **lengths)


def fresh(encoder: Any, tokenizer: Any, depth: int) -> DenseRetriever:
    """Make one of an encoder; its vectors are as wide as the encoder."""
    from jmlr.models.dense import DenseRetriever

    del depth
    return DenseRetriever(encoder, tokenizer)
