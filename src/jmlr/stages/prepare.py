"""Stage `prepare`: raw files -> passages, questions and reading documents, in one schema (columns: jmlr.corpus)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jmlr.corpus.quotes import closest, hidden, known_as, quoted
from jmlr.options import (
    DEFAULT_PROMPTS,
    CorpusOptions,
    DecontaminateOptions,
    DocumentsOptions,
    PrepareOptions,
    PromptOptions,
    QuestionsOptions,
)
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import NAME, read_manifest, stage_output
from jmlr.runtime.progress import say, warn
from jmlr.runtime.validation import nearest

Row = dict[str, Any]


def prepare(out: Path, fetched: list[Path], options: PrepareOptions, prompts: PromptOptions = DEFAULT_PROMPTS) -> None:
    """Turn raw files into passages.parquet, questions.parquet and documents.parquet, checked record by record.

    dropped.parquet lists, without their texts, what contains a test question and which questions are unusable.

    Args:
        out: folder to make
        fetched: outputs of `fetch`; the name of each folder is the name of the source

    Example:
        jmlr prepare --out tables/prepared --fetched tables/mine --documents '[]' --corpora '[{"source": "mine", "file": "documents/*"}]' \\
            --questions '[{"source": "mine", "file": "exam.csv", "split": "hash", "fields": {"answer": "key", "options": "a, b, c, d"}}]'
    """
    from jmlr.corpus import contamination, documents, questions
    from jmlr.corpus.adapted import adapter_of
    from jmlr.corpus.tables import TableWriter

    sources = {existing(f, "--fetched").name: f for f in fetched}
    private = any((f / NAME).is_file() and read_manifest(f).get("options", {}).get("private") for f in fetched)
    if not options.questions:
        raise UserError("prepare: no questions; allowed: at least one entry that names a source")
    for name in filter(None, (part.adapter for part in (*options.corpora, *options.questions))):
        adapter_of(name)  # a typing error is said before hours of reading
    with (
        hidden(private),
        stage_output(out, "prepare", inputs={"fetched": fetched}, options=[options, prompts]) as (folder, notes),
        TableWriter(folder / "dropped.parquet", contamination.DROPPED) as table_of_dropped,
    ):

        def dropped(row: Row) -> None:
            table_of_dropped.add({**row, "id": known_as(row["id"]), "test_id": known_as(row["test_id"])})

        asked, notes["private"] = _questions(sources, options.questions, options.seed, dropped), private
        asked, notes["repeated"] = _repeats(asked, options.repeated == "once", dropped)
        tests = _tests(asked, options.decontaminate)
        asked = _without_tests(asked, tests, options.decontaminate, dropped)
        notes["in_several_splits"], told = _in_several_splits(asked)
        if not options.corpora:  # a closed book: the gold that questions name is not there
            asked = [{**question, "gold_ids": [], "gold_grades": [], "gold_section": ""} for question in asked]
        notes["passages"], notes["gold_not_in_corpus"] = _passages(folder, sources, asked, options, tests, dropped)
        with TableWriter(folder / "questions.parquet", questions.SCHEMA) as table:
            for question in asked:
                table.add(question)
        notes["questions"] = _counts(asked)
        with TableWriter(folder / "documents.parquet", documents.SCHEMA) as table:
            for part in options.documents:
                for document in _documents(sources, part, folder / "passages.parquet", options.seed, prompts):
                    if tests and part.source and (match := tests.in_text(document["text"])):
                        dropped(contamination.dropped("document", "", part.source, "", match))
                    else:
                        table.add(document)
            notes["documents"] = table.count
        if tests:
            notes["test_questions"] = {"checked_against": len(tests.names), "too_short_for_passages": tests.too_short}
        notes["dropped"] = table_of_dropped.count
    _say_repeated(notes["repeated"], options.repeated == "once")
    for line in told:
        warn("prepare", line)
    counts = (sum(n["passages"] for n in notes["passages"].values()), len(asked), notes["documents"])
    say(f"prepare: {', '.join(map(count_of, counts, ('passage', 'question', 'document')))}")


def _records(sources: dict[str, Path], part: Any, pattern: str = "") -> Iterator[Any]:
    """Yield the records of a source's files, through the entry's adapter."""
    from jmlr.corpus.adapted import adapted
    from jmlr.corpus.records import Reading, records_of

    if part.source not in sources:
        raise UserError(f"prepare: --fetched has no source '{part.source}'{nearest(part.source, sources)}")
    given = part.model_dump(include=Reading.__annotations__.keys())
    records = records_of(part.source, sources[part.source], pattern or part.file, Reading(**given))
    return adapted(records, getattr(part, "adapter", ""))


def _questions(
    sources: dict[str, Path], parts: list[QuestionsOptions], seed: int, dropped: Callable[[Row], None]
) -> list[Row]:
    """Return the questions of all entries; list the unusable ones.

    Raises:
        UserError: what is wrong with which record, or another number of questions than expected.
    """
    from jmlr.corpus.answers import Answers
    from jmlr.corpus.distractors import multiple_choice
    from jmlr.corpus.fields import Fields
    from jmlr.corpus.judgements import read_judgements
    from jmlr.corpus.questions import FIELDS, QuestionReader
    from jmlr.corpus.splits import FirstFile, split_of

    found: list[Row] = []
    ids: dict[str, str] = {}
    for part in parts:
        reader = QuestionReader(
            source=part.source, dataset=part.dataset, split=part.split, shares=part.shares,
            splits=() if part.distractors else part.splits, open=part.open or part.distractors > 0,
            retrieval=part.retrieval, choices=part.choices, unusable=part.unusable, most_unusable=part.most_unusable,
            make_ids=part.make_ids, ids=ids, split_of=split_of(part.split_ids, sources),
            answers=Answers(part.answer_index, part.same_text, part.several_answers),
        )  # fmt: skip
        fields = Fields(FIELDS, part.fields, part.include, part.exclude, part.clean)
        first, given = FirstFile(fields.known_id), len(found)
        judged = read_judgements(part.qrels, sources, part.split, part.splits) if part.qrels else None
        found += reader.read_files(_files(sources, part, first, judged, fields.known_id), fields)
        if part.distractors:
            made, still_open = multiple_choice(found[given:], part.distractors, seed)
            found[given:] = [q for q in made if not part.splits or q["split"] in part.splits]
            if still_open:
                why = f"no {part.distractors} other answers in their section or subject ('distractors')"
                warn("prepare", f"{part.source}: {count_of(still_open, 'question')} left open: {why}")
        for question in found[given:]:
            question["gold_check"] = part.gold_check
        _say_passed_over(part.source, first.passed_over, judged.unjudged if judged else 0)
        for row in reader.dropped:
            dropped(row)
        wrong = reader.check_counts(part.counts)
        if wrong and part.count_check == "error":
            raise UserError(wrong)
        unknown = judged.unknown() if judged else ""
        unknown = unknown and f"{part.source}: {unknown}"
        for told in filter(None, (wrong, reader.check_listed(), unknown, *reader.check_names())):
            warn("prepare", told)
        if reader.dropped:
            left_out = count_of(len(reader.dropped), "question")
            warn("prepare", f"{part.source}: {left_out} unusable and left out (dropped.parquet):{reader.why()}")
    return found


def _files(
    sources: dict[str, Path], part: QuestionsOptions, first: Any, judged: Any, id_of: Callable[[Any], str]
) -> Iterator[tuple[str, Iterator[Any]]]:
    """Yield (split, records) of each file of an entry, without those that are passed over."""
    wanted = {s: f for s, f in part.files.items() if not part.splits or s in part.splits}
    for split, pattern in (wanted or {part.split: part.file}).items():
        records = _records(sources, part, pattern)
        records = first.of(records) if part.same_id == "first" else records
        yield split, judged.of(records, id_of) if judged else records


def _say_passed_over(source: str, repeated: int, unjudged: int) -> None:
    if repeated:
        say(
            f"prepare: {source}: {count_of(repeated, 'record')} passed over, whose id is in a file before ('same_id: first')"
        )
    if unjudged:
        say(
            f"prepare: {source}: {count_of(unjudged, 'query', 'queries')} passed over, which no passage answers ('qrels')"
        )


def _repeats(asked: list[Row], once: bool, dropped: Callable[[Row], None]) -> tuple[list[Row], dict[str, Any]]:
    """Find the questions that a set asks more than once; return what is left, and the counts of each dataset."""
    from jmlr.corpus.repeats import contradicts, left_out, repeated

    groups = repeated(asked)
    out = left_out(asked, groups) if once else {}
    counts: dict[str, Counter[str]] = {}
    for group in groups:
        found = counts.setdefault(asked[group[0]]["dataset"], Counter())
        found.update(groups=1, questions=len(group), contradicting=contradicts(asked, group))
    for index, reason in out.items():
        row = {k: asked[index][k] for k in ("id", "dataset", "split")}
        dropped({"kind": "question", **row, "reason": reason, "test_id": "", "test_dataset": "", "share": None})
    return [q for i, q in enumerate(asked) if i not in out], {d: dict(n) for d, n in counts.items()}


def _say_repeated(counts: dict[str, dict[str, int]], once: bool) -> None:
    for dataset, n in counts.items():
        differ = f", {n['contradicting']:,} of them with another answer" if n["contradicting"] else ""
        done = "each counts once" if once else "'repeated: once' counts each once"
        what = f"{n['questions'] - n['groups']:,} of its questions repeat an earlier one"
        say(f"prepare: {dataset}: {what}{differ}; {done}")


def _in_several_splits(asked: list[Row]) -> tuple[dict[str, int], list[str]]:
    """Return how many questions which splits share, and a line for each: what is trained on must not be tested."""
    from jmlr.corpus.repeats import in_several_splits

    found, told = in_several_splits(asked), []
    for splits, groups in found.items():
        ids = {asked[i]["split"]: asked[i]["id"] for i in reversed(groups[0])}
        first = " and ".join(quoted(ids[split]) for split in splits)
        what = f"{count_of(len(groups), 'question')} in each of the splits {', '.join(map(quoted, splits))}"
        told.append(f"{what} (the first: {first}); 'decontaminate' leaves each in one")
    return {", ".join(splits): len(groups) for splits, groups in found.items()}, told


def _tests(asked: list[Row], how: DecontaminateOptions) -> Any:
    """Return the test questions that nothing else may contain; None if there is to be no check."""
    from jmlr.corpus.contamination import HeldOut

    if not how.splits:
        return None
    unknown = sorted(set(how.splits) - {q["split"] for q in asked})
    if unknown:
        found = sorted({q["split"] for q in asked})
        raise UserError(f"decontaminate: no question is in split '{unknown[0]}'{closest(unknown[0], found)}")
    tests = (q for q in asked if q["split"] in how.splits)
    return HeldOut(tests, how.passage_ngram, how.question_ngram, how.share)


def _without_tests(
    asked: list[Row], tests: Any, how: DecontaminateOptions, dropped: Callable[[Row], None]
) -> list[Row]:
    """Return the questions without those of other splits that contain a test question."""
    from jmlr.corpus import contamination

    kept = []
    for question in asked:
        match = tests.in_question(question) if tests and question["split"] not in how.splits else None
        if match:
            dropped(contamination.dropped("question", question["id"], question["dataset"], question["split"], match))
        else:
            kept.append(question)
    return kept


def _passages(
    folder: Path, sources: dict[str, Path], asked: list[Row], options: PrepareOptions, tests: Any,
    dropped: Callable[[Row], None],
) -> tuple[dict[str, dict[str, int]], int]:  # fmt: skip
    """Write passages.parquet and put its ids into the questions' gold; return the counts, and how much gold is missing."""
    from jmlr.corpus.chunks import Chunks
    from jmlr.corpus.fields import Fields
    from jmlr.corpus.passages import FIELDS, Gold, How, PassageWriter

    if options.chunk_tokens and not options.tokenizer:
        raise UserError(f"chunk_tokens {options.chunk_tokens}: allowed: with a 'tokenizer' that counts them")
    by_tokens = (options.chunk_tokens, options.chunk_overlap_tokens, options.tokenizer)
    chunks = Chunks(*by_tokens) if options.chunk_tokens else Chunks(options.chunk_words, options.chunk_overlap_words)
    gold = Gold()
    for question in asked:
        gold.want(question["gold_ids"], question["gold_section"])
    how = {"deduplicate": options.deduplicate, "near": options.near_duplicates, "tests": tests, "listed": dropped}
    writer = PassageWriter(folder, chunks, gold, **how)
    for part in options.corpora:
        fields = Fields(FIELDS, part.fields, part.include, part.exclude, part.clean)
        records = _records(sources, part)
        _counted(writer.add(records, fields, part.source, How(part.make_ids, part.skip_empty, part.headings)), part)
    counts = writer.finish()
    return counts, gold.resolve(asked, folder / "passages.parquet")


