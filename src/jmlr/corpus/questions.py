"""Questions with options and a key, or open ones with a term or a short answer; checked one by one as they are read.

    {"id": "q1", "question": "...", "options": {"A": "malaria", "B": "measles"}, "answer": "B", "gold_ids": ["p7"]}

Options are an object (letter -> text) or a list. The answer is a key, a letter, an index counted from 0, or the text of
an option; where two readings of it disagree, that is an error, not a choice of ours.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Iterator, Mapping
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
    *("gold_ids", "gold_section"),
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "dataset", "split", "question")),
        ("options", pa.list_(pa.string())),
        ("answer", pa.int32()),
        *((name, pa.string()) for name in ("answer_text", "explanation", "subject")),
        ("gold_ids", pa.list_(pa.string())),
    ]
)
MOST_OPTIONS = len(string.ascii_uppercase)


@dataclass
class QuestionReader:
    """Turns records of one source into questions.

    Args:
        source: name of the source, the dataset's name where neither `dataset` nor the record gives one
        dataset: name of the dataset of all records
        split: split of all records; "": the record's own; "hash": by `shares`. What is hashed is the id; for an open
            question its normalised answer, so that no term is asked for in two splits
        open: questions without options are allowed
        ids: where each id was seen, over all sources
    """

    source: str
    dataset: str = ""
    split: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    open: bool = False
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split == "hash":
            check_shares(self.shares)

    def read(self, records: Iterable[Record], fields: Fields) -> Iterator[dict[str, Any]]:
        """Yield one question for each record; `gold_ids` and `gold_section` as the record gives them.

        Raises:
            UserError: what is wrong with which record.
        """
        empty = True
        for record in records:
            empty = False
            fields.keeps(record)
            yield self._question(record, fields)
        if empty:
            raise UserError(f"{self.source}: no questions: its files have no records")
        fields.check_names(self.source)

    def _question(self, record: Record, fields: Fields) -> dict[str, Any]:
        id = fields.id(record)
        where = f"{record.where}: question '{id}'"
        if id in self.ids:
            raise UserError(f"{where}: the id was there before ({self.ids[id]}); allowed: one question per id")
        self.ids[id] = record.where
        question = fields.text(record, "question", required=True)
        options = _options(fields.value(record, "options"), where)
        if options:
            index = _answer(options, fields.value(record, "answer"), fields.text(record, "answer_text"), where)
            answer_text = list(options.values())[index]
        elif self.open:
            index, answer_text = -1, fields.text(record, "answer_text") or fields.text(record, "answer")
            if not answer_text:
                raise UserError(f"{where}: an open question without an answer; allowed: a text in 'answer'")
        else:
            raise UserError(f"{where}: no options; allowed: at least two in 'options', or 'open: true'")
        return {
            "id": id,
            "dataset": self.dataset or fields.text(record, "dataset") or self.source,
            "split": self._split(record, fields, normalised(answer_text) if index < 0 else id),
            "question": question,
            "options": list(options.values()),
            "answer": index,
            "answer_text": answer_text,
            "explanation": fields.text(record, "explanation"),
            "subject": fields.text(record, "subject"),
            "gold_ids": [as_id(g) for g in fields.texts(record, "gold_ids")],
            "gold_section": as_id(fields.text(record, "gold_section")),
        }

    def _split(self, record: Record, fields: Fields, key: str) -> str:
        if self.split == "hash":
            return hash_split(key, self.shares)
        split = self.split or fields.text(record, "split")
        if not split:
            raise UserError(f"{record.where}: no field 'split'; the option 'split' can give one (a name, or 'hash')")
        return split


def _options(value: Any, where: str) -> dict[str, str]:
    """Return key -> text in their order; a list gets the letters as keys; a text is read as JSON (as in a CSV cell)."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise UserError(f"{where}: 'options' is a text that is no JSON; allowed: an object or a list") from None
    if not value:
        return {}
    if isinstance(value, list):
        value = dict(zip(string.ascii_uppercase, value, strict=False)) if len(value) <= MOST_OPTIONS else {}
    if not isinstance(value, dict) or not 2 <= len(value) <= MOST_OPTIONS:
        raise UserError(f"{where}: 'options' must be 2 to {MOST_OPTIONS} texts: an object of letters, or a list")
    options = {str(key).strip(): as_text(text, f"{where}: option '{key}'") for key, text in value.items()}
    for key, text in options.items():
        if not text:
            raise UserError(f"{where}: option '{key}' is empty")
    return options


def _answer(options: Mapping[str, str], value: Any, answer_text: str, where: str) -> int:
    """Return the index of the right option.

    Raises:
        UserError: no reading of the answer names an option, two readings name different ones, `answer_text` disagrees,
            or another option has the same text. (Two wrong options with one text stay as they were published.)
    """
    keys, texts = list(options), [" ".join(t.split()) for t in options.values()]
    given = answer_text if value is None or value == "" else value
    if given == "":
        raise UserError(f"{where}: no answer; allowed: one of {', '.join(keys)} in 'answer'")
    word = " ".join(as_text(given, f"{where}: 'answer'").split())
    readings = {keys.index(word)} if word in keys else set()
    readings |= {i for i, t in enumerate(texts) if t == word}
    if (
        len(readings) > 1 and answer_text
    ):  # published: options {"A": "B", "B": "C", "C": "A"}, answer "C", answer_text "A"
        readings = {i for i in readings if normalised(texts[i]) == normalised(answer_text)} or readings
    if not readings and word.isdecimal() and int(word) < len(keys):
        readings = {int(word)}
    if not readings:
        shown = f"'{word}'" if len(word) <= 3 else f"(a text of {len(word)} characters)"
        allowed = f"{', '.join(keys)}, an index from 0 to {len(keys) - 1}, or an option's text"
        raise UserError(f"{where}: answer {shown} is none of the options; allowed: {allowed}")
    right = min(readings)
    same = [keys[i] for i, t in enumerate(texts) if t == texts[right]]
    if len(same) > 1:
        raise UserError(f"{where}: options {' and '.join(same)} are the same text, and one of them is the answer")
    if len(readings) > 1:
        raise UserError(f"{where}: answer '{word[:3]}' is the key of one option and the text of another")
    if answer_text and normalised(answer_text) != normalised(texts[right]):
        hint = "is an index counted from 1?"
        raise UserError(f"{where}: 'answer' names option {keys[right]}, but 'answer_text' is not its text; {hint}")
    return right
