"""Splits that stay what they are when records are added, removed or reordered: by a hash, not by a draw.

>>> hash_split("question-7", {"train": 0.6, "dev": 0.1, "test": 0.3})
'train'
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jmlr.corpus.fields import as_id, joined
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record
from jmlr.corpus.records import files_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import DAMAGED


def hash_split(key: str, shares: Mapping[str, float]) -> str:
    """Return the split of a key: its SHA-256 as a number in [0, 1), laid against the shares in their order."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return name


def usual_name(split: str) -> str:
    """Return which of train, dev and test is written otherwise here, as in 'Test' or 'validation'; "" where none is."""
    name = split.lower()
    name = "dev" if name in ("val", "valid", "validation") else name
    return name if name != split and name in ("train", "dev", "test") else ""


def ids_in(path: Path) -> list[str]:
    """Return the ids that a file lists: the keys of a JSON object, a JSON array, or one a line; also gzipped.

    Raises:
        UserError: it lists none, or is no such file.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig").strip()
        found = (
            list(json.loads(text)) if text[:1] in ("{", "[") else [line for line in text.splitlines() if line.strip()]
        )
    except DAMAGED:
        raise UserError(f"{path}: truncated, damaged or no gzip file: copy or download it again") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: no list of ids: {error}") from None
    if not found:
        raise UserError(f"{path}: lists no ids")
    return [as_id(str(i)) for i in found]


def split_of(lists: Mapping[str, str], sources: Mapping[str, Path]) -> dict[str, str]:
    """Return id -> split.

    Args:
        lists: split -> 'SOURCE/FILE' (a glob pattern): files that list its ids
        sources: name -> folder

    Raises:
        UserError: there is no such source or file, it lists none, or ids are listed for two splits.
    """
    found: dict[str, str] = {}
    twice: list[str] = []
    for split, place in lists.items():
        source, _, pattern = place.partition("/")
        if source not in sources or not pattern:
            raise UserError(f"split_ids: '{place}': allowed: SOURCE/FILE; sources: {', '.join(sorted(sources))}")
        ids = [i for file in files_of(sources[source], pattern) for i in ids_in(file)]
        twice += [f"{quoted(i)} ({found[i]} and {split})" for i in ids if found.setdefault(i, split) != split]
    if twice:
        what = f"{len(twice):,} ids are listed for two splits; the first: {twice[0]}"
        raise UserError(f"split_ids: {what}; allowed: one{joined(twice[0])}")
    return found


@dataclass
class FirstFile:
    """Passes over records whose id another file had before: BioASQ's training files repeat the golden sets of earlier years.

    A file that has an id twice keeps both; whoever reads them refuses that.
    """

    id_of: Callable[[Record], str]
    passed_over: int = field(default=0, init=False)
    _files: dict[str, str] = field(default_factory=dict, init=False)

    def of(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records of one file after the other without those ids; what has none is passed on."""
        for record in records:
            id = self.id_of(record)
            if not id or self._files.setdefault(id, record.file) == record.file:
                yield record
            else:
                self.passed_over += 1


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise UserError unless the shares are positive and sum to 1."""
    if not shares or any(s <= 0 for s in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise UserError(
            f"shares {dict(shares)}: allowed: positive numbers that sum to 1, such as train 0.6, dev 0.1, test 0.3"
        )
