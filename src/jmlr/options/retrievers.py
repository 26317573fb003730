"""Options of retrievers that have no vectors: of words, of other retrievers' lists, of a model that reads pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jmlr.options.base import Closed, Count, Name, Positive, Rate, option


class Bm25Options(Closed):
    """Options of BM25, a retriever of words without a model (package bm25s)."""

    k1: Rate = option(1.5, "how far a word that is repeated in a passage goes on counting; Lucene: 0.9 or 1.2")
    b: Annotated[float, Field(ge=0, le=1)] = option(
        0.75, "how far a passage's length counts against it: 0 not at all, 1 in full"
    )
    language: Literal[
        "none", "danish", "dutch", "english", "french", "german", "italian", "norwegian", "portuguese", "russian",
        "spanish", "swedish", "turkish",
    ] = option("english", "whose stop words are left out, and whose words are stemmed (Snowball); none: every word as it stands")  # fmt: skip


class FusionOptions(Closed):
    """A retriever made of others: their lists, fused by reciprocal ranks (Cormack et al. 2009)."""

    of: list[Name] = option(..., "keys of models, or of systems that trained their retriever", min_length=2)
    rrf_k: Count = option(60, "a passage at rank r of a list gets 1 / (rrf_k + r); MedRAG's code: 100")
    depth: Positive = option(100, "passages of each list that are fused")
