"""The configuration: typed, closed, and the single source of defaults, help texts, `config/config.yaml` and its schema.

The defaults are the embedded demo, so an empty configuration runs it; `config/runs/*.yaml` state what differs. A section
that is a mapping of names (sources, models, systems) is replaced as a whole, never merged. Every `*Options` model is also
the command-line options of one stage: the workflow writes them out in full, so a shell line can be copied and run by hand.

    >>> Config().systems["jmlr"].title
    'JMLR'
    >>> Config.load({"trian": {}})
    Traceback (most recent call last):
    jmlr.config.ConfigError: config: unknown key 'trian' (did you mean 'train'?)
"""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jmlr.runtime.validation import nearest, one_line

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ConfigError(ValueError):
    """A wrong configuration; the message is one line that names the key and what is allowed."""


class Closed(BaseModel):
    """A model that refuses unknown keys and cannot be changed after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _(default: Any, description: str, **rules: Any) -> Any:
    return (
        Field(default_factory=default, description=description, **rules)
        if callable(default)
        else Field(default, description=description, **rules)
    )


# ---------------------------------------------------------------------------------------------------------------- data
class DemoOptions(Closed):
    """The made-up medicine of the embedded demo (docs/demo.md)."""

    seed: Count = _(0, "seed of the world; the run's seeds are for models and training")
    train_entities: Positive = _(150, "diseases asked about in the training split")
    dev_entities: Positive = _(50, "diseases of the dev split, disjoint from the others")
    test_entities: Positive = _(100, "diseases of the test split, disjoint from the others")
    attributes: Annotated[int, Field(ge=2, le=8)] = _(8, "facts about each disease (treatment, gene, sign, ...)")
    families: Positive = _(10, "groups of values; the facts of a disease come from one group")
    questions_per_fact: Positive = _(2, "training questions about each fact")
    test_questions: Positive = _(400, "test questions, drawn from all facts of the test entities")
    documents: Count = _(14400, "reading documents for the pre-training of the language model")
    passages_per_document: Positive = _(4, "most passages in one reading document")
    notes_per_document: Positive = _(5, "question-and-answer notes at the end of one reading document")


class SourceOptions(Closed):
    """Where raw files come from."""

    origin: Literal["demo", "local", "hub", "url"] = _(
        "local", "demo: generated; local: files on this machine; hub: a Hugging Face dataset; url: downloads"
    )
    path: str = _("", "local: file or folder; hub: dataset id; url: address of the file")
    files: list[str] = _(list, "glob patterns of the files to take from a local folder; empty: all")
    subset: str = _("", "hub: the configuration name of the dataset")
    revision: str = _("", "hub: commit or tag, so that the data cannot change under a run")
    sha256: dict[str, str] = _(dict, "expected SHA-256 by file name; a difference is an error")
    demo: DemoOptions = _(DemoOptions, "settings of the generated world (origin: demo)")


class CorpusOptions(Closed):
    """Passages from one fetched source."""

    source: Name = _(..., "name of the source")
    file: str = _("*", "glob pattern of its files")
    fields: dict[str, str] = _(dict, "our field -> theirs, where they differ; ours: id, title, text, section")
    include: dict[str, list[str]] = _(dict, "keep only records whose field has one of these values")
    exclude: dict[str, list[str]] = _(dict, "drop records whose field matches one of these values")


class QuestionsOptions(Closed):
    """Questions from one fetched source."""

    source: Name = _(..., "name of the source")
    file: str = _("*", "glob pattern of its files")
    dataset: str = _("", "name of the dataset in tables; empty: the record's own, else the source's name")
    split: str = _("", "split of all records; empty: the record's own; 'hash': by SHA-256 of the id, as `shares` says")
    shares: dict[str, float] = _(
        lambda: {"train": 0.6, "dev": 0.1, "test": 0.3}, "shares of the splits where split is 'hash'"
    )
    open: bool = _(False, "questions without options (a term, a short answer) are allowed")
    fields: dict[str, str] = _(
        dict, "our field -> theirs; ours: id, question, options, answer, explanation, gold_ids, subject"
    )


class DocumentsOptions(Closed):
    """Reading matter for pre-training a language model."""

    source: str = _("", "name of a source of JSONL records {text, targets}; empty: made from the passages")
    file: str = _("*", "glob pattern of its files")
    cloze: Count = _(
        0, "number of documents made from the passages: passages, then a sentence of one of them with a gap"
    )
    plain: bool = _(False, "the passages themselves, as running text")


class PrepareOptions(Closed):
    """Options of `prepare`."""

    corpora: list[CorpusOptions] = _(
        lambda: [CorpusOptions(source="world", file="passages.jsonl")], "the passages, in this order"
    )
    questions: list[QuestionsOptions] = _(
        lambda: [QuestionsOptions(source="world", file="questions.jsonl")], "the questions, in this order"
    )
    documents: list[DocumentsOptions] = _(
        lambda: [DocumentsOptions(source="world", file="documents.jsonl")],
        "what language models are pre-trained on, in this order",
    )
    passage_words: Count = _(0, "cut passages longer than this many words at sentence ends; 0: leave them")
    overlap_words: Count = _(0, "words repeated at the start of the next piece")
    deduplicate: bool = _(True, "drop passages whose normalised text is already there")
    seed: Count = _(0, "seed of the cloze documents")


# -------------------------------------------------------------------------------------------------------------- models
class PretrainOptions(Closed):
    """Options of `pretrain`: a language model or a retriever, from scratch or continued."""

    objective: Literal["causal", "inverse_cloze"] = _(
        "causal", "causal: next-token loss on the documents; inverse_cloze: a sentence finds its passage"
    )
    init: str = _("", "path or hub name of the model to continue; empty: from scratch, by `architecture`")
    architecture: dict[str, Any] = _(dict, "Hugging Face configuration of a model from scratch, with its model_type")
    tokenizer: str = _(
        "",
        "tokenizer file (tokenizer.json), folder or hub name; 'source:NAME/FILE': a fetched file; empty: trained on the documents",
    )
    vocab_size: Positive = _(8000, "size of a tokenizer trained on the documents")
    embedding_std: Rate = _(0.02, "standard deviation of fresh embeddings")
    steps: Positive = _(450, "optimiser steps")
    batch: Positive = _(32, "documents (causal) or sentence pairs (inverse_cloze) per step")
    max_tokens: Positive = _(512, "tokens of a document or passage; longer ones are cut and counted")
    learning_rate: Rate = _(5e-3, "of AdamW")
    matrix_learning_rate: Rate = _(0.0, "of Muon on the hidden matrices; 0: AdamW everywhere")
    weight_decay: Rate = _(0.01, "of AdamW")
    warmup_steps: Count = _(50, "linear warm-up; then linear decay to a twentieth")
    context_weight: Rate = _(1.0, "loss weight of tokens outside a document's targets")
    shuffle: bool = _(True, "draw documents at random; false: in their order (a curriculum)")
    noise_words: Count = _(0, "inverse_cloze: up to this many random words on each side of the query")
    temperature: Rate = _(0.07, "inverse_cloze: of the contrastive softmax")
    bf16: bool = _(True, "compute in bfloat16 where the hardware has it")


class ModelOptions(Closed):
    """A model to start from: ready-made, or made by `pretrain`."""

    path: str = _("", "local folder or hub name of a ready-made model")
    pretrain: PretrainOptions | None = _(None, "how `pretrain` makes it")

    @model_validator(mode="after")
    def _one_origin(self) -> ModelOptions:
        if bool(self.path) == (self.pretrain is not None):
            raise ValueError("give either 'path' or 'pretrain'")
        return self


def _demo_models() -> dict[str, ModelOptions]:
    llama = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512, "tie_word_embeddings": True}  # fmt: skip
    bert = {"model_type": "bert", "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4,
            "max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    vocabulary = "source:world/tokenizer.json"
    return {
        "llm": ModelOptions(pretrain=PretrainOptions(
            architecture=llama, tokenizer=vocabulary, embedding_std=0.1, matrix_learning_rate=0.03, context_weight=0.01, shuffle=False)),
        "retriever": ModelOptions(pretrain=PretrainOptions(
            objective="inverse_cloze", architecture=bert, tokenizer=vocabulary, steps=200, batch=128, max_tokens=64, learning_rate=2e-3,
            warmup_steps=20, noise_words=6, bf16=False)),
    }  # fmt: skip


class RetrievalOptions(Closed):
    """How a retriever reads: shared by encode and train."""

    query_options: bool = _(False, "append a question's options to the query")
    query_tokens: Positive = _(64, "most tokens of a query")
    passage_tokens: Positive = _(64, "most tokens of a passage")


class ReadingOptions(Closed):
    """How a language model reads and answers: shared by train and answer."""

    passage_prompt: str = _("Reference: {passage}\n", "introduces one passage; '{title}' may be used")
    question_prompt: str = _("Question: {question}\n", "the question; '{options}' may be used: 'A. ...' lines")
    answer_prompt: str = _("Answer:", "the last words before the answer")
    answer_form: Literal["text", "letter", "letter_text"] = _(
        "text", "what is answered: the option's text, its letter, or 'A. text'"
    )
    llm_passage_tokens: Positive = _(64, "most tokens of one passage in the prompt")
    llm_question_tokens: Positive = _(128, "most tokens of the question in the prompt (the end is kept)")
    llm_answer_tokens: Positive = _(16, "most tokens of the answer, the end-of-text token included")
    llm_tokens: Positive = _(512, "most tokens of the whole prompt and answer; the worst passages are dropped first")


class EncodeOptions(Closed):
    """Options of `encode`."""

    batch_tokens: Positive = _(8192, "tokens per batch; texts are sorted by length")
    encode_bf16: bool = _(False, "encode in bfloat16 where the hardware has it")


class IndexOptions(Closed):
    """Options of `index`."""

    storage: Literal["float32", "bfloat16", "int8"] = _("float32", "what is scanned; results are the same bits for all")


class SearchOptions(Closed):
    """Options of `search`."""

    candidates: Positive = _(30, "passages per question (C)")


class TrainOptions(Closed):
    """Options of `train`: one system's fine-tuning. The defaults are the demo's; METHOD letters in brackets."""

    target: Literal["frozen", "llm_rank", "pdist", "emdr2"] = _(
        "frozen", "what the retriever learns from the LLM's losses"
    )
    passages: Count = _(3, "passages given to the LLM (K); 0: closed book")
    samples: Positive = _(10, "passages the LLM judges (S)")
    sampling: Literal["softmax", "top"] = _("softmax", "how the judged passages are chosen among the candidates")
    sampling_temperature: Annotated[float, Field(gt=0)] = _(
        1.0, "of the sampling softmax over scores scaled to [-1, 1]; the paper: 1"
    )
    rank_weight: Rate = _(1.0, "weight of the retriever's loss (lambda)")
    target_temperature: Annotated[float, Field(gt=0)] = _(0.5, "pdist: of the softmax over the LLM's losses")
    score_temperature: Annotated[float, Field(gt=0)] = _(
        0.1, "pdist, emdr2: of the softmax over the retriever's scores"
    )
    prior_weight: Rate = _(0.0, "nats that a unit of the index's score is worth to a passage, beside the LLM's loss")
    passage_order: Literal["best_last", "best_first", "shuffled"] = _(
        "shuffled", "order of the K passages in the prompt while training; the paper: best_last"
    )
    rank_after_steps: Count = _(0, "steps with the LM loss alone before the retriever's loss sets in")
    steps: Positive = _(300, "optimiser steps, over all rounds")
    batch: Positive = _(16, "questions per optimiser step (B)")
    micro_batch: Count = _(0, "questions per forward pass; 0: the whole batch")
    llm_learning_rate: Rate = _(2e-3, "of the adapter")
    retriever_learning_rate: Rate = _(1e-3, "of the retriever")
    weight_decay: Rate = _(0.0, "of AdamW, on matrices only")
    warmup_steps: Count = _(10, "linear warm-up; then linear decay to a tenth at the last step of the last round")
    llm_clip_norm: Rate = _(1.0, "largest gradient norm of the LLM; 0: no clipping")
    retriever_clip_norm: Rate = _(0.0, "largest gradient norm of the retriever; 0: no clipping")
    lora_rank: Positive = _(8, "of the LoRA adapter")
    lora_alpha: Positive = _(16, "of the LoRA adapter")
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = _(0.0, "of the LoRA adapter")
    lora_targets: list[str] = _(
        lambda: ["all-linear"], "modules that get an adapter; ['all-linear']: every linear layer but the head"
    )
    train_modules: list[str] = _(list, "modules trained in full beside the adapter, e.g. embed_tokens, norm")
    train_bf16: bool = _(False, "compute in bfloat16 where the hardware has it")
    gradient_checkpointing: bool = _(False, "recompute activations in the backward pass: less memory, more time")
    checkpoint_min: Annotated[float, Field(gt=0)] = _(10.0, "minutes between saves of the training state")


class AnswerOptions(Closed):
    """Options of `answer`."""

    splits: list[str] = _(lambda: ["test"], "splits whose questions are answered")
    option_score: Literal["sum", "mean"] = _(
        "sum", "an option's score: the sum or the mean of its tokens' log-probabilities"
    )
    answer_batch: Positive = _(32, "questions per batch")


class EvaluateOptions(Closed):
    """Options of `evaluate`."""

    retrieval_k: list[Positive] = _(lambda: [1, 3, 5, 10, 30], "cut-offs of hit@k and recall@k")
    bootstrap: Positive = _(2000, "bootstrap samples for the 95 % intervals")


class ReportOptions(Closed):
    """Options of `report`."""

    title: str = _("", "title of the report; empty: the run's name")
    remark: str = _("", "one paragraph that says what this run can and cannot show")
    command: str = _("", "the command that makes the run, as the report shows it; empty: by config/runs/{run}.yaml")
    examples: Count = _(
        3, "questions shown, with passages, that joint training changed; 0 where texts must not leave the corpus"
    )


# ------------------------------------------------------------------------------------------------------------- systems
class SystemOptions(Closed):
    """A row of the table: what distinguishes one system from the others, as data."""

    title: str = _(..., "name in tables")
    llm: Name = _("llm", "model it starts from (a key of models)")
    retriever: Name = _("retriever", "retriever it starts from (a key of models)")
    rounds: Positive = _(1, "rounds of training, with a fresh index after each")
    train: dict[str, Any] = _(dict, "what differs from the section train")


def _demo_systems() -> dict[str, SystemOptions]:
    joint = {"target": "llm_rank", "sampling_temperature": 0.2, "retriever_learning_rate": 2e-3}
    return {
        "closed_book": SystemOptions(title="Closed book", train={"passages": 0}),
        "rag": SystemOptions(title="RAG (retriever frozen)"),
        "jmlr": SystemOptions(title="JMLR", rounds=3, train=joint),
    }


class Config(Closed):
    """One run."""

    run: Name = _("demo", "name of the run and of its folder under results/")
    seeds: list[Count] = _(lambda: [0], "one training of every system for each", min_length=1)
    sources: dict[Name, SourceOptions] = _(lambda: {"world": SourceOptions(origin="demo")}, "raw data by name")
    prepare: PrepareOptions = _(PrepareOptions, "from raw files to one schema")
    models: dict[Name, ModelOptions] = _(_demo_models, "models to start from, by name")
    retrieval: RetrievalOptions = _(RetrievalOptions, "how a retriever reads")
    reading: ReadingOptions = _(ReadingOptions, "how a language model reads and answers")
    encode: EncodeOptions = _(EncodeOptions, "from texts to vectors")
    shards: Positive = _(1, "parts in which the passages are encoded, as separate jobs")
    index: IndexOptions = _(IndexOptions, "from vectors to an index")
    search: SearchOptions = _(SearchOptions, "the best passages of every question")
    train: TrainOptions = _(TrainOptions, "fine-tuning, common to all systems")
    systems: dict[Name, SystemOptions] = _(_demo_systems, "rows of the table")
    answer: AnswerOptions = _(AnswerOptions, "one answer per question")
    evaluate: EvaluateOptions = _(EvaluateOptions, "metrics with intervals")
    report: ReportOptions = _(ReportOptions, "the page")

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        known = set(self.sources)
        p = self.prepare
        for source in [
            *(c.source for c in p.corpora),
            *(q.source for q in p.questions),
            *(d.source for d in p.documents),
        ]:
            if source and source not in known:
                raise ValueError(f"prepare: no source '{source}'{nearest(source, known)}")
        for name, system in self.systems.items():
            if name in self.models:
                raise ValueError(f"systems.{name}: a model has this name already; both become folders under results/")
            for key in (system.llm, system.retriever):
                if key not in self.models:
                    raise ValueError(f"systems.{name}: no model '{key}'{nearest(key, self.models)}")
            try:
                self.train_options(name)
            except ValidationError as error:
                raise ValueError(f"systems.{name}.train: {one_line(error, TrainOptions)}") from None
        return self

    def train_options(self, system: str) -> TrainOptions:
        """Return the training options of a system: the common ones with its own on top."""
        return TrainOptions.model_validate({**self.train.model_dump(), **self.systems[system].train})

    @classmethod
    def load(cls, data: dict[str, Any]) -> Config:
        """Check a mapping (of parsed YAML); raise ConfigError with one line per fault, naming the nearest valid key."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError("config: " + one_line(error, cls)) from None


def flags(*models: BaseModel) -> str:
    """Write options models as command-line options in full, quoted for a shell: the inverse of jmlr.__main__."""
    words = []
    for model in models:
        for field, value in model.model_dump(mode="json").items():
            option = "--" + field.replace("_", "-")
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
                words.append(f"{option}={shlex.quote(text)}")
    return " ".join(words)
