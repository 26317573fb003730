"""Questions with options and a key, or open ones with a term or a short answer; checked one by one as they are read.

    {"id": "q1", "question": "...", "options": {"A": "malaria", "B": "measles"}, "answer": "B", "gold_ids": ["p7"]}

Options are an object (letter -> text) or a list. The answer is a key, a letter, an index counted from 0, or the text of
an option (`jmlr.corpus.answers`); where two readings of it disagree, that is an error, not a choice of ours. What published
sets do otherwise (answers counted from 1, one set of options for all questions, a right option that stands there twice, ids
that are missing) is said by the dataset's card.

All that is wrong with the records of an entry is told in one go (`jmlr.corpus.faults`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jmlr.corpus.answers import Answers, UnusableError, options_of, words_of
from jmlr.corpus.faults import Faults
from jmlr.corpus.fields import Fields, as_id, joined
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record, RecordError
from jmlr.corpus.seen import normalised
from jmlr.corpus.splits import check_shares, hash_split, usual_name
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError

FIELDS = (
    *("id", "dataset", "split", "question", "options", "answer", "answer_text", "explanation", "subject"),
    *("gold_ids", "gold_grades", "gold_section"),
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "dataset", "split", "question")),
        ("options", pa.list_(pa.string())),
        ("answer", pa.int32()),
        *((name, pa.string()) for name in ("answer_text", "explanation", "subject")),
        ("gold_ids", pa.list_(pa.string())),
        ("gold_grades", pa.list_(pa.int32())),
        ("gold_rows", pa.list_(pa.int32())),
    ]
)
Row = dict[str, Any]


@dataclass
class QuestionReader:
    """Turns records of one source into questions.

    Args:
        source: name of the source, the dataset's name where neither `dataset` nor the record gives one
        dataset: name of the dataset of all records
        split: split of all records; "": the record's own; "hash": by `shares`. What is hashed is the id; for an open
            question its normalised answer, so that no term is asked for in two splits
        open: questions without options are allowed
        retrieval: questions without options and without an answer are allowed
        ids: where each id was seen, over all sources
        split_of: id -> split, for those that have one whatever `split` says
        splits: those to take; empty: all
        choices: options of all questions
        answers: reads keys, numbers and texts
        unusable: "drop": note questions without usable options or answer in `dropped`; "error"
        most_unusable: share of the questions of a split of a dataset that may be dropped; more is an error
        make_ids: number the questions of each dataset and split
    """

    source: str
    dataset: str = ""
    split: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    open: bool = False
    ids: dict[str, str] = field(default_factory=dict)
    split_of: Mapping[str, str] = field(default_factory=dict)
    splits: Sequence[str] = ()
    choices: Sequence[str] = ()
    answers: Answers = field(default_factory=Answers)
    unusable: str = "error"
    most_unusable: float = 0.03
    make_ids: bool = False
    retrieval: bool = False
    kept: Counter[str] = field(default_factory=Counter, init=False)
    dropped: list[Row] = field(default_factory=list, init=False)
    faults: Faults = field(init=False)
    reasons: Faults = field(init=False)
    _listed: set[str] = field(default_factory=set, init=False)
    _dropped: Counter[str] = field(default_factory=Counter, init=False)
    _own: Counter[str] = field(default_factory=Counter, init=False)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self.faults, self.reasons = Faults(self.source), Faults(self.source)
        if self.split == "hash":
            check_shares(self.shares)

    def read(self, records: Iterable[Record], fields: Fields) -> Iterator[Row]:
        """Yield one question for each record; see `read_files`."""
        return self.read_files([(self.split, records)], fields)

    def read_files(self, files: Iterable[tuple[str, Iterable[Record]]], fields: Fields) -> Iterator[Row]:
        """Yield the questions of an entry; `gold_ids` and `gold_section` as the records give them.

        Args:
            files: (split, as `split` above; its records)
            fields: reads our fields from them

        Raises:
            UserError: after the last record, all that is wrong with them; or too many are unusable.
        """
        for split, records in files:
            self.split = split
            for record in self.faults.readable(records):
                question = self._question(record, fields) if fields.keeps(record) else None
                if question and (not self.splits or question["split"] in self.splits):
                    unusable = question.pop("unusable", None)
                    (self._dropped if unusable else self.kept).update(_groups(question))
                    if unusable:
                        self.reasons.add(unusable)
                        self.dropped.append(question)
                    else:
                        yield question
        self._end(fields)

    def _end(self, fields: Fields) -> None:
        doubt = self.answers.doubt()
        if doubt and self.faults.whole:
            self.faults.add(doubt)
        self.faults.end(fields.unseen(self.source))
        if not self.kept and not self._dropped:
            read = self.faults.read
            reason = f"'include', 'exclude' and 'splits' leave out {read:,} of {read:,} records"
            raise UserError(
                f"{self.source}: no questions: {reason if self.faults.read else 'its files have no records'}"
            )
        for name, count in self._dropped.items():
            read = count + self.kept[name]
            if "/" in name and count > self.most_unusable * read:
                most = f"more than {self.most_unusable:.3g} of them ('most_unusable'); reasons:"
                raise UserError(
                    f"{self.source}: {count:,} of {read:,} questions of {name} are unusable, {most}{self.why()}"
                )

    def check_listed(self) -> str:
        """Return how many ids of `split_of` no question has, in one line; "" if there are none.

        Raises:
            UserError: none of the ids of a split is a question's: most likely ids of another edition.
        """
        missing = [i for i in self.split_of if i not in self._listed]
        for split, count in Counter(self.split_of.values()).items():
            if count == sum(self.split_of[i] == split for i in missing):
                raise UserError(
                    f"{self.source}: split_ids: none of the {count:,} ids of split '{split}' is a question's"
                )
        of = f"{len(missing):,} of {len(self.split_of):,} ids of 'split_ids' are no question's"
        return f"{self.source}: {of}; the first: {quoted(missing[0])}" if missing else ""

    def check_names(self) -> Iterator[str]:
        """Yield a line for each split of the records' own that is another spelling of train, dev or test."""
        for split, count in self._own.items():
            if usual := usual_name(split):
                what = f"{count_of(count, 'record')} of split {quoted(split)}, which is not '{usual}'"
                yield f"{self.source}: {what}; an entry that includes these alone ('include') with 'split: {usual}' makes it so"

    def why(self) -> str:
        """Return why questions were dropped: a line for each reason, with its number and its first place."""
        return self.reasons.told(lambda reason, kind: f"{reason}; first: {kind.where}")

    def check_counts(self, expected: Mapping[str, int]) -> str:
        """Return what is wrong with the number of usable questions of a split or 'dataset/split', in one line; "" if nothing is."""
        for name, count in expected.items():
            wanted = not self.splits or {name, name.rpartition("/")[2]} & {*self.splits}
            if wanted and self.kept[name] != count:
                more = f" ({self._dropped[name]:,} more are unusable)" if self._dropped[name] else ""
                what = f"{count_of(self.kept[name], 'question')} in split '{name}'{more}, {count:,} are expected"
                fix = "'counts' can say otherwise, 'count_check: warn' goes on"
                return f"{self.dataset or self.source}: {what}: another edition, or a damaged file; {fix}"
        return ""

    def _question(self, record: Record, fields: Fields) -> Row | None:
        """Return a question, the note of one that is dropped, or None where anything is wrong, which is in `faults`."""
        before, tried = self.faults.count, self.faults.tried
        dataset = self.dataset or tried(fields.text, record, "dataset") or self.source
        id = tried(self._id, record, fields, dataset) or ""
        where = f"{record.where}: question {quoted(id)}" if id else record.where
        texts = {name: tried(fields.text, record, name) or "" for name in ("explanation", "subject", "gold_section")}
        question = tried(fields.text, record, "question", required=True)
        gold = tried(_gold, record, fields, where) or {}
        unusable: UnusableError | None = None
        options: list[str] = []
        index, answer_text = 0, ""
        try:
            options, index, answer_text = self._options_and_answer(record, fields, where)
        except UnusableError as error:
            unusable = error
        except UserError as error:
            self.faults.add(error)
        key = (normalised(answer_text) or id) if index < 0 else id
        split = tried(self._split, record, fields, key) if id or not self.split_of else None
        if unusable and self.unusable == "error":
            said = f"{unusable.what}; 'unusable: drop' lists such questions and goes on"
            self.faults.add(RecordError(unusable.where, said, unusable.kind))
        if self.faults.count > before:
            return None
        if unusable:
            what = {"kind": "question", "id": id, "dataset": dataset, "split": split, "unusable": unusable}
            return {**what, "reason": f"unusable: {unusable.kind}", "test_id": "", "test_dataset": "", "share": None}
        return {
            "id": id,
            "dataset": dataset,
            "split": split,
            "question": question,
            "options": options,
            "answer": index,
            "answer_text": answer_text,
            "explanation": texts["explanation"],
            "subject": texts["subject"],
            **gold,
            "gold_section": as_id(texts["gold_section"]),
        }

    def _id(self, record: Record, fields: Fields, dataset: str) -> str:
        """Return the id of a record, its own or made; raise if it was there before."""
        if self.make_ids:
            split = self.split if self.split and self.split != "hash" else fields.text(record, "split")
            self._numbers[dataset, split] += 1
            id = as_id("-".join(p for p in (dataset, split, f"{self._numbers[dataset, split] - 1:05d}") if p))
        else:
            id = fields.id(record)
        if id in self.ids:
            said = f"the id was there before ({self.ids[id]}); allowed: one question per id{joined(id)}"
            raise RecordError(f"{record.where}: question {quoted(id)}", said, "an id that was there before")
        self.ids[id] = record.where
        return id

    def _options_and_answer(self, record: Record, fields: Fields, where: str) -> tuple[list[str], int, str]:
        given = list(self.choices) if self.choices else fields.value(record, "options")
        options = options_of(given, where if self.choices else fields.place(where, "options"))
        answer, answer_text = fields.value(record, "answer"), fields.text(record, "answer_text")
        there = fields.place(where, "answer")
        if options:
            index = self.answers.right(options, answer, answer_text, there)
            return options.texts, index, options.texts[index]
        if self.retrieval and not answer_text and answer in (None, ""):
            return [], -1, ""
        if not self.open:
            raise UnusableError(where, "no options; allowed: at least two in 'options', or 'open: true'", "no options")
        words = [answer_text] if answer_text else words_of(answer, there)
        if not words:
            what = "an open question without an answer"
            raise UnusableError(there, f"{what}; allowed: a text in 'answer'", what)
        return [], -1, self.answers.one_of(words, there)

    def _split(self, record: Record, fields: Fields, key: str) -> str:
        if self.split_of and (own := fields.id(record)) in self.split_of:
            self._listed.add(own)
            return self.split_of[own]
        if self.split == "hash":
            return hash_split(key, self.shares)
        split = self.split or fields.text(record, "split")
        if not split:
            raise RecordError(record.where, "no field 'split'; the option 'split' can give one (a name, or 'hash')")
        self._own.update([] if self.split else [split])
        return split


def _gold(record: Record, fields: Fields, where: str) -> dict[str, list[Any]]:
    """Return gold_ids and gold_grades, how well each answers: 1 where the record does not say."""
    ids, grades = [as_id(g) for g in fields.texts(record, "gold_ids")], fields.texts(record, "gold_grades")
    if grades and (len(grades) != len(ids) or not all(g.isdecimal() and int(g) for g in grades)):
        allowed = f"a whole number, 1 or more, for each of {len(ids)} 'gold_ids'"
        raise RecordError(where, f"'gold_grades' allowed: {allowed}", "'gold_grades' that do not fit 'gold_ids'")
    return {"gold_ids": ids, "gold_grades": list(map(int, grades)) or [1] * len(ids)}


def _groups(question: Row) -> tuple[str, str]:
    """Return what a question is counted under: its split, and 'dataset/split'."""
    return question["split"], f"{question['dataset']}/{question['split']}"
