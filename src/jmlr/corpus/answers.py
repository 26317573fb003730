"""Which option is the right one: options in every form they are published in, and answers by key, text or number.

    answers = Answers()                                       # a number counts from 0 unless all say otherwise
    options = options_of({"A": "malaria", "B": "measles"}, "f: line 1")
    answers.right(options, "B", "", "f: line 1")              # 1
    answers.doubt()                                           # what is wrong with the set as a whole, or None

An answer that can only be right if the set counts from another number than was said is a fault of the set, not of one
question: `UnusableError` may be listed and passed over, that one may not.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jmlr.corpus.fields import as_text
from jmlr.corpus.formats.json_values import Decoder
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import RecordError
from jmlr.corpus.seen import normalised

T = TypeVar("T")
MOST_OPTIONS = len(string.ascii_uppercase)
_NUMBER = re.compile(r"(-?\d+)(?:\.0+)?")  # pandas writes whole numbers as 2.0 where some are missing
_BETWEEN = re.compile(r"\s*[,;/|&+]\s*|\s+and\s+")


class UnusableError(RecordError):
    """Options or an answer that make no question of a record."""


@dataclass(frozen=True)
class Options:
    """The options of a question, and how many columns there are with those at the end that it has not."""

    keys: list[str]
    texts: list[str]
    columns: int

    @property
    def plain(self) -> list[str]:
        """The texts with single blanks, as they are compared."""
        return [" ".join(t.split()) for t in self.texts]


def options_of(value: Any, where: str) -> Options | None:
    """Return the options in their order; None where there are none.

    An object's keys are theirs, a list gets letters, a text is read as JSON (as in a CSV cell). What is missing at the end is
    left out: of a list an empty text too (a fifth column where most questions have four options), of an object null, with
    which Parquet fills objects up. What is missing before the end may be lost, so that is no question.

    Raises:
        UnusableError: no JSON, fewer than two or more than 26, an empty one, or one text for all: then any answer is right.
        RecordError: a key that stands there twice, or an option that is no text.
    """
    if isinstance(value, str):
        value = _parsed(value, where) if value.strip() else None
    absent = _is_null
    if isinstance(value, list):
        value, absent = {letter(n): text for n, text in enumerate(value)}, _is_nothing
    if not isinstance(value, dict | None):
        raise UnusableError(where, f"'options' is {type(value).__name__}; allowed: an object of letters, or a list")
    named = [(str(key).strip(), text) for key, text in (value or {}).items()]
    columns = len(named)
    while named and absent(named[-1][1]):
        named = named[:-1]
    if not named:
        return None
    if not 2 <= len(named) <= MOST_OPTIONS:
        what = f"'options' must be 2 to {MOST_OPTIONS} texts: an object of letters, or a list"
        raise UnusableError(where, f"{what}; here are {len(named)}", what)
    return _checked(named, columns, where)


def _parsed(text: str, where: str) -> Any:
    try:
        return Decoder().decode(text)
    except json.JSONDecodeError:
        raise UnusableError(where, "'options' is a text that is no JSON; allowed: an object or a list") from None
    except (RecursionError, ValueError) as error:
        raise RecordError(where, f"'options': {error}", "options whose JSON is refused") from None


def _twice(key: str, where: str) -> RecordError:
    return RecordError(where, f"key {quoted(key)} stands twice in 'options'", "a key twice in 'options'")


def _checked(named: list[tuple[str, Any]], columns: int, where: str) -> Options:
    keys = [key for key, _ in named]
    for key, text in named:
        if keys.count(key) > 1:
            raise _twice(key, where)
        if _is_nothing(text):
            raise UnusableError(where, f"option {quoted(key)} is empty", "an empty option")
    options = Options(keys, [as_text(text, where, f"option {quoted(key)}") for key, text in named], columns)
    if len({*options.plain}) == 1:
        raise UnusableError(where, "all options are the same text, so that any answer is right")
    return options


def letter(number: int) -> str:
    """Return what an option is called: A to Z, from then on its number from 1."""
    return string.ascii_uppercase[number] if number < MOST_OPTIONS else str(number + 1)


def _is_null(value: Any) -> bool:
    return value is None or value != value


def _is_nothing(value: Any) -> bool:
    return _is_null(value) or (isinstance(value, str) and not value.strip())


@dataclass
class Answers:
    """Reads the answers of one entry.

    Args:
        index: what a number means: "from_0", "from_1"; "auto": a key or the text of an option, else an index from 0
        same_text: "first": where several options have the right one's text, the first is the answer; "error"
        several: of several right answers, "first" takes the first; "unusable"
    """

    index: str = "auto"
    same_text: str = "error"
    several: str = "unusable"
    _from_0: bool = field(default=False, init=False)
    _indexed: RecordError | None = field(default=None, init=False)
    _by_text: RecordError | None = field(default=None, init=False)

    def right(self, options: Options, answer: Any, answer_text: str, where: str) -> int:
        """Return the index of the right option.

        Args:
            options: of the question
            answer: a key, a number, a text; a list of them
            answer_text: the text of the right option, "" where it is not given; alone it is enough
            where: place of the record

        Raises:
            UnusableError: no reading of the answer names an option, two readings name different ones, `answer_text`
                disagrees, another option has the same text (unless `same_text` is "first": their scores are equal, and the
                first would be chosen), or several are right. (Two wrong options with one text stay as published.)
            RecordError: the set counts from another number.
        """
        words = words_of(answer, where)
        if not words and not answer_text:
            allowed = f"one of {_shown(options.keys)} in 'answer'"
            raise UnusableError(where, f"no answer; allowed: {allowed}", "no answer")
        if len(words) == 1:
            words = self._parts(options, words[0])
        if len(words) < 2:
            return self._one(options, words[0] if words else "", answer_text, where)
        return self.one_of(list(dict.fromkeys(self._one(options, word, "", where) for word in words)), where)

    def one_of(self, found: list[T], where: str) -> T:
        """Return the only right answer, or the first where that is asked for; raise UnusableError for several."""
        if len(found) > 1 and self.several != "first":
            what = f"{len(found)} right answers; allowed: one ('several_answers: first' takes the first)"
            raise UnusableError(where, what, "several right answers")
        return found[0]

    def doubt(self) -> RecordError | None:
        """Return what the answers of all questions leave open: whether numbers count from 0 or from 1; None if nothing."""
        return None if self._from_0 and not self._by_text else (self._indexed and (self._by_text or self._indexed))

    def _parts(self, options: Options, word: str) -> list[str]:
        """Return the keys or numbers that one text lists, such as 'A, C'; else the text itself."""
        parts = [p for p in _BETWEEN.split(word) if p]
        names = {k.casefold() for k in options.keys}
        whole = word.casefold() in names or word in options.plain
        listed = all(p.casefold() in names or _number(p) is not None for p in parts)
        return parts if len(parts) > 1 and listed and not whole else [word]

    def _one(self, options: Options, word: str, answer_text: str, where: str) -> int:
        texts, first = options.plain, self.same_text == "first"
        if not word:
            found = _like(texts, answer_text) or _like(map(normalised, texts), normalised(answer_text))
        elif self.index != "auto":
            found = {self._numbered(options, word, where)}
        else:
            found = self._named(options, word, answer_text, where)
        if first:
            found = {texts.index(texts[i]) for i in found}
        if len(found) > 1 and answer_text:
            # published: options {"A": "B", "B": "C", "C": "A"}, answer "C", answer_text "A"
            found = {i for i in found if normalised(texts[i]) == normalised(answer_text)} or found
        if not found:
            allowed = f"{_shown(options.keys)}, an index from 0 to {len(texts) - 1}, or an option's text"
            what = f"answer {quoted(word or answer_text)} is none of the options; allowed: {allowed}"
            raise UnusableError(where, what, "an answer that is none of the options")
        right = min(found)
        same = [i for i, t in enumerate(texts) if t == texts[right]]
        if len(same) > 1 and not first:
            keys = _shown((options.keys[i] for i in same), " and ")
            what = f"options {keys} are the same text, and one of them is the answer"
            raise UnusableError(where, f"{what} ('same_text: first' takes it)", "two options are the right one's text")
        if len(found) > 1:
            what = "is the key of one option and the text of another"
            raise UnusableError(where, f"answer {quoted(word)} {what}", f"an answer {what}")
        if answer_text and normalised(answer_text) != normalised(texts[right]):
            raise self._disagreement(options, word, right, answer_text, where)
        return right

    def _named(self, options: Options, word: str, answer_text: str, where: str) -> set[int]:
        """Return the options that an answer may mean: by key and by text (exactly, else in any case), else by index from 0."""
        number, said = _number(word), normalised(answer_text)
        by_key, by_text = _like(options.keys, word), _like(options.plain, word)
        if number is None:
            in_any_case = _like(map(normalised, options.keys), normalised(word)) | _like(
                map(normalised, options.plain), normalised(word)
            )
            return (by_key | by_text) or in_any_case
        if by_key or not 0 <= number <= options.columns:
            return by_key | by_text
        if by_text:
            if number not in by_text and not said:
                what = f"answer {quoted(word)} is the text of one option, and other answers are indices"
                self._by_text = self._by_text or _open(where, what)
            return by_text | ({number} if said and number < len(options.texts) else set())
        if number == options.columns:
            raise _counts_from(1, where, f"answer {quoted(word)} is none of the options, but one past the last index")
        if number < len(options.texts):
            self._from_0 |= number == 0 or (said != "" and said == normalised(options.texts[number]))
            self._indexed = self._indexed or _open(where, f"answer {quoted(word)} is an index, and no answer is 0")
            return {number}
        return set()

    def _numbered(self, options: Options, word: str, where: str) -> int:
        """Return the index of the option that a number names."""
        first, number = int(self.index[-1]), _number(word)
        if number is not None and (number, first) in ((0, 1), (options.columns, 0)):
            what = f"answer {quoted(word)} is none of the options, counted from {first}"
            raise _counts_from(1 - first, where, what)
        if number is None or not 0 <= number - first < len(options.texts):
            allowed = f"{first} to {len(options.texts) - 1 + first}"
            what = f"answer {quoted(word)} is none of the options; allowed: {allowed}"
            raise UnusableError(where, what, "an answer that is none of the options")
        return number - first

    def _disagreement(self, options: Options, word: str, right: int, answer_text: str, where: str) -> RecordError:
        """Return the error for an answer whose text is another option's; the set's, if the other count agrees."""
        number, first = _number(word), 0 if self.index == "auto" else int(self.index[-1])
        indexed = number == right + first and word not in options.keys and word not in options.plain
        other = right - 1 if first == 0 else right + 1
        if indexed and 0 <= other < len(options.texts) and normalised(options.texts[other]) == normalised(answer_text):
            return _counts_from(
                1 - first, where, f"answer {quoted(word)} is not its 'answer_text', counted from {first}"
            )
        what = "but 'answer_text' is not its text; is an index counted from 1?"
        kind = "'answer' names one option, 'answer_text' is not its text"
        return UnusableError(where, f"'answer' names option {_shown([options.keys[right]])}, {what}", kind)


def words_of(answer: Any, where: str) -> list[str]:
    """Return the different answers that a record gives, as texts; none is an empty list.

    Raises:
        RecordError: one is no text or number.
    """
    given = answer if isinstance(answer, list) else [answer]
    words: dict[str, str] = {}
    for value in given:
        word = "" if _is_nothing(value) else " ".join(as_text(value, where, "'answer'").split())
        if word:
            words.setdefault(normalised(word), word)
    return list(words.values())


def _like(texts: Iterable[str], word: str) -> set[int]:
    return {i for i, t in enumerate(texts) if t == word}


def _number(word: str) -> int | None:
    found = _NUMBER.fullmatch(word)
    return int(found[1]) if found else None


def _shown(keys: Iterable[str], between: str = ", ") -> str:
    """Return keys without quotation marks: A, B, C."""
    text = quoted(between.join(keys))
    return text[1:-1] if text.startswith("'") else text


def _counts_from(first: int, where: str, what: str) -> RecordError:
    fix = f"'answer_index: from_{first}' reads them so; 'exclude' leaves out a record that is wrong by itself"
    message = f"{what}: another edition, whose answers count from {first}? {fix}"
    return RecordError(where, message, f"answers that count from {first}")


def _open(where: str, what: str) -> RecordError:
    fix = "'answer_index: from_0' or 'from_1' says which"
    return RecordError(
        where, f"{what}: do they count from 0 or from 1? {fix}", "answers that may count from 0 or from 1"
    )
