"""Options of `pretrain`, and of how models read, `encode`, `index` and `search`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jmlr.options.base import Closed, Count, Positive, Rate, numeric, option
from jmlr.options.prompts import PromptOptions, fields_of
from jmlr.options.retrievers import Bm25Options, FusionOptions, RerankOptions
from jmlr.runtime.precision import Precision

WITHOUT_WEIGHTS = ("bm25", "fusion", "rerank")  # kinds of retrievers that cannot be trained, each by its key


class PretrainOptions(Closed):
    """Options of `pretrain`: a language model or a retriever, from scratch or continued."""

    objective: Literal["causal", "inverse_cloze"] = option(
        "causal", "causal: next-token loss on the documents; inverse_cloze: a sentence finds its passage"
    )
    init: str = option(
        "",
        "path or hub name of the model to continue, or 'model:NAME', another model of the run; empty: from scratch, by `architecture`",
    )
    reads: Literal["documents", "passages"] = option(
        "documents", "causal: what it learns from; passages: the corpus itself as running text"
    )
    architecture: dict[str, Any] = option(
        dict, "Hugging Face configuration of a model from scratch, with its model_type"
    )
    tokenizer: str = option(
        "",
        "tokenizer file (tokenizer.json), folder or hub name; 'source:NAME/FILE': a fetched file; empty: trained on the documents",
    )
    vocab_size: Positive = option(8000, "size of a tokenizer trained on the documents")
    embedding_std: Rate = option(0.02, "standard deviation of fresh embeddings")
    induction_heads: bool = option(
        False,
        "causal, from scratch, Llama-like: half of the heads of the first two layers begin as a circuit that copies; a small "
        "model hardly finds it by itself in minutes, and one that cannot copy has nothing to say about passages",
    )
    steps: Positive = option(450, "optimiser steps; what `epochs` or `tokens` give goes before it")
    epochs: Rate = option(0.0, "causal: passes over the documents instead of `steps`; 0: as `steps` says")
    tokens: Count = option(0, "causal: a budget of tokens instead of `steps`; 0: as `steps` says")
    pack: bool = option(False, "causal: documents joined to rows of `max_tokens`, so that nothing is padded or cut")
    batch: Positive = option(32, "documents (causal) or sentence pairs (inverse_cloze) per step")
    max_tokens: Positive = option(512, "tokens of a document or passage; longer ones are cut and counted")
    learning_rate: Rate = option(2e-5, "of AdamW; a model from scratch wants 1e-3 and more")
    matrix_learning_rate: Rate = option(0.0, "causal: of Muon on the hidden matrices; 0: AdamW everywhere")
    weight_decay: Rate = option(0.01, "of AdamW")
    warmup_steps: Count = option(50, "linear warm-up; then linear decay to a twentieth")
    context_weight: Rate = option(1.0, "causal: loss weight of tokens outside a document's targets")
    shuffle: bool = option(True, "causal: draw documents at random; false: in their order (a curriculum)")
    noise_words: Count = option(0, "inverse_cloze: up to this many random words on each side of the query")
    temperature: Rate = option(0.07, "inverse_cloze: of the contrastive softmax")
    colbert_depth: Count = option(
        0, "inverse_cloze, from scratch: depth of a ColBERT's token vectors (the paper: 128); 0: a dense retriever"
    )
    pretrain_precision: Precision = option(
        "bfloat16", "number format to compute in; bfloat16: where the hardware has it, else float32"
    )
    gradient_checkpointing: bool = option(
        False, "causal: recompute activations in the backward pass: less memory, more time"
    )
    shard_llm: bool = option(
        False,
        "causal, several ranks: each holds a part of the weights, gradients and moments (FSDP2) instead of all of them; one "
        "process: nothing changes",
    )
    checkpoint_min: Annotated[float, Field(gt=0), numeric] = option(
        10.0, "causal: minutes between saves of the training state"
    )

    @model_validator(mode="after")
    def _one_budget(self) -> PretrainOptions:
        if self.epochs and self.tokens:
            raise ValueError("give either 'epochs' or 'tokens'")
        return self

    @model_validator(mode="after")
    def _of_its_objective(self) -> PretrainOptions:
        """Refuse what is of the other objective alone: its help begins with that objective's name."""
        other = "inverse_cloze" if self.objective == "causal" else "causal"
        for name, info in type(self).model_fields.items():
            own, value = (info.description or "").startswith((f"{other}:", f"{other},")), getattr(self, name)
            if name != "objective" and own and value != info.get_default(call_default_factory=True):
                raise ValueError(f"{name} {value!r} with objective {self.objective}: only {other} has it; leave it out")
        return self

    @model_validator(mode="after")
    def _whole_matrices(self) -> PretrainOptions:
        if self.shard_llm and self.matrix_learning_rate:
            raise ValueError(
                f"shard_llm with matrix_learning_rate {self.matrix_learning_rate:g}: Muon needs whole matrices; set one of the "
                "two to false or 0"
            )
        return self

    @property
    def reads_passages(self) -> bool:
        """Tell whether it learns from the passages themselves, and not from reading documents."""
        return self.objective == "inverse_cloze" or self.reads == "passages"


