"""Judgements of a retrieval set: which passages answer a query, and how well; as BEIR, its hub or TREC publish them.

    query-id  corpus-id  score          # BEIR: columns parted by tabs, under this header; JSON Lines of the same names
    PLAIN-2   MED-2427   2
    PLAIN-2 0 MED-2427 2                # TREC, in files .txt, .qrels or .trec: query, iteration, passage, grade

Grades of 0 and less mean that a passage was judged and does not answer. Sources: BEIR's wiki, "Load your custom dataset"
(github.com/beir-cellar/beir), and trec.nist.gov/data/qrels_eng.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from jmlr.corpus.fields import as_id
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record
from jmlr.corpus.records import files_of, records_of
from jmlr.runtime.errors import UserError

COLUMNS = ("query-id", "corpus-id", "score")
TREC = (".txt", ".qrels", ".trec")
SPLITS = {"validation": "dev"}  # the hub's name for the same file


@dataclass
class Judgements:
    """What is known of each query: its split, and the grade (1 or more) of each passage that answers it."""

    split: dict[str, str] = field(default_factory=dict)
    grades: dict[str, dict[str, int]] = field(default_factory=dict)
    unjudged: int = field(default=0, init=False)
    _judged: dict[tuple[str, str], int] = field(default_factory=dict, init=False)
    _asked: set[str] = field(default_factory=set, init=False)

    def add(self, query: str, passage: str, grade: int, split: str, where: str) -> None:
        """Note one judgement.

        Raises:
            UserError: the query has judgements in another split, or the passage has another grade for it.
        """
        other = self.split.setdefault(query, split)
        if other != split:
            what = f"query {quoted(query)} is judged in split '{split}' and in '{other}'"
            raise UserError(f"{where}: {what}; allowed: one split; 'splits' can take one")
        before = self._judged.setdefault((query, passage), grade)
        if before != grade:
            what = f"passage {quoted(passage)} has the grade {grade} for query {quoted(query)}, and {before} before"
            raise UserError(f"{where}: {what}; allowed: one grade")
        if grade > 0:
            self.grades.setdefault(query, {})[passage] = grade

    def of(self, records: Iterable[Record], id_of: Callable[[Record], str]) -> Iterator[Record]:
        """Yield the queries that a passage answers, with `split`, `gold_ids` and `gold_grades`; `unjudged` counts the others.

        What has no id is passed on as it is: the reader of questions says so.
        """
        for record in records:
            query = id_of(record)
            if not query:
                yield record
                continue
            self._asked.add(query)
            grades = self.grades.get(query)
            if grades is None:
                self.unjudged += 1
                continue
            gold = {"gold_ids": list(grades), "gold_grades": list(grades.values()), "split": self.split[query]}
            yield replace(record, fields={**record.fields, **gold})

    def unknown(self) -> str:
        """Return how many judged queries were none of the records, in one line; "" if there are none."""
        missing = [query for query in self.split if query not in self._asked]
        of = f"{len(missing):,} of {len(self.split):,} judged queries are not there ('qrels')"
        return f"{of}; the first: {quoted(missing[0])}" if missing else ""


def read_judgements(place: str, sources: Mapping[str, Path], split: str = "", splits: Sequence[str] = ()) -> Judgements:
    """Return the judgements of all files of a place.

    Args:
        place: 'SOURCE/FILE', FILE a glob pattern as for `records_of`
        sources: name -> folder
        split: of all of them; empty: the name of each file, as in qrels/test.tsv
        splits: those to take; empty: all

    Raises:
        UserError: no such source or file, or what is wrong with which line.
    """
    source, _, pattern = place.partition("/")
    if source not in sources or not pattern:
        raise UserError(f"qrels: '{place}': allowed: SOURCE/FILE; sources: {', '.join(sorted(sources))}")
    found, seen = Judgements(), set()
    trec = pattern.endswith(TREC)
    for record in _trec(sources[source], pattern) if trec else records_of(source, sources[source], pattern):
        if record.fault:
            raise record.fault
        stem = PurePath(record.file).name.split(".")[0]
        name = split or SPLITS.get(stem, stem)
        seen.add(name)
        if splits and name not in splits:
            continue
        if not {*COLUMNS} <= {*record.fields}:
            raise UserError(f"{record.where}: no judgement; allowed: the fields {', '.join(COLUMNS)}")
        query, passage, grade = (record.fields[c] for c in COLUMNS)
        found.add(as_id(str(query)), as_id(str(passage)), _grade(grade, record.where), name, record.where)
    if not found.split:
        raise UserError(f"qrels: '{place}': no judgements of {', '.join(splits)}; there are: {', '.join(sorted(seen))}")
    return found


def _trec(folder: Path, pattern: str) -> Iterator[Record]:
    for file in files_of(folder, pattern):
        try:
            lines = file.read_text("utf-8-sig").split("\n")
        except UnicodeDecodeError:
            raise UserError(f"{file}: not UTF-8: convert the file") from None
        for number, line in enumerate(lines, 1):
            parts, where = line.split(), f"{file}: line {number}"
            if parts and len(parts) != 4:
                raise UserError(f"{where}: {len(parts)} words; allowed: query, iteration, passage, grade")
            if parts:
                yield Record(dict(zip(COLUMNS, (parts[0], *parts[2:]), strict=True)), where, file.name)


def _grade(value: object, where: str) -> int:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise UserError(f"{where}: grade {quoted(value)}; allowed: a whole number")
    return int(number)
