"""Options of retrievers that have no vectors: of words, of other retrievers' lists, of a model that reads pairs; and of `rerank`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jmlr.options.base import Closed, Count, Name, Positive, Rate, numeric, option
from jmlr.runtime.precision import Precision


class Bm25Options(Closed):
    """Options of BM25, a retriever of words without a model (package bm25s)."""

    k1: Rate = option(1.5, "how far a word that is repeated in a passage goes on counting; Lucene: 0.9 or 1.2")
    b: Annotated[float, Field(ge=0, le=1), numeric] = option(
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


class PairOptions(Closed):
    """Options of `rerank`: how a cross-encoder reads a question with a passage."""

    pair_tokens: Count = option(0, "most tokens of a question with a passage; 0: what the model was made for")
    pair_batch_tokens: Positive = option(8192, "tokens per batch; pairs are sorted by length")
    pair_precision: Precision = option(
        "float32", "number format to compute in; bfloat16: where the hardware has it, else float32"
    )


class RerankOptions(PairOptions):
    """A retriever made of another: its best passages, ordered anew by a cross-encoder, which reads each with the question."""

    of: Name = option(..., "key of a model, or of a system that trained its retriever")
    path: Annotated[str, Field(min_length=1)] = option(
        ..., "local folder or hub name of a cross-encoder: a model for sequence classification with one label"
    )
    depth: Positive = option(100, "passages of a question that are read")
