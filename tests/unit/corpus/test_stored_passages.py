"""Passages are read by row: no more than a batch of them is held, and a file that is not whole is told in one line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.corpus.stored_passages import COLUMNS, NAME, PER, SCHEMA, PassageRows, StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.runtime import manifest
from jmlr.runtime.errors import UserError

COUNT = 3 * PER + 7
HELD = """
import re, sys
from pathlib import Path
from jmlr.corpus.stored_passages import StoredPassages

def resident():
    return 1024 * int(re.search(r"^Rss:\\s+(\\d+)", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])

def read(folder):
    passages = StoredPassages.open(Path(folder))
    count = len(passages)
    return passages, list(passages.run(count // 2, count // 2 + 500)), passages.take(range(0, count, count // 500), ["id", "text"])

few, many = sys.argv[1:]
read(few)
before = resident()
held = read(few)
middle = resident()
held = None
held = read(many)
print(resident() - max(before, middle))
"""


def rows(count: int, length: int = 3) -> list[dict[str, str]]:
    return [{"id": f"p{n}", "title": f"Title {n % 5}" * (n % 2), "text": f"Wörter {n} " * length} for n in range(count)]


def write(folder: Path, made: list[dict[str, str]], batch: int = 100) -> Path:
    """Write passages in batches of any length."""
    folder.mkdir(parents=True, exist_ok=True)
    with PassageRows(folder / NAME) as file:
        for first in range(0, len(made), batch):
            file.add(pa.RecordBatch.from_pylist([{"row": 0, **r} for r in made[first : first + batch]]))
    return folder


@pytest.mark.parametrize("batch", [1, 50, PER, 1000])
def test_rows_come_back_in_the_order_asked_for_whatever_the_batches_that_were_written(tmp_path: Path, batch: int):
    made = rows(COUNT)
    passages = StoredPassages.open(write(tmp_path, made, batch))
    assert len(passages) == COUNT
    wanted = [COUNT - 1, 0, PER, 0, PER - 1, 2 * PER]
    assert passages.pairs(wanted) == [(made[n]["title"], made[n]["text"]) for n in wanted]
    assert passages.take(wanted, ["id"]) == [(f"p{n}",) for n in wanted]
    for first, last in ((0, COUNT), (1, PER), (PER, 2 * PER), (PER - 1, PER + 1), (5, 5), (COUNT - 1, COUNT)):
        assert list(passages.run(first, last, COLUMNS)) == [tuple(r.values()) for r in made[first:last]]


def test_a_table_of_nothing_has_no_rows(tmp_path: Path):
    passages = StoredPassages.open(write(tmp_path, []))
    assert (len(passages), list(passages.run(0, 0)), passages.take([])) == (0, [], [])
    with pytest.raises(UserError, match=r"has no row 0; it has 0"):
        passages.pairs([0])


def test_a_row_that_is_not_there_is_an_error(tmp_path: Path):
    passages = StoredPassages.open(write(tmp_path, rows(COUNT)))
    for row in (-1, COUNT):
        with pytest.raises(UserError, match=f"has no row {row}; it has {COUNT}"):
            passages.pairs([0, row])


def test_a_file_cut_short_is_one_line(tmp_path: Path):
    path = write(tmp_path, rows(COUNT)) / NAME
    whole = path.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(
            UserError, match=r"passages.arrow' is damaged or not whole .*; run the stage that makes it"
        ) as told:
            StoredPassages.open(tmp_path)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("columns", [{"id": ["a"], "text": ["b"]}, {"id": ["a"], "title": ["b"], "text": ["c"]}])
def test_a_foreign_arrow_file_is_one_line(tmp_path: Path, columns: dict[str, Any]):
    """The second has our columns, and other batches: its rows would be looked for in the wrong places."""
    table = pa.table(columns)
    with pa.OSFile(str(tmp_path / NAME), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(
        UserError, match=r"holds no passages of `prepare`, or another version's; run the stage that makes it"
    ):
        StoredPassages.open(tmp_path)


def test_damaged_bytes_are_one_line_and_never_followed(tmp_path: Path):
    """Fix: Check lengths before a value is taken out, else a damaged one is followed beyond the file."""
    path = write(tmp_path, rows(COUNT)) / NAME
    held = bytearray(path.read_bytes())
    lengths = pa.array([r["id"] for r in rows(PER)]).buffers()[1].to_pybytes()
    place = held.index(lengths)
    held[place + 4 : place + len(lengths)] = b"\x7f" * (len(lengths) - 4)
    path.write_bytes(held)
    passages = StoredPassages.open(tmp_path)
    assert passages.take([PER], ["id"]) == [(f"p{PER}",)]
    with pytest.raises(
        UserError, match=r"passages.arrow' is damaged or not whole .*; run the stage that makes it"
    ) as told:
        passages.take([0], ["id"])
    assert "\n" not in str(told.value)


def test_batches_of_another_length_are_refused(tmp_path: Path):
    batches = [pa.RecordBatch.from_pylist(rows(n)).cast(SCHEMA) for n in (PER + 1, PER)]
    with pa.OSFile(str(tmp_path / NAME), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with pytest.raises(UserError, match=f"batch 0 has {PER + 1} rows"):
        StoredPassages.open(tmp_path).pairs([0])


def test_all_rows_in_one_batch_are_refused_when_the_file_is_opened(tmp_path: Path):
    """Rows would be looked for in batches that are not there."""
    with pa.OSFile(str(tmp_path / NAME), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows(COUNT), schema=SCHEMA))
    with pytest.raises(
        UserError,
        match=f"is damaged or not whole .a batch has {COUNT} rows, more than {PER}.; run the stage that makes it",
    ):
        StoredPassages.open(tmp_path)


def test_a_missing_file_says_what_to_run(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no '.*passages.arrow'; run the stage that makes it"):
        StoredPassages.open(tmp_path)


def test_passages_of_an_earlier_version_are_read_the_same_and_it_is_said_once(tmp_path: Path, capsys):
    made = rows(COUNT)
    new = StoredPassages.open(write(tmp_path / "new", made))
    (tmp_path / "old").mkdir()
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "old/passages.parquet", row_group_size=50)
    old = StoredPassages.open(tmp_path / "old")
    assert len(old) == COUNT
    assert capsys.readouterr().err == ""
    assert list(old.run(0, COUNT, COLUMNS)) == list(new.run(0, COUNT, COLUMNS))
    assert old.pairs([COUNT - 1, 0]) == new.pairs([COUNT - 1, 0])
    assert capsys.readouterr().err.count("was prepared by an earlier version") == 1
    whole = old.where.read_bytes()
    old.where.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"passages.parquet' is damaged or not whole .*; run the stage that makes it"):
        StoredPassages.open(tmp_path / "old")


def listed(folder: Path, files: dict[str, list[dict[str, str]]]) -> Path:
    """Write passages and a manifest that lists them, as `prepare` does; large texts, so that the file is above 1 MiB."""
    with manifest.stage_output(folder, "prepare", inputs={}) as (out, _):
        for name, made in files.items():
            if name == NAME:
                write(out, made)
            else:
                pq.write_table(pa.Table.from_pylist(made), out / name)
    return folder


@pytest.mark.parametrize("length", [3, 600])
def test_other_passages_than_the_manifest_lists_are_refused(tmp_path: Path, length: int):
    """Fix: Hold the file against the manifest: else vectors and candidates are of other rows, without a word."""
    made = rows(COUNT, length)
    folder = listed(tmp_path / "results/own/prepare", {NAME: made})
    size = (folder / NAME).stat().st_size
    assert (size > 1 << 20) == (length == 600)
    assert len(StoredPassages.open(folder)) == COUNT
    others = {
        "reversed": made[::-1],
        "one dropped in the middle": made[: COUNT // 2] + made[COUNT // 2 + 1 :],
        "one longer": [*made[:9], {**made[9], "text": made[9]["text"] + "and no more than this" * 4}, *made[10:]],
    }
    said = "make it with `snakemake --cores all --configfile FILE --force -- results/own/prepare`"
    for what, other in others.items():
        write(folder, other)
        with pytest.raises(
            UserError, match=r"passages.arrow' is not the one that manifest.json beside it lists"
        ) as told:
            StoredPassages.open(folder)
        assert said in str(told.value), what
        assert "\n" not in str(told.value)
    write(folder, made)
    assert len(StoredPassages.open(folder)) == COUNT


def test_opening_reads_no_more_of_a_larger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = listed(tmp_path / "prepare", {NAME: rows(COUNT, 600)})
    monkeypatch.setattr("jmlr.runtime.files.sha256", lambda path: pytest.fail(f"reads all of {path}"))
    assert len(StoredPassages.open(folder)) == COUNT


def test_a_file_that_the_manifest_lists_and_is_gone_is_no_earlier_versions_folder(tmp_path: Path):
    made = rows(COUNT)
    folder = listed(tmp_path / "results/demo/prepare", {NAME: made, "passages.parquet": made})
    (folder / NAME).unlink()
    with pytest.raises(UserError) as told:
        StoredPassages.open(folder)
    assert str(told.value).endswith(
        f"there is no '{folder / NAME}', which manifest.json beside it lists; "
        "make it with `snakemake --cores all --force -- results/demo/prepare` in the checkout"
    )
    earlier = listed(tmp_path / "earlier/prepare", {"passages.parquet": made})
    assert len(StoredPassages.open(earlier)) == COUNT


def test_a_manifest_of_an_earlier_version_has_no_samples_and_its_folder_is_read(tmp_path: Path):
    folder = listed(tmp_path / "prepare", {NAME: rows(COUNT, 600)})
    told = manifest.read_manifest(folder)
    assert told.pop("samples").keys() == {NAME}
    (folder / manifest.NAME).write_text(json.dumps(told))
    assert len(StoredPassages.open(folder)) == COUNT


def test_another_table_of_questions_than_the_manifest_lists_is_refused(tmp_path: Path):
    folder = listed(tmp_path / "prepare", {"questions.parquet": rows(9)})
    assert len(read_table(folder / "questions.parquet")) == 9
    pq.write_table(pa.Table.from_pylist(rows(9)[::-1]), folder / "questions.parquet")
    with pytest.raises(UserError, match=r"questions.parquet' is not the one that manifest.json beside it lists"):
        read_table(folder / "questions.parquet")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is told by Linux")
def test_what_a_process_holds_grows_by_at_most_20_bytes_a_passage(tmp_path: Path):
    """Fix: Read rows by need. The whole table takes some 1,000 bytes a passage in every process of every stage."""
    few, many = 5_000, 200_000
    for count in (few, many):
        write(tmp_path / str(count), rows(count, length=60), batch=8192)
    words = [sys.executable, "-c", HELD, str(tmp_path / str(few)), str(tmp_path / str(many))]
    grown = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    size = (tmp_path / str(many) / NAME).stat().st_size
    assert size > 600 * many, "passages too short to tell"
    assert grown <= 20 * (many - few)


def test_a_row_brings_little_of_the_file_along(tmp_path: Path):
    """Fix: Keep batches small: one is read whole for a single row of it."""
    path = write(tmp_path, rows(2000, length=60)) / NAME
    batches = -(-2000 // PER)
    assert path.stat().st_size / batches < 128 << 10


def test_a_copy_reads_the_same_file(tmp_path: Path):
    passages = StoredPassages.open(write(tmp_path, rows(COUNT)))
    assert copy.deepcopy(passages).pairs([5, COUNT - 1]) == passages.pairs([5, COUNT - 1])