class ModelOptions(Closed):
    """A model to start from: ready-made, or made by `pretrain`; or a retriever that has no weights of its own."""

    path: str = option("", "local folder or hub name of a ready-made model")
    pretrain: PretrainOptions | None = option(None, "how `pretrain` makes it")
    bm25: Bm25Options | None = option(None, "a retriever of words, without a model: {} for BM25 by its defaults")
    fusion: FusionOptions | None = option(None, "a retriever made of others, whose lists it fuses")
    rerank: RerankOptions | None = option(None, "a retriever made of another, whose list a cross-encoder orders anew")

    @model_validator(mode="after")
    def _one_origin(self) -> ModelOptions:
        origins = bool(self.path) + (self.pretrain is not None) + bool(self.kind)
        if not origins and (empty := sorted(self.model_fields_set - {"path"})):
            raise ValueError(f"nothing stands after '{empty[0]}:'; {_to_write(empty[0])}")
        if origins != 1:
            over = ", and a file over another takes its 'path' away by path: \"\", its 'pretrain' by pretrain: null"
            other = f"; a retriever may have one of {', '.join(WITHOUT_WEIGHTS)} instead"
            raise ValueError(f"give either 'path' or 'pretrain'{other}{over if self.path else ''}")
        return self

    @property
    def kind(self) -> str:
        """The kind of a retriever without weights; "" for a model."""
        return " and ".join(k for k in WITHOUT_WEIGHTS if getattr(self, k) is not None)

    @property
    def lists(self) -> list[str]:
        """The retrievers whose lists it is made of."""
        return self.fusion.of if self.fusion else [self.rerank.of] if self.rerank else []

    @property
    def depth(self) -> int:
        """How many passages of each of these lists it takes, whatever it is asked for; 0: it has none."""
        made = self.fusion or self.rerank
        return made.depth if made else 0


def _to_write(key: str) -> str:
    """Say what an origin of a model needs at least."""
    origins: dict[str, type[Closed]] = {
        "pretrain": PretrainOptions, "bm25": Bm25Options, "fusion": FusionOptions, "rerank": RerankOptions
    }  # fmt: skip
    needed = [name for name, field in origins[key].model_fields.items() if field.is_required()]
    return f"it needs {', '.join(needed)}" if needed else f"write `{key}: {{}}` for its defaults"


