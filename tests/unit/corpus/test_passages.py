"""Passages are checked, cut and deduplicated; gold passages are followed through all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jmlr.corpus.fields import Fields
from jmlr.corpus.passages import FIELDS, SCHEMA, Gold, PassageWriter
from jmlr.corpus.records import Record
from jmlr.corpus.tables import TableWriter
from jmlr.runtime.errors import UserError


def records(*rows: dict[str, Any]) -> Iterator[Record]:
    return (Record(row, f"f: line {n}") for n, row in enumerate(rows, 1))


def write(path: Path, *sources: list[dict[str, Any]], gold: Gold | None = None, **how: Any) -> list[dict[str, int]]:
    settings = {"words": 0, "overlap": 0, "deduplicate": True, **how}
    with TableWriter(path, SCHEMA) as table:
        writer = PassageWriter(table, gold=gold or Gold(), **settings)
        return [writer.add(records(*rows), Fields(FIELDS), f"s{i}") for i, rows in enumerate(sources)]


def test_passages_of_all_sources_are_numbered_by_row(tmp_path: Path) -> None:
    first = [{"id": "a", "title": "T", "text": " x ", "section": "s 1"}, {"id": 2, "text": "y"}]
    write(tmp_path / "p.parquet", first, [{"id": "c", "text": "z"}])
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.names == SCHEMA.names
    assert [tuple(r.values()) for r in table.to_pylist()] == [
        (0, "a", "T", "x", "s0", "s_1"),
        (1, "2", "", "y", "s0", ""),
        (2, "c", "", "z", "s1", ""),
    ]


def test_duplicates_are_dropped_over_sources_unless_kept(tmp_path: Path) -> None:
    one, two = (
        [{"id": "a", "text": "Fever  is high."}],
        [{"id": "b", "text": "fever is HIGH."}, {"id": "c", "text": "x"}],
    )
    counts = write(tmp_path / "p.parquet", one, two)
    assert (counts[1]["duplicates"], counts[1]["passages"]) == (1, 1)
    assert pq.read_table(tmp_path / "p.parquet")["row"].to_pylist() == [0, 1]
    assert write(tmp_path / "p.parquet", one, two, deduplicate=False)[1]["passages"] == 2


def test_gold_follows_cutting_sections_and_dropped_duplicates(tmp_path: Path) -> None:
    gold = Gold()
    gold.want(["long", "copy", "gone"], "")
    gold.want([], "sec")
    rows = [
        {"id": "first", "text": "A b c.", "section": "other"},
        {"id": "long", "text": "A b c. D e f. G h i.", "section": "sec"},
        {"id": "copy", "text": "a  b c."},
        {"id": "late", "text": "J k l.", "section": "sec"},
    ]
    write(tmp_path / "p.parquet", rows, gold=gold, words=3)
    names = gold.names(tmp_path / "p.parquet")
    assert gold.passage_ids(["long"], "", names) == ["first", "long/2", "long/3"]
    assert gold.passage_ids(["copy"], "", names) == ["first"]
    assert gold.passage_ids(["gone"], "sec", names) == ["first", "long/2", "long/3", "late"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "f: line 2: id 'a' was there before"),
        ([{"id": "a"}], "f: line 1: no field 'text'"),
        ([{"text": "x"}], "f: line 1: no field 'id'"),
        ([{"id": "a", "text": ""}], "f: line 1: 'text' is empty"),
        ([], "s0: no passages: its files have no records"),
    ],
)
def test_bad_passages_are_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        write(tmp_path / "p.parquet", rows)


def test_an_overlap_as_long_as_a_passage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="overlap_words 5: allowed: less than passage_words, which is 5"):
        write(tmp_path / "p.parquet", [{"id": "a", "text": "x"}], words=5, overlap=5)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    import tracemalloc

    def many(number: int) -> Iterator[Record]:
        return (Record({"id": i, "text": f"{i} " + "long text " * 100}, "") for i in range(number))

    def peak(number: int) -> int:
        tracemalloc.start()
        with TableWriter(tmp_path / "p.parquet", SCHEMA, rows_per_group=200) as table:
            PassageWriter(table, 0, 0, True, Gold()).add(many(number), Fields(FIELDS), "s")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(6000) - peak(2000) < 4000 * 100  # a passage is 1,000 bytes and more
    assert pq.ParquetFile(tmp_path / "p.parquet").metadata.num_row_groups == 10
