"""Stage `prepare`: raw files -> passages, questions and reading documents, in one schema (columns: jmlr.corpus)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jmlr.options import CorpusOptions, DocumentsOptions, PrepareOptions, QuestionsOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.progress import say
from jmlr.runtime.validation import nearest


def prepare(out: Path, fetched: list[Path], options: PrepareOptions) -> None:
    """Turn raw files into passages.parquet, questions.parquet and documents.parquet, checked record by record.

    Args:
        out: folder to make
        fetched: outputs of `fetch`; the name of each folder is the name of the source
    """
    from jmlr.corpus import documents, passages, questions
    from jmlr.corpus.tables import TableWriter

    sources = {existing(f, "--fetched").name: f for f in fetched}
    for kind in ("corpora", "questions"):
        if not getattr(options, kind):
            raise UserError(f"prepare: no {kind}; allowed: at least one entry that names a source")
    with stage_output(out, "prepare", inputs={"fetched": fetched}, options=[options]) as (folder, notes):
        asked = _questions(sources, options.questions)
        gold = passages.Gold()
        for question in asked:
            gold.want(question["gold_ids"], question["gold_section"])
        with TableWriter(folder / "passages.parquet", passages.SCHEMA) as table:
            how = (options.passage_words, options.overlap_words, options.deduplicate)
            writer = passages.PassageWriter(table, *how, gold)
            notes["passages"] = _passages(writer, sources, options.corpora)
        notes["gold_not_in_corpus"] = _resolve(asked, gold, folder / "passages.parquet")
        with TableWriter(folder / "questions.parquet", questions.SCHEMA) as table:
            for question in asked:
                table.add(question)
        notes["questions"] = _counts(asked)
        with TableWriter(folder / "documents.parquet", documents.SCHEMA) as table:
            for part in options.documents:
                for document in _documents(sources, part, folder / "passages.parquet", options.seed):
                    table.add(document)
            notes["documents"] = table.count
        total = sum(n["passages"] for n in notes["passages"].values())
        say(f"prepare: {total:,} passages, {len(asked):,} questions, {notes['documents']:,} documents")


def _records(sources: dict[str, Path], source: str, pattern: str) -> Iterator[Any]:
    """Yield the records of a source's files."""
    from jmlr.corpus.records import files_of, read_records

    if source not in sources:
        raise UserError(f"prepare: --fetched has no source '{source}'{nearest(source, sources)}")
    return itertools.chain.from_iterable(read_records(f) for f in files_of(sources[source], pattern))


def _questions(sources: dict[str, Path], parts: list[QuestionsOptions]) -> list[dict[str, Any]]:
    from jmlr.corpus.fields import Fields
    from jmlr.corpus.questions import FIELDS, QuestionReader

    found: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    for part in parts:
        reader = QuestionReader(part.source, part.dataset, part.split, part.shares, part.open, ids)
        found += reader.read(_records(sources, part.source, part.file), Fields(FIELDS, part.fields))
    return found


def _passages(writer: Any, sources: dict[str, Path], parts: list[CorpusOptions]) -> dict[str, dict[str, int]]:
    from jmlr.corpus.fields import Fields
    from jmlr.corpus.passages import FIELDS

    counts: dict[str, Counter[str]] = {}
    for part in parts:
        fields = Fields(FIELDS, part.fields, part.include, part.exclude)
        added = writer.add(_records(sources, part.source, part.file), fields, part.source)
        counts.setdefault(part.source, Counter()).update(added)
    return {source: dict(c) for source, c in counts.items()}


def _resolve(asked: list[dict[str, Any]], gold: Any, passages: Path) -> int:
    """Put the ids of the passages of the table in place of the gold that was given; return how much of it is not there.

    Raises:
        UserError: a dataset gives gold and none of it is in the corpus: most likely ids of another edition.
    """
    names = gold.names(passages)
    given: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    missing = 0
    for question in asked:
        section = question.pop("gold_section")
        given[question["dataset"]] += len(question["gold_ids"]) + bool(section)
        missing += sum(not gold.ids[g] for g in question["gold_ids"]) + (bool(section) and not gold.sections[section])
        question["gold_ids"] = gold.passage_ids(question["gold_ids"], section, names)
        kept[question["dataset"]] += len(question["gold_ids"])
    for dataset in given:
        if given[dataset] and not kept[dataset]:
            raise UserError(
                f"{dataset}: none of its {given[dataset]} gold ids is the id (or section) of a passage; "
                "leave gold out, or take the corpus that it names"
            )
    return missing


def _counts(asked: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for question in asked:
        counts.setdefault(question["dataset"], Counter())[question["split"]] += 1
    return {dataset: dict(c) for dataset, c in counts.items()}


def _documents(sources: dict[str, Path], part: DocumentsOptions, passages: Path, seed: int) -> Iterator[dict[str, Any]]:
    from jmlr.corpus.cloze import cloze_documents
    from jmlr.corpus.documents import plain_documents, read_documents

    if part.source and (part.cloze or part.plain):
        what = "'cloze' and 'plain' make documents from the passages"
        raise UserError(f"prepare: documents: source '{part.source}': {what}; leave 'source' out")
    if not (part.source or part.cloze or part.plain):
        raise UserError("prepare: documents: an entry with nothing to read; allowed: 'source', 'cloze', 'plain'")
    if part.source:
        yield from read_documents(_records(sources, part.source, part.file), part.source)
    if part.plain:
        yield from plain_documents(passages)
    if part.cloze:
        yield from cloze_documents(passages, part.cloze, seed=seed)