class RetrievalOptions(Closed):
    """How a retriever reads: shared by encode and train."""

    query_options: bool = option(True, "append a question's options to the query")
    retriever_query_tokens: Count = option(
        0, "most tokens of a query (a ColBERT's queries are filled up to them); 0: what the retriever was made for"
    )
    retriever_search_query_tokens: Count = option(
        0, "most tokens of a query that candidates are searched with; 0: retriever_query_tokens"
    )
    retriever_passage_tokens: Count = option(0, "most tokens of a passage; 0: what the retriever was made for")

    @property
    def lengths(self) -> dict[str, Any]:
        """What a retriever cuts at in training, as `jmlr.models.retriever.load_retriever` takes it."""
        return {"query_tokens": self.retriever_query_tokens, "passage_tokens": self.retriever_passage_tokens}

    @property
    def search_lengths(self) -> dict[str, Any]:
        """The same where vectors are searched."""
        return {**self.lengths, "query_tokens": self.retriever_search_query_tokens or self.retriever_query_tokens}


class ReadingOptions(PromptOptions):
    """How a language model reads and answers: shared by train and answer."""

    llm_precision: Literal["float32", "bfloat16", "4bit"] = option(
        "float32", "how the language model's own weights are held; 4bit: QLoRA (needs the extra qlora)"
    )
    answer_form: Literal["text", "letter", "letter_text"] = option(
        "letter",
        "what is answered: the option's text, its letter, or 'A. text'; a question without options: always its text",
    )
    llm_passage_tokens: Positive = option(256, "most tokens of one passage in the prompt")
    llm_question_tokens: Positive = option(256, "most tokens of the question in the prompt (the end is kept)")
    llm_answer_tokens: Positive = option(32, "most tokens of the answer, the end-of-text token included")
    llm_tokens: Positive = option(
        2048, "most tokens of the whole prompt and answer; the worst passages are dropped first"
    )

    @model_validator(mode="after")
    def _letters_are_shown(self) -> ReadingOptions:
        if self.answer_form != "text" and "options" not in fields_of(self.question_prompt):
            raise ValueError(
                f"answer_form {self.answer_form}: a letter says nothing unless the options are shown; put {{options}} into "
                f"question_prompt (given: {self.question_prompt!r})"
            )
        return self


class EncodeOptions(Closed):
    """Options of `encode`."""

    batch_tokens: Positive = option(8192, "tokens per batch; texts are sorted by length")
    encode_precision: Precision = option(
        "float32", "number format to compute in; bfloat16: where the hardware has it, else float32"
    )


class IndexOptions(Closed):
    """Options of `index`."""

    storage: Literal["float32", "bfloat16", "int8"] = option(
        "float32", "what is scanned; results are the same bits for all"
    )
    originals: bool = option(
        True,
        "a ColBERT's tokens are kept in float32 beside what is scanned; false, of int8: their codes are all that is kept, in a "
        "fifth of the bytes, and scores are those of the rounded tokens",
    )

    @model_validator(mode="after")
    def _codes_say_it_all(self) -> IndexOptions:
        if not self.originals and self.storage != "int8":
            raise ValueError(f"originals: false with storage {self.storage}; allowed: int8")
        return self


class SearchOptions(Closed):
    """Options of `search`."""

    candidates: Positive = option(30, "passages per question (C)")
    exhaustive: bool = option(
        False,
        "a ColBERT: every token of every passage is scanned for every question; false: in two steps (docs/topk.md) where there "
        "are more than `exhaustive_passages` and more questions than `recall_sample`",
    )
    exhaustive_passages: Count = option(100_000, "a ColBERT: up to so many passages are searched exhaustively anyway")
    rerank_count: Positive = option(
        1000,
        "two steps: passages of each shard that the first hands to exact MaxSim; doubled until `recall` is reached",
    )
    recall: Annotated[float, Field(gt=0, le=1), numeric] = option(
        0.99, "two steps: share of the exhaustive search's C passages that they are to find, on average over the sample"
    )
    recall_sample: Positive = option(
        200, "two steps: questions, drawn at random, that are searched exhaustively too, to measure `recall`"
    )

    def in_two_steps(self, passages: int, questions: int) -> bool:
        """Tell whether a ColBERT searches so many passages for so many questions in two steps."""
        return not self.exhaustive and passages > self.exhaustive_passages and questions > self.recall_sample
