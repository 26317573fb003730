"""ColBERT: one vector for each token, the score is MaxSim (jmlr.models.colbert; Khattab and Zaharia 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jmlr.models.colbert import ColbertRetriever
    from jmlr.models.folder import ModelFolder

SIMILARITIES = ("MaxSim",)
CARD = {
    "title": "ColBERT retriever",
    "library": "PyLate",
    "load": """from pylate.models import ColBERT                        # or: from sentence_transformers import MultiVectorEncoder

model = ColBERT("{name}")
queries, passages = model.encode(["..."], is_query=True), model.encode(["..."], is_query=False)""",
}


def recognised(folder: ModelFolder) -> bool:
    """Tell a PyLate directory (by its name there, or Dense and no Pooling) and a ColBERTv2 checkpoint."""
    return (
        folder.model_type == "ColBERT"
        or ("Dense" in folder.modules and "Pooling" not in folder.modules)
        or "HF_ColBERT" in folder.architectures
    )


def load(folder: str, **lengths: int) -> ColbertRetriever:
    """Load one from its folder; `lengths` as for `jmlr.models.retriever.load_retriever`."""
    from jmlr.models.colbert import ColbertRetriever

    return ColbertRetriever.load(folder, **lengths)


def fresh(encoder: Any, tokenizer: Any, depth: int) -> ColbertRetriever:
    """Make one of an encoder, with vectors of `depth` coordinates."""
    from jmlr.models.colbert import ColbertRetriever

    return ColbertRetriever.fresh(encoder, tokenizer, depth)
