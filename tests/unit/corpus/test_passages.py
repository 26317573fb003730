"""Passages are checked, cut and deduplicated; gold passages are followed through all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jmlr.corpus.chunks import Chunks
from jmlr.corpus.fields import Fields
from jmlr.corpus.passages import FIELDS, SCHEMA, Gold, PassageWriter
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError


def records(*rows: dict[str, Any]) -> Iterator[Record]:
    return (Record(row, f"f: line {n}") for n, row in enumerate(rows, 1))


def write(
    folder: Path, *sources: list[dict[str, Any]], gold: Gold | None = None, words: int = 0, overlap: int = 0, **how: Any
) -> list[dict[str, int]]:
    writer = PassageWriter(folder, Chunks(words, overlap), gold or Gold(), **how)
    for i, rows in enumerate(sources):
        writer.add(records(*rows), Fields(FIELDS), f"s{i}")
    return list(writer.finish().values())


def test_passages_of_all_sources_are_numbered_by_row(tmp_path: Path) -> None:
    first = [{"id": "a", "title": "T", "text": " x ", "section": "s 1"}, {"id": 2, "text": "y"}]
    write(tmp_path, first, [{"id": "c", "text": "z"}])
    table = pq.read_table(tmp_path / "passages.parquet")
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
    counts = write(tmp_path, one, two)
    assert (counts[1]["duplicates"], counts[1]["passages"]) == (1, 1)
    assert pq.read_table(tmp_path / "passages.parquet")["row"].to_pylist() == [0, 1]
    assert write(tmp_path, one, two, deduplicate=False)[1]["passages"] == 2


def test_gold_follows_cutting_sections_and_dropped_duplicates(tmp_path: Path) -> None:
    gold = Gold()
    gold.want(["long", "copy", "gone", "other"], "")
    gold.want([], "sec")
    rows = [
        {"id": "first", "text": "A b c.", "section": "other"},
        {"id": "long", "text": "A b c. D e f. G h i.", "section": "sec"},
        {"id": "copy", "text": "a  b c."},
        {"id": "late", "text": "J k l.", "section": "sec"},
    ]
    write(tmp_path, rows, gold=gold, words=3)
    names = gold.names(tmp_path / "passages.parquet")

    def found(*ids: str, section: str = "", grades: Sequence[int] = ()) -> dict[str, int]:
        question = {"gold_ids": ids, "gold_grades": grades or [1] * len(ids), "gold_section": section}
        return gold.graded(question, names)

    assert list(found("long")) == ["first", "long/2", "long/3"]
    assert list(found("copy")) == ["first"]
    assert list(found("gone", section="sec")) == ["first", "long/2", "long/3", "late"]
    assert list(found("other")) == ["first"], "a gold id may name the section of its passages, such as a PMID"
    assert found("long", "copy", section="sec", grades=[1, 2]) == {"first": 2, "long/2": 1, "long/3": 1, "late": 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "f: line 2: id 'a' was there before"),
        (
            [{"id": "a b", "text": "x"}, {"id": "a_b", "text": "y"}],
            r"'a_b' was there before.*; blanks in ids become '_'$",
        ),
        ([{"id": "a"}], "f: line 1: no field 'text'"),
        ([{"text": "x"}], "f: line 1: no field 'id'"),
        ([{"id": "a", "text": ""}], "f: line 1: 'text' is empty; 'skip_empty: true' passes over such records"),
        ([], "s0: no passages: its files have no records"),
    ],
)
def test_bad_passages_are_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        write(tmp_path, rows)


def test_all_that_is_wrong_with_the_records_of_a_corpus_is_told_in_one_go(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "x"}, {"title": True}, {"id": "c"}, {"id": "d", "text": " "}, {"id": "e"}]
    with pytest.raises(UserError) as caught:
        write(tmp_path, rows)
    assert str(caught.value).splitlines() == [
        "s0: 6 faults in 5 records; every kind with its number and its first place:",
        "  3 x f: line 2: no field 'text' (there are: title); 'fields' can rename text",
        "  1 x f: line 2: no field 'id' (there are: title); 'fields' can rename id",
        "  1 x f: line 2: 'title' is bool; allowed: a text or a number",
        "  1 x f: line 4: 'text' is empty; 'skip_empty: true' passes over such records",
    ]


def test_an_overlap_as_long_as_a_passage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="chunk_overlap_words 5: allowed: less than chunk_words, which is 5"):
        write(tmp_path, [{"id": "a", "text": "x"}], words=5, overlap=5)


def test_memory_does_not_grow_with_the_number_of_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many passages, the same peak: buffers as small beside both as real ones are beside millions."""
    import tracemalloc

    from jmlr.corpus import buckets, near_duplicates, passages

    monkeypatch.setattr(buckets, "WAITING", 256)
    monkeypatch.setattr(near_duplicates, "_BATCH", 512)
    monkeypatch.setattr(passages, "BATCH", 100)

    def many(number: int) -> Iterator[Record]:
        names = (" ".join(f"word{i // 20**n % 20}x{n}" for n in range(4)) for i in range(number))
        return (Record({"id": i, "text": f"{name} text " * 8}, f"f: line {i}") for i, name in enumerate(names))

    def peak(name: str, number: int) -> int:
        folder = tmp_path / name
        folder.mkdir()
        tracemalloc.start()
        writer = PassageWriter(folder, Chunks(), Gold(), near=0.9)
        writer.add(many(number), Fields(FIELDS), "s")
        assert writer.finish()["s"]["passages"] == number
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert pq.ParquetFile(folder / "passages.parquet").metadata.num_rows == number
        assert {p.name for p in folder.iterdir()} == {"passages.arrow", "passages.parquet"}
        return found

    peak("warm", 100)
    few, many_more = peak("few", 300), peak("many", 3000)
    # 2,700 passages more; their row numbers alone would take 8 bytes each, a hash table 30
    assert many_more - few < 2700 * 7


def test_near_duplicates_that_may_be_left_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Boilerplate: very many texts that look alike and are not near; comparing all with all would not end."""
    from jmlr.corpus import near_duplicates, passages

    for module in (near_duplicates, passages):
        monkeypatch.setattr(module, "MOST_COMPARED", 2)
    head = " ".join(f"word{n}" for n in range(60))
    texts = (f"{head} " + " ".join(f"tail{i}x{n}" for n in range(20)) for i in range(30))
    writer = PassageWriter(tmp_path, Chunks(), Gold(), near=0.8)
    writer.add((Record({"id": i, "text": t}, f"f: line {i}") for i, t in enumerate(texts)), Fields(FIELDS), "s")
    assert writer.finish()["s"]["passages"] == 30
    said = capsys.readouterr().err
    assert "0 passages are nearly the same" in said
    assert "each was compared with the first 2 only: some that are nearly the same may be left" in said
