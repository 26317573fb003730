"""Options of `fetch` and `prepare`: raw files, passages, questions, documents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jmlr.options.base import Closed, Count, Name, Positive, option


class DemoOptions(Closed):
    """The made-up medicine of the embedded demo (docs/demo.md)."""

    seed: Count = option(0, "seed of the world; the run's seeds are for models and training")
    train_entities: Positive = option(150, "diseases asked about in the training split")
    dev_entities: Positive = option(50, "diseases of the dev split, disjoint from the others")
    test_entities: Positive = option(100, "diseases of the test split, disjoint from the others")
    attributes: Annotated[int, Field(ge=2, le=8)] = option(8, "facts about each disease (treatment, gene, sign, ...)")
    families: Positive = option(10, "groups of values; the facts of a disease come from one group")
    questions_per_fact: Positive = option(2, "training questions about each fact")
    test_questions: Positive = option(400, "test questions, drawn from all facts of the test entities")
    documents: Count = option(14400, "reading documents for the pre-training of the language model")
    passages_per_document: Positive = option(4, "most passages in one reading document")
    notes_per_document: Positive = option(5, "question-and-answer notes at the end of one reading document")


class SourceOptions(Closed):
    """Where raw files come from."""

    origin: Literal["demo", "local", "hub", "url"] = option(
        "local", "demo: generated; local: files on this machine; hub: a Hugging Face dataset; url: downloads"
    )
    path: str = option("", "local: file or folder; hub: dataset id; url: address of the file")
    files: list[str] = option(list, "glob patterns of the files to take from a local folder; empty: all")
    subset: str = option("", "hub: the configuration name of the dataset")
    revision: str = option("", "hub: commit or tag, so that the data cannot change under a run")
    sha256: dict[str, str] = option(dict, "expected SHA-256 by file name; a difference is an error")
    demo: DemoOptions = option(DemoOptions, "settings of the generated world (origin: demo)")


class CorpusOptions(Closed):
    """Passages from one fetched source."""

    source: Name = option(..., "name of the source")
    file: str = option("*", "glob pattern of its files")
    fields: dict[str, str] = option(dict, "our field -> theirs, where they differ; ours: id, title, text, section")
    include: dict[str, list[str]] = option(dict, "keep only records whose field has one of these values")
    exclude: dict[str, list[str]] = option(dict, "drop records whose field matches one of these values")


class QuestionsOptions(Closed):
    """Questions from one fetched source."""

    source: Name = option(..., "name of the source")
    file: str = option("*", "glob pattern of its files")
    dataset: str = option("", "name of the dataset in tables; empty: the record's own, else the source's name")
    split: str = option(
        "", "split of all records; empty: the record's own; 'hash': by SHA-256 of the id, as `shares` says"
    )
    shares: dict[str, float] = option(
        lambda: {"train": 0.6, "dev": 0.1, "test": 0.3}, "shares of the splits where split is 'hash'"
    )
    open: bool = option(False, "questions without options (a term, a short answer) are allowed")
    fields: dict[str, str] = option(
        dict, "our field -> theirs; ours: id, question, options, answer, explanation, gold_ids, subject"
    )


class DocumentsOptions(Closed):
    """Reading matter for pre-training a language model."""

    source: str = option("", "name of a source of JSONL records {text, targets}; empty: made from the passages")
    file: str = option("*", "glob pattern of its files")
    cloze: Count = option(
        0, "number of documents made from the passages: passages, then a sentence of one of them with a gap"
    )
    plain: bool = option(False, "the passages themselves, as running text")


class PrepareOptions(Closed):
    """Options of `prepare`."""

    corpora: list[CorpusOptions] = option(
        lambda: [CorpusOptions(source="world", file="passages.jsonl")], "the passages, in this order"
    )
    questions: list[QuestionsOptions] = option(
        lambda: [QuestionsOptions(source="world", file="questions.jsonl")], "the questions, in this order"
    )
    documents: list[DocumentsOptions] = option(
        lambda: [DocumentsOptions(source="world", file="documents.jsonl")],
        "what language models are pre-trained on, in this order",
    )
    passage_words: Count = option(0, "cut passages longer than this many words at sentence ends; 0: leave them")
    overlap_words: Count = option(0, "words repeated at the start of the next piece")
    deduplicate: bool = option(True, "drop passages whose normalised text is already there")
    seed: Count = option(0, "seed of the cloze documents")
