"""Records are streamed from every format, and what is damaged is named by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.corpus.records import Reading, files_of, read_records, records_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below

ROWS = [{"id": "a", "text": "fièvre"}, {"id": "b", "text": "x\u2028y"}]


def write(path: Path, data: str | bytes) -> Path:
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", lines(ROWS)),
        ("a.jsonl", lines(ROWS).replace("\n", "\r\n\r\n").removesuffix("\r\n")),
        ("a.jsonl.gz", lines(ROWS)),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.json.gz", json.dumps(ROWS)),
        ("a.json", lines(ROWS)),
        ("a.csv", "\ufeffid,text\na,fièvre\nb,x\u2028y\n"),
        ("a.tsv.gz", "id\ttext\na\tfièvre\nb\tx\u2028y"),
    ],
)
def test_every_text_format_gives_the_same_records(tmp_path: Path, name: str, data: str) -> None:
    assert [r.fields for r in read_records(write(tmp_path / name, data))] == ROWS


def test_parquet_gives_the_same_records(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    found = list(read_records(tmp_path / "a.parquet"))
    assert [r.fields for r in found] == ROWS
    assert found[1].where.endswith("a.parquet: row 2")


def test_a_csv_cell_may_hold_line_ends_and_later_lines_keep_their_numbers(tmp_path: Path) -> None:
    found = list(read_records(write(tmp_path / "a.csv", 'id,text\na,"one\ntwo"\nb,three\n')))
    assert found[0].fields["text"] == "one\ntwo"
    assert [r.where.rpartition(" ")[2] for r in found] == ["2", "4"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", '{"id": 1}\n{"id": \n', r"a.jsonl: line 2: malformed JSON: Expecting value at column \d+"),
        ("a.jsonl", '{"id": 1}\n[1]\n', "line 2: holds an array; allowed: an object"),
        ("a.jsonl", '{"a": 1} {"b": 2}\n', "line 1: malformed JSON: Extra data"),
        (
            "a.jsonl",
            b'{"id": 1}\n{"id": "fi\xe8vre"}\n',
            "line 2: not UTF-8 .0xe8 at byte 21 of the file.* convert the file to UTF-8",
        ),
        ("a.jsonl", '{"id": 1}\n'.encode("utf-16"), "line 1: not UTF-8 .*UTF-16"),
        ("a.json", '"a text"', "holds a text; allowed: an array of objects, or one object a line"),
        ("a.json", '[{"id": 1},\n {"id": }]', "malformed JSON: Expecting value at line 2, column 9"),
        ("a.json", '[{"id": 1}, 7]', "record 2: holds a number"),
        ("a.csv", "id,text\na,b\nc\n", "line 3: 1 columns, but the header has 2"),
        ("a.csv", 'id,text\na,"b\nc\n', "line 2: malformed row"),
        ("a.parquet", b"PAR1 and no more", "no whole Parquet file"),
        ("a.xyz", "<a/>", "unknown format .\\.xyz. .allowed: .jsonl"),
        ("a.xml", "<a/>", "a.xml: XML that begins with .a. is not read; .format. names its kind"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, name: str, data: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        list(read_records(write(tmp_path / name, data)))
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_named_after_the_records_before_it(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"id": "%d%s"}\n' % (i, str(hash(str(i))).encode()) for i in range(5000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = read_records(tmp_path / "a.jsonl.gz")
    seen = []
    with pytest.raises(UserError, match=r"truncated gzip file after line \d+"):
        seen.extend(found)
    assert 0 < len(seen) < 5000


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b'{"id": 1}\n')
    with pytest.raises(UserError, match="damaged or no gzip file"):
        list(read_records(tmp_path / "a.jsonl.gz"))


def test_errors_never_quote_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "patient Doe", }\n')
    with pytest.raises(UserError) as caught:
        list(read_records(path))
    assert "Doe" not in str(caught.value)


def test_files_of_leaves_the_manifest_out_and_keeps_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "manifest.json", "sub/c.jsonl", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in files_of(tmp_path, "*.jsonl")] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert "manifest.json" not in [p.name for p in files_of(tmp_path, "*")]
    with pytest.raises(UserError, match=r"no file matches 'a.json' .did you mean 'a.jsonl'"):
        files_of(tmp_path, "a.json")


def test_a_pattern_that_is_the_name_of_a_file_takes_it_whatever_signs_it_has(tmp_path: Path) -> None:
    for name in ("sp ace[1].jsonl", "b[2].jsonl"):
        write(tmp_path / name, lines(ROWS))
    assert [p.name for p in files_of(tmp_path, "sp ace[1].jsonl")] == ["sp ace[1].jsonl"]
    assert list(files_below(tmp_path, ["b[2].jsonl"])) == ["b[2].jsonl"]
    assert len(list(records_of("mine", tmp_path, "b[2].jsonl"))) == 2


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("b.jsonl", ""), ("b.jsonl.gz", "\n"), ("b.json", "[]"), ("b.csv", "id,text\n"), ("b.txt", " \n"), ("b.md.gz", "# Gout\n"),
    ],
)  # fmt: skip
def test_a_file_without_records_among_others_is_named_with_the_mend(tmp_path: Path, name: str, data: str) -> None:
    write(tmp_path / "a.jsonl", lines(ROWS))
    assert len(list(records_of("mine", tmp_path, "*"))) == 2
    write(tmp_path / name, data)
    with pytest.raises(UserError, match=f"^mine: file '{name}' has no records: fetch the source again, or let 'file'"):
        list(records_of("mine", tmp_path, "*"))


def test_skip_empty_passes_over_documents_without_text_and_over_no_other_file(tmp_path: Path) -> None:
    for name, text in (("a.txt", "Gout."), ("b.txt", ""), ("c.md.gz", "# Gout\n")):
        write(tmp_path / name, text)
    with pytest.raises(UserError, match=r"file 'b.txt' has no records: .*; 'skip_empty: true' passes over"):
        list(records_of("mine", tmp_path, "*"))
    assert [r.fields["id"] for r in records_of("mine", tmp_path, "*", Reading(skip_empty=True))] == ["a.txt"]
    write(tmp_path / "d.jsonl", "")
    with pytest.raises(UserError, match=r"file 'd.jsonl' has no records"):
        list(records_of("mine", tmp_path, "*", Reading(skip_empty=True)))


def test_a_line_that_is_wrong_leaves_the_others_readable(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"id": 1}\n{"id": \n[2]\n{"id": 3}\n')
    write(tmp_path / "b.csv", "id,text\n4,x\n5\n6,y\n")
    found = list(records_of("mine", tmp_path, "*"))
    assert [r.fields.get("id") for r in found] == [1, None, None, 3, "4", None, "6"]
    assert [str(r.fault).removeprefix(f"{tmp_path}/") for r in found if r.fault] == [
        "a.jsonl: line 2: malformed JSON: Expecting value at column 8",
        "a.jsonl: line 3: holds an array; allowed: an object with named fields",
        "b.csv: line 3: 1 columns, but the header has 2",
    ]
    with pytest.raises(UserError, match="line 2: malformed JSON"):
        list(read_records(tmp_path / "a.jsonl"))
