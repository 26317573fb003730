"""What is wrong with the records of an entry, told in one go: every kind of fault with its number and its first place.

    faults = Faults("medqa")
    for record in faults.readable(records):
        try:
            ...
        except UserError as error:
            faults.add(error)
    faults.end()

One kind of fault is one line, which says how many more there are. Of several, the first line counts them, and each has a line:

    medqa: 37 faults in 1,273 records; every kind with its number and its first place:
      35 x train.jsonl: line 3: question 'q3': no options; allowed: at least two in 'options', or 'open: true'
       2 x train.jsonl: line 90: no field 'question' (did you mean 'questions'?); 'fields' can rename question

Memory is bounded by the kinds. Reading ends early after many wrong records or kinds, or long after the first fault: whoever
mapped a field wrongly need not wait for the end of a large corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from jmlr.corpus.record import Record, RecordError
from jmlr.runtime.errors import UserError

MOST_FAULTS, MOST_KINDS, MOST_AFTER_THE_FIRST = 1000, 20, 200_000
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Kind:
    """A kind of fault: its first place, what was said there, and how many there are."""

    where: str
    said: str
    count: int = 0


@dataclass
class Faults:
    """Collects what is wrong with the records of one entry; `source` is its name, for messages.

    `read` is how many records were read, `count` how many faults there are, `whole` whether all files could be read.
    """

    source: str
    kinds: dict[str, Kind] = field(default_factory=dict, init=False)
    read: int = field(default=0, init=False)
    count: int = field(default=0, init=False)
    whole: bool = field(default=True, init=False)
    _sound: int = field(default=0, init=False)
    _first: int = field(default=0, init=False)
    _full: bool = field(default=False, init=False)

    def readable(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that could be read, until there are faults enough; what ends the reading is a fault, too."""
        try:
            for record in records:
                if self.count and self._enough():
                    return
                self.read += 1
                if record.fault:
                    self.add(record.fault)
                else:
                    self._sound += 1
                    yield record
        except UserError as error:
            self.whole = False
            self.add(error)

    def _enough(self) -> bool:
        late = self.read - self._first >= MOST_AFTER_THE_FIRST
        self._full = late or self.count >= MOST_FAULTS or len(self.kinds) >= MOST_KINDS
        return self._full

    def add(self, error: UserError) -> None:
        """Note a fault; an error that is no `RecordError` is a kind of its own."""
        self._first = self._first or self.read
        self.count += 1
        name, where = getattr(error, "kind", str(error)), getattr(error, "where", "")
        self.kinds.setdefault(name, Kind(where, str(error))).count += 1

    def tried(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what a function returns; None where it raises a UserError, which is noted."""
        try:
            return function(*args, **kwargs)
        except UserError as error:
            self.add(error)
            return None

    def told(self, line: Callable[[str, Kind], str] = lambda _, kind: kind.said) -> str:
        """Return a line for each kind, the most frequent first, each begun by a line feed."""
        kinds = sorted(self.kinds.items(), key=lambda item: -item[1].count)
        width = max((len(f"{kind.count:,}") for _, kind in kinds), default=0)
        return "".join(f"\n  {kind.count:>{width},} x {line(name, kind)}" for name, kind in kinds)

    def end(self, names: Iterable[RecordError] = ()) -> None:
        """Raise what was found, if anything was.

        Args:
            names: of fields that no record read has; left out where a record was refused for one, a file is damaged, or no
                record could be read

        Raises:
            UserError: one line for one kind, else a line for each kind below the number of all.
        """
        for error in names:
            if self.whole and (self._sound or not self.read) and error.kind not in self.kinds:
                self.add(error)
        if not self.count:
            return
        ended = self._full or not self.whole
        which = f"the first {self.read:,} records, where reading ended" if ended else f"{self.read:,} records"
        if len(self.kinds) == 1:
            more = f"; {self.count - 1:,} more like it in {which}" if self.count > 1 else ""
            raise UserError(next(iter(self.kinds.values())).said + more)
        heading = f"{self.source}: {self.count:,} faults in {which}; every kind with its number and its first place:"
        raise UserError(heading + self.told())
