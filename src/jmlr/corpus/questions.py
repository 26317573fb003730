"""Questions with options and a key, or open ones with a term or a short answer; checked one by one as they are read.

    {"id": "q1", "question": "...", "options": {"A": "malaria", "B": "measles"}, "answer": "B", "gold_ids": ["p7"]}

Options are an object (letter -> text) or a list. The answer is a key, a letter, an index counted from 0, or the text of
an option; where two readings of it disagree, that is an error, not a choice of ours. What published sets do otherwise
(answers counted from 1, one set of options for all questions, a right option that stands there twice, ids that are missing)
is said by the dataset's card.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jmlr.corpus.fields import Fields, as_id, as_text
from jmlr.corpus.records import Record
from jmlr.corpus.seen import normalised
from jmlr.corpus.splits import check_shares, hash_split
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
    ]
)
MOST_OPTIONS = len(string.ascii_uppercase)


class _UnusableError(Exception):
    """Options or an answer that make no question of a record; the message follows its place."""


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
        answer_index: what a number as answer means: "auto", "from_0", "from_1"
        same_text: "first": where several options have the right one's text, the first is the answer; "error"
        unusable: "drop": note questions without usable options or answer in `dropped`; "error"
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
    answer_index: str = "auto"
    same_text: str = "error"
    unusable: str = "error"
    make_ids: bool = False
    retrieval: bool = False
    found: Counter[str] = field(default_factory=Counter, init=False)
    dropped: list[dict[str, Any]] = field(default_factory=list, init=False)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        if self.split == "hash":
            check_shares(self.shares)

    def read(self, records: Iterable[Record], fields: Fields) -> Iterator[dict[str, Any]]:
        """Yield one question for each record; `gold_ids` and `gold_section` as the record gives them.

        `found` counts those of each split, and of each 'dataset/split', the unusable ones among them.

        Raises:
            UserError: what is wrong with which record.
        """
        empty = True
        for record in records:
            empty = False
            if not fields.keeps(record):
                continue
            question = self._question(record, fields)
            if question and (not self.splits or question["split"] in self.splits):
                self.found.update((question["split"], f"{question['dataset']}/{question['split']}"))
                if "reason" in question:
                    self.dropped.append(question)
                else:
                    yield question
        if empty:
            raise UserError(f"{self.source}: no questions: its files have no records")
        fields.check_names(self.source)

    def check_counts(self, expected: Mapping[str, int]) -> str:
        """Return what is wrong with the number of questions of a split or 'dataset/split', in one line; "" if nothing is."""
        for name, count in expected.items():
            wanted = not self.splits or {name, name.rpartition("/")[2]} & {*self.splits}
            if wanted and self.found[name] != count:
                what = f"{self.found[name]:,} questions in split '{name}', {count:,} are expected"
                mend = "'counts' can say otherwise, 'count_check: warn' goes on"
                return f"{self.dataset or self.source}: {what}: another edition, or a damaged file; {mend}"
        return ""

    def _question(self, record: Record, fields: Fields) -> dict[str, Any]:
        dataset = self.dataset or fields.text(record, "dataset") or self.source
        id = self._made_id(record, fields, dataset) if self.make_ids else fields.id(record)
        where = f"{record.where}: question '{id}'"
        if id in self.ids:
            raise UserError(f"{where}: the id was there before ({self.ids[id]}); allowed: one question per id")
        self.ids[id] = record.where
        question = fields.text(record, "question", required=True)
        try:
            options, index, answer_text = self._options_and_answer(record, fields, where)
        except _UnusableError as error:
            if self.unusable == "error":
                raise UserError(f"{where}: {error}; 'unusable: drop' lists such questions and goes on") from None
            what = {"kind": "question", "id": id, "dataset": dataset, "split": self._split(record, fields, id)}
            return {**what, "reason": f"unusable: {error}", "test_id": "", "test_dataset": "", "share": None}
        return {
            "id": id,
            "dataset": dataset,
            "split": self._split(record, fields, normalised(answer_text) or id if index < 0 else id),
            "question": question,
            "options": options,
            "answer": index,
            "answer_text": answer_text,
            "explanation": fields.text(record, "explanation"),
            "subject": fields.text(record, "subject"),
            **_gold(record, fields, where),
            "gold_section": as_id(fields.text(record, "gold_section")),
        }

    def _made_id(self, record: Record, fields: Fields, dataset: str) -> str:
        split = self.split if self.split and self.split != "hash" else fields.text(record, "split")
        self._numbers[dataset, split] += 1
        return as_id("-".join(p for p in (dataset, split, f"{self._numbers[dataset, split] - 1:05d}") if p))

    def _options_and_answer(self, record: Record, fields: Fields, where: str) -> tuple[list[str], int, str]:
        value = fields.value(record, "options")
        options = _options(list(self.choices) if self.choices else value, where)
        answer, answer_text = fields.value(record, "answer"), fields.text(record, "answer_text")
        if options:
            numbered = self.answer_index != "auto" and answer not in (None, "")
            named = _number_at(len(options), answer, int(self.answer_index[-1]), where) if numbered else None
            index = _answer(options, answer, answer_text, where, named, first=self.same_text == "first")
            return list(options.values()), index, list(options.values())[index]
        if self.retrieval and not answer_text and answer in (None, ""):
            return [], -1, ""
        if not self.open:
            raise _UnusableError("no options; allowed: at least two in 'options', or 'open: true'")
        answer_text = answer_text or fields.text(record, "answer")
        if not answer_text:
            raise _UnusableError("an open question without an answer; allowed: a text in 'answer'")
        return [], -1, answer_text

    def _split(self, record: Record, fields: Fields, key: str) -> str:
        if self.split_of and (given := self.split_of.get(fields.id(record))):
            return given
        if self.split == "hash":
            return hash_split(key, self.shares)
        split = self.split or fields.text(record, "split")
        if not split:
            raise UserError(f"{record.where}: no field 'split'; the option 'split' can give one (a name, or 'hash')")
        return split


def _gold(record: Record, fields: Fields, where: str) -> dict[str, list[Any]]:
    """Return gold_ids and gold_grades, how well each answers: 1 where the record does not say."""
    ids, grades = [as_id(g) for g in fields.texts(record, "gold_ids")], fields.texts(record, "gold_grades")
    if grades and (len(grades) != len(ids) or not all(g.isdecimal() and int(g) for g in grades)):
        raise UserError(f"{where}: 'gold_grades' allowed: a whole number, 1 or more, for each of {len(ids)} 'gold_ids'")
    return {"gold_ids": ids, "gold_grades": list(map(int, grades)) or [1] * len(ids)}


def _options(value: Any, where: str) -> dict[str, str]:
    """Return key -> text in their order; a list gets the letters as keys; a text is read as JSON (as in a CSV cell).

    What is missing at the end of a list (a fifth column where most questions have four options) is left out.
    """
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise _UnusableError("'options' is a text that is no JSON; allowed: an object or a list") from None
    if isinstance(value, list):
        while value and value[-1] in (None, ""):
            value = value[:-1]
        value = dict(zip(string.ascii_uppercase, value, strict=False)) if len(value) <= MOST_OPTIONS else {"": ""}
    if not value:
        return {}
    if not isinstance(value, dict) or not 2 <= len(value) <= MOST_OPTIONS:
        raise _UnusableError(f"'options' must be 2 to {MOST_OPTIONS} texts: an object of letters, or a list")
    options = {str(key).strip(): as_text(text, f"{where}: option '{key}'") for key, text in value.items()}
    for key, text in options.items():
        if not text:
            raise _UnusableError(f"option '{key}' is empty")
    return options


def _number_at(count: int, value: Any, first: int, where: str) -> int:
    """Return the index of the option that a number names, counted from `first`."""
    word = as_text(value, f"{where}: 'answer'")
    if not word.isdecimal() or not 0 <= int(word) - first < count:
        raise _UnusableError(f"answer {_shown(word)} is none of the options; allowed: {first} to {count - 1 + first}")
    return int(word) - first


def _shown(word: str) -> str:
    return f"'{word}'" if len(word) <= 3 else f"(a text of {len(word)} characters)"


def _answer(
    options: Mapping[str, str], value: Any, answer_text: str, where: str, named: int | None = None, first: bool = False
) -> int:
    """Return the index of the right option; `named` is it where the answer is a number.

    Raises:
        _UnusableError: no reading of the answer names an option, two readings name different ones, `answer_text` disagrees,
            or another option has the same text, unless `first`: then the first of these is the answer, since their
            scores are equal and the first would be chosen. (Two wrong options with one text stay as published.)
    """
    keys, texts = list(options), [" ".join(t.split()) for t in options.values()]
    given = answer_text if value is None or value == "" else value
    if given == "":
        raise _UnusableError(f"no answer; allowed: one of {', '.join(keys)} in 'answer'")
    word = " ".join(as_text(given, f"{where}: 'answer'").split())
    readings = {named} if named is not None else _readings(keys, texts, word, first)
    # published: options {"A": "B", "B": "C", "C": "A"}, answer "C", answer_text "A"
    if len(readings) > 1 and answer_text:
        readings = {i for i in readings if normalised(texts[i]) == normalised(answer_text)} or readings
    if not readings:
        allowed = f"{', '.join(keys)}, an index from 0 to {len(keys) - 1}, or an option's text"
        raise _UnusableError(f"answer {_shown(word)} is none of the options; allowed: {allowed}")
    right = min(readings)
    same = [keys[i] for i, t in enumerate(texts) if t == texts[right]]
    if len(same) > 1 and not first:
        raise _UnusableError(
            f"options {' and '.join(same)} are the same text, and one of them is the answer ('same_text: first' takes it)"
        )
    if len(readings) > 1:
        raise _UnusableError(f"answer '{word[:3]}' is the key of one option and the text of another")
    if answer_text and normalised(answer_text) != normalised(texts[right]):
        hint = "is an index counted from 1?"
        raise _UnusableError(f"'answer' names option {keys[right]}, but 'answer_text' is not its text; {hint}")
    return keys.index(same[0])


def _readings(keys: list[str], texts: list[str], word: str, first: bool) -> set[int]:
    """Return the options that an answer may mean: by key and by text, else by index from 0."""
    by_key = {keys.index(word)} if word in keys else set()
    by_text = [i for i, t in enumerate(texts) if t == word]
    found = by_key | set(by_text[:1] if first else by_text)
    return found or ({int(word)} if word.isdecimal() and int(word) < len(keys) else set())
