"""Options of `fetch` and `prepare`: raw files, passages, questions, documents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jmlr.options.base import Closed, Count, Number, Positive, Whole, numeric, option

NameOrNone = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")]
Format = Literal[
    "", "jsonl", "json", "csv", "tsv", "parquet", "txt", "md", "html", "xml", "cnxml", "jats", "medquad", "pubmed"
]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Share = Annotated[float, Field(ge=0, le=1), numeric]


class DemoOptions(Closed):
    """The made-up medicine of the embedded demo (docs/demo.md)."""

    seed: Count = option(0, "seed of the world; the run's seeds are for models and training")
    train_entities: Positive = option(150, "diseases asked about in the training split")
    dev_entities: Positive = option(50, "diseases of the dev split, disjoint from the others")
    test_entities: Positive = option(100, "diseases of the test split, disjoint from the others")
    attributes: Annotated[int, Field(ge=2, le=8), numeric] = option(
        8, "facts about each disease (treatment, gene, sign, ...)"
    )
    families: Positive = option(10, "groups of values; the facts of a disease come from one group")
    questions_per_fact: Positive = option(2, "training questions about each fact")
    test_questions: Positive = option(400, "test questions, drawn from all facts of the test entities")
    documents: Count = option(14400, "reading documents for the pre-training of the language model")
    passages_per_document: Positive = option(4, "most passages in one reading document")
    notes_per_document: Positive = option(5, "question-and-answer notes at the end of one reading document")
    explanations: bool = option(
        False,
        "questions have an explanation that states the fact and cites its passage; documents number their passages and cite",
    )


class SourceOptions(Closed):
    """Where raw files come from."""

    origin: Literal["demo", "local", "hub", "url"] = option(
        "local", "demo: generated; local: files on this machine; hub: a Hugging Face dataset; url: downloads"
    )
    path: str = option("", "local: file or folder; hub: dataset id; url: address of a file, or of a folder of `files`")
    files: list[str] = option(
        list, "local: glob patterns of the files to take from a folder; url: names below the address; empty: all"
    )
    subset: str = option("", "hub: the configuration name of the dataset")
    revision: str = option("", "hub: commit or tag, so that the data cannot change under a run")
    sha256: dict[str, str] = option(dict, "expected SHA-256 by file name; a difference is an error")
    private: bool = option(
        False, "texts that must not leave this machine, such as clinical notes: local only, never shown in the report"
    )
    demo: DemoOptions = option(DemoOptions, "settings of the generated world (origin: demo)")


class _ReadOptions(Closed):
    """How records are read, whatever they become."""

    source: NameOrNone = option("", "name of the source; empty: that of the card")
    file: str = option("*", "glob pattern of its files")
    encoding: str = option("utf-8", "of text files; Excel's CSV is often cp1252")
    format: Format = option(
        "", "of files, or members of archives, whose names do not tell it; empty: by their names (docs/data.md)"
    )
    delimiter: Annotated[str, Field(pattern=r'^([^\r\n"]|tab|\\t)?$')] = option(
        "", "of CSV and TSV files, where it is another: ';', '|', tab; empty: ',', in TSV tab"
    )
    columns: list[str] = option(list, "names of the columns of CSV and TSV files without a header")
    records: str = option(
        "",
        "where records stand in JSON: exams.*.data, * for each key or element; $: the file is one; empty: by its form. "
        "Of OpenStax's books: passages, glossary, or a class of exercises such as multiple-choice",
    )
    texts_sha256: Sha256 = option(
        "",
        "expected digest of the records that `file` names, whatever their order and compression; a difference is an error",
    )
    adapter: str = option(
        "", "makes records of a published form (a function of jmlr.corpus.adapters) or of one's own: 'module:function'"
    )
    include: dict[str, list[str]] = option(dict, "keep only records whose field matches one of these values")
    exclude: dict[str, list[str]] = option(dict, "drop records whose field matches one of these values")
    clean: bool = option(
        False, "take out HTML tags, resolve entities, drop invisible characters, fix UTF-8 that was read as cp1252"
    )
    make_ids: bool = option(False, "number the records: they have no ids of their own")
    count_check: Literal["error", "warn"] = option("error", "what another number of records than expected is")


class CorpusOptions(_ReadOptions):
    """Passages from one fetched source."""

    corpus: str = option("", "a card: the name of a file of config/corpora, or the path of one's own; then no source")
    fields: dict[str, str] = option(dict, "our field -> theirs, where they differ; ours: id, title, text, section")
    headings: bool = option(False, "texts have Markdown headings: no passage crosses one, and it joins the title")
    skip_empty: bool = option(
        False, "pass over records without a text (explanations that are missing), and empty documents"
    )
    count: Count = option(0, "expected number of records, before any filter; 0: not checked")


class QuestionsOptions(_ReadOptions):
    """Questions from one fetched source."""

    dataset: str = option(
        "",
        "name of the dataset in tables; empty: the record's own, else the source's name. Without a source it is a card: "
        "the name of a file of config/datasets, or the path of one's own",
    )
    files: dict[str, str] = option(dict, "split -> glob pattern of its files, instead of `file` and `split`")
    split: str = option(
        "", "split of all records; empty: the record's own; 'hash': by SHA-256 of the id, as `shares` says"
    )
    shares: dict[str, Number] = option(
        lambda: {"train": 0.6, "dev": 0.1, "test": 0.3}, "shares of the splits where split is 'hash'"
    )
    split_ids: dict[str, str] = option(
        dict, "split -> 'SOURCE/FILE' with the ids that belong to it, whatever `split` says"
    )
    splits: list[str] = option(list, "splits to take; empty: all")
    counts: dict[str, Whole] = option(
        dict, "split, or dataset/split -> expected number of usable questions; those not named are not checked"
    )
    open: bool = option(False, "questions without options (a term, a short answer) are allowed")
    distractors: Count = option(
        0,
        "make open questions multiple choice, with so many answers of other questions of the same gold section (else "
        "subject) as wrong options; where there are too few, a question stays open",
    )
    retrieval: bool = option(
        False, "questions without options and without an answer are allowed: they count for retrieval alone"
    )
    qrels: str = option(
        "",
        "'SOURCE/FILE' (a glob pattern) of judgements, in BEIR's or TREC's form, that give the gold passages and their "
        "grades; a query's split is `split`, or the name of the file that judges it",
    )
    choices: list[str] = option(list, "the options of every question, where records have none: yes, no, maybe")
    answer_index: Literal["auto", "from_0", "from_1"] = option(
        "auto",
        "what a number as answer means; auto: a key or the text of an option, else an index from 0, if one is 0",
    )
    same_text: Literal["error", "first"] = option(
        "error", "another option has the right one's text; first: the first of them is the answer"
    )
    several_answers: Literal["unusable", "first"] = option(
        "unusable", "a question with several right answers; first: the first that it names is the answer"
    )
    same_id: Literal["error", "first"] = option(
        "error",
        "an id that another file of the entry had before; first: the first of them counts, in the order of `files`",
    )
    gold_check: Literal["error", "warn"] = option(
        "error", "what it is where no gold passage of a dataset is in the corpus; warn: the dataset has no gold then"
    )
    unusable: Literal["error", "drop"] = option(
        "error", "a question without usable options or answer; drop: list it in dropped.parquet and go on"
    )
    most_unusable: Share = option(0.03, "share of a split that may be dropped as unusable; more is an error")
    fields: dict[str, str] = option(
        dict,
        "our field -> theirs; ours: id, question, options, answer, answer_text, explanation, subject, split, gold_ids (ids of "
        "passages or of their sections), gold_grades, gold_section; theirs may be a path (answers.*.text), and 'a, b, c' takes "
        "several fields as a list",
    )


class DocumentsOptions(Closed):
    """Reading matter for pre-training a language model."""

    source: str = option("", "name of a source of JSONL records {text, targets}; empty: made from the passages")
    file: str = option("*", "glob pattern of its files")
    cloze: Count = option(
        0, "number of documents made from the passages: passages, then a sentence of one of them with a gap"
    )
    plain: bool = option(False, "the passages themselves, as running text")


class DecontaminateOptions(Closed):
    """Passages and questions that contain a test question, found by n-grams of words and dropped (docs/data.md)."""

    splits: list[str] = option(
        list, "splits whose questions must not be in passages, documents and other splits; empty: no check"
    )
    passage_ngram: Positive = option(13, "words of an n-gram in passages and documents")
    question_ngram: Positive = option(8, "words of an n-gram in questions of other splits")
    share: Share = option(0.5, "share of a test question's n-grams that makes a text contain it")


class PrepareOptions(Closed):
    """Options of `prepare`."""

    corpora: list[CorpusOptions] = option(lambda: [CorpusOptions(source="documents")], "the passages, in this order")
    questions: list[QuestionsOptions] = option(
        lambda: [QuestionsOptions(source="questions", split="hash")], "the questions, in this order"
    )
    documents: list[DocumentsOptions] = option(
        lambda: [DocumentsOptions(plain=True)],
        "what language models are pre-trained on, in this order; made only where a model of the run is",
    )
    chunk_words: Count = option(
        160, "cut passages longer than this many words (some 256 tokens) at sentence ends; 0: leave them"
    )
    chunk_overlap_words: Count = option(0, "words repeated at the start of the next piece")
    chunk_tokens: Count = option(0, "the same by tokens of `tokenizer`; 0: by words")
    chunk_overlap_tokens: Count = option(0, "tokens repeated at the start of the next piece")
    tokenizer: str = option("", "tokenizer.json, the folder of one, or a hub name: what chunk_tokens counts in")
    repeated: Literal["keep", "once"] = option(
        "keep",
        "questions that a set asks more than once are told, and: keep them, or once: the first of them alone "
        "(none, where their answers differ)",
    )
    deduplicate: bool = option(True, "drop passages whose normalised text is already there")
    near_duplicates: Share = option(
        0.0, "drop passages this similar to one before (Jaccard of 5-word shingles, MinHash; 0.7 to 1); 0: no check"
    )
    decontaminate: DecontaminateOptions = option(DecontaminateOptions, "no test question in what is learnt from")
    seed: Count = option(0, "seed of the cloze documents and of distractors")

    def known_splits(self) -> set[str]:
        """Return the splits that the questions can be of, as far as the options tell; nothing where records say their own."""
        found: set[str] = set()
        for part in self.questions:
            fixed = {*part.files} or ({*part.shares} if part.split == "hash" else {part.split})
            if "" in fixed or part.qrels:
                return set()
            own = fixed | {*part.split_ids}
            found |= own.intersection(part.splits) if part.splits else own
        return found