def _counted(read: int, part: CorpusOptions) -> None:
    if part.count and read != part.count:
        wrong = f"{part.source}: {count_of(read, 'record')}, {part.count:,} are expected: another edition, or a damaged file"
        if part.count_check == "error":
            raise UserError(f"{wrong}; 'count' can say otherwise, 'count_check: warn' goes on")
        warn("prepare", wrong)


def _counts(asked: list[Row]) -> dict[str, dict[str, int]]:
    """Return dataset -> split -> questions; raise UserError where either is no name: these stand in manifests and tables."""
    counts: dict[str, Counter[str]] = {}
    for question in asked:
        for key in ("dataset", "split"):
            if not re.fullmatch(r"[\w.+-]{1,64}", question[key]):
                what = f"{key} {quoted(question[key])} of question {quoted(question['id'])} is no name; allowed: letters, digits and ._+-, at most 64"
                raise UserError(f"prepare: {what}; does 'fields' name the right field?")
        counts.setdefault(question["dataset"], Counter())[question["split"]] += 1
    return {dataset: dict(c) for dataset, c in counts.items()}


def _documents(
    sources: dict[str, Path], part: DocumentsOptions, passages: Path, seed: int, prompts: PromptOptions
) -> Iterator[Row]:
    from jmlr.corpus.cloze import cloze_documents
    from jmlr.corpus.documents import plain_documents, read_documents

    if part.source and (part.cloze or part.plain):
        what = "'cloze' and 'plain' make documents from the passages"
        raise UserError(f"prepare: documents: source '{part.source}': {what}; leave 'source' out")
    if not (part.source or part.cloze or part.plain):
        raise UserError("prepare: documents: an entry with nothing to read; allowed: 'source', 'cloze', 'plain'")
    if part.source:
        yield from read_documents(_records(sources, part), part.source)
    if part.plain:
        yield from plain_documents(passages)
    if part.cloze:
        yield from cloze_documents(passages, part.cloze, prompts.model_dump(), seed=seed)
