"""Every format, read right or refused in one line: nothing, infinity, names twice, encodings, delimiters, archives."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.corpus.fields import Fields
from jmlr.corpus.formats import ARCHIVES, COMPRESSED, CONVERT, ENDINGS, FORMATS, unreadable
from jmlr.corpus.quotes import hidden
from jmlr.corpus.records import Reading, read_records, records_of
from jmlr.options.data import CorpusOptions
from jmlr.runtime.errors import UserError

NAN, INF = float("nan"), float("inf")
Packed = Callable[[Path, Mapping[str, bytes]], Path]


def fields(path: Path, *reading: Any, **named: Any) -> list[dict[str, Any]]:
    return [r.fields for r in read_records(path, Reading(*reading, **named))]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refused(path: Path, said: str, **named: Any) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fields(path, **named)
    assert "\n" not in str(caught.value)


def test_nan_is_nothing_in_every_form_of_json(tmp_path: Path) -> None:
    row = '{"id": 1, "options": {"A": "x", "E": NaN}, "list": ["y", NaN], "deep": {"a": [{"b": NaN}]}, "word": "nan"}'
    clean = {
        "id": 1,
        "options": {"A": "x", "E": None},
        "list": ["y", None],
        "deep": {"a": [{"b": None}]},
        "word": "nan",
    }
    assert fields(write(tmp_path / "a.jsonl", row)) == [clean]
    assert fields(write(tmp_path / "a.json", f"[{row}]")) == [clean]
    assert fields(write(tmp_path / "b.json", f'{{"q": {row}}}')) == [{"_key": "q", **clean}]


def test_nan_is_nothing_in_parquet_inside_structs_and_lists_too(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "x": NAN, "s": {"y": NAN, "z": [NAN, 1.5]}, "n": 3},
        {"id": "b", "x": 0.5, "s": None, "n": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == [
        {"id": "a", "x": None, "s": {"y": None, "z": [None, 1.5]}, "n": 3}, rows[1]
    ]  # fmt: skip


def test_a_map_of_parquet_is_an_object(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.float64())
    pq.write_table(pa.table({"o": pa.array([[("A", 1.0), ("B", NAN)]], kind)}), tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == [{"o": {"A": 1.0, "B": None}}]
    pq.write_table(pa.table({"o": pa.array([[("A", 1.0), ("A", 2.0)]], kind)}), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "after row 0: a key stands twice in one map")


def test_parquet_is_read_without_keeping_what_was_read(tmp_path: Path) -> None:
    peaks = []
    for groups in (4, 40):
        with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("text", pa.string())]), compression="none") as writer:
            for i in range(groups):
                writer.write_table(pa.table({"text": [f"{i}-{n}" * 500 for n in range(400)]}))
        before, peak = pa.total_allocated_bytes(), 0
        for _ in read_records(tmp_path / "a.parquet"):
            peak = max(peak, pa.total_allocated_bytes() - before)
        peaks.append(peak)
    assert 0 < peaks[1] < 1.5 * peaks[0]


def test_a_truncated_document_is_told(tmp_path: Path) -> None:
    xml = f"<PubmedArticleSet>{'<PubmedArticle><MedlineCitation/></PubmedArticle>' * 9000}</PubmedArticleSet>"
    for name, text in (("a.xml.gz", xml), ("a.html.gz", f"<p>{TEXT * 9000}</p>"), ("a.md.gz", "# G\n\nx" * 9000)):
        refused(write(tmp_path / name, gzip.compress(text.encode())[:-20]), f"{name}: truncated gzip file")


def test_a_csv_cell_is_the_text_that_stands_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,a,b,c,d\n007,NA,None,null,nan\n")
    assert fields(path) == [{"id": "007", "a": "NA", "b": "None", "c": "null", "d": "nan"}]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "a.jsonl",
            '{"x": 1}\n{"x": {"y": [1, -Infinity]}}\n',
            r"a.jsonl: line 2: 'x.y.1' is infinite; allowed: a finite",
        ),
        ("a.jsonl", '{"x": 1e999}\n', "line 1: 'x' is infinite"),
        ("a.json", '[{"x": 1},\n {"x": Infinity}]', "a.json: record 2: 'x' is infinite"),
        ("a.jsonl", '{"id": 1, "id": 2}\n', "line 1: the key 'id' stands twice in one object"),
        ("a.jsonl", '{"id": 1}\n{"options": {"A": "x", "B": "y", "A": "z"}}', "line 2: the key 'A' stands twice"),
        ("a.json", '[{"o": {"A": 1, "A": 1}}]', "record 1: the key 'A' stands twice"),
        ("a.json", '{"q1": {"a": 1}, "q2": {"a": 1}, "q1": {"a": 2}}', "the key 'q1' stands twice"),
        ("a.csv", "id,answer,id\na,b,c\n", "a.csv: line 1: the header names 'id' 2 times; allowed: each column once"),
    ],
)
def test_infinity_and_names_that_stand_twice_are_refused(tmp_path: Path, name: str, data: str, said: str) -> None:
    refused(write(tmp_path / name, data), said)


def test_parquet_refuses_infinity_and_names_twice(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, -INF]}), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "a.parquet: row 2: 'x' is infinite")
    pq.write_table(pa.Table.from_pylist([{"s": {"y": [{"z": INF}]}}]), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "row 1: 's.y.0.z' is infinite")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"]), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "2 columns are named 'id'; allowed: each name once")


def test_columns_names_each_column_once_and_is_no_header_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "q,x\nid,a\n")
    refused(path, "'columns' names 'id' 2 times", columns=("id", "id"))
    refused(path, "line 1: this is the header that 'columns' names; leave 'columns' out", columns=("q", "x"))
    assert len(fields(path, columns=("id", "text"))) == 2


def test_columns_without_a_name_are_passed_over(tmp_path: Path) -> None:
    assert fields(write(tmp_path / "a.csv", ",id,,\n0,a,,\n1,b,,\n")) == [{"id": "a"}, {"id": "b"}]


TEXT = "x\u2028y\x85z\x0cw"


@pytest.mark.parametrize(
    ("codec", "names"),
    [
        ("utf-8", ["utf-8", "UTF-8", "utf8", "U8"]),
        ("utf-8-sig", ["utf-8", "UTF-8", "utf8", "utf_8", "UTF-8-SIG"]),
        ("utf-16", ["utf-16", "utf_16", "UTF16"]),
        ("utf-16-be", ["utf-16-be"]),
        ("utf-32", ["utf-32"]),
    ],
)
def test_an_encoding_goes_by_any_of_its_names_and_lines_end_at_line_feeds(
    tmp_path: Path, codec: str, names: list[str]
) -> None:
    rows = [{"id": "ä", "text": TEXT}, {"id": "b", "text": "c"}]
    raw = "".join(
        json.dumps(r, ensure_ascii=False).replace("\\u0085", "\x85").replace("\\f", " ") + "\r\n" for r in rows
    )
    rows[0]["text"] = TEXT.replace("\x0c", " ")
    cells = f'id,text\r\nä,"{TEXT}"\r\nb,c\r\n'
    for name in names:
        assert fields(write(tmp_path / "a.jsonl", raw.encode(codec)), name) == rows
        assert fields(write(tmp_path / "a.csv", cells.encode(codec)), name) == [{"id": "ä", "text": TEXT}, rows[1]]
        path = tmp_path / "a.json.gz"
        path.write_bytes(gzip.compress(json.dumps(rows, ensure_ascii=False).encode(codec)))
        assert fields(path, name) == rows


def test_a_character_across_two_blocks_is_one_and_a_wrong_one_is_placed(tmp_path: Path) -> None:
    long = "ä" * 40_000 + "x"  # 80,001 bytes: a block of 65,536 ends inside a character in one of the two
    for before in ("", "y"):
        path = write(tmp_path / "a.csv", f"id,text\n{before},{long}\n")
        assert fields(path)[0]["text"] == long
    line = b'{"id": "' + b"a" * 70_000 + b'"}\n'
    refused(
        write(tmp_path / "a.jsonl", line + b'{"id": "\xff"}\n'), f"line 2: not UTF-8 .0xff at byte {len(line) + 9} of"
    )


def test_utf_16_without_a_mark_is_seen_and_what_is_no_encoding_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 1}\n'.encode("utf-16-le"))
    refused(path, "line 1: a NUL among the first characters; UTF-16 without a mark. give its 'encoding'")
    refused(path, "unknown encoding 'rot13'; allowed: utf-8, cp1252", encoding="rot13")


@pytest.mark.parametrize("given", [";", "|", "tab", "\\t", "\t", "~"])
def test_a_delimiter_is_a_character_or_tab(tmp_path: Path, given: str) -> None:
    char = "\t" if given in ("tab", "\\t") else given
    path = write(tmp_path / "a.csv", f'id{char}text\na{char}"b,{char}c"\n')
    assert fields(path, delimiter=given) == [{"id": "a", "text": f"b,{char}c"}]
    assert CorpusOptions(delimiter=given).delimiter == given


@pytest.mark.parametrize(("char", "said"), [(";", '";"'), ("\t", "tab"), ("|", r'"\|"')])
def test_another_delimiter_is_guessed_at_and_never_taken(tmp_path: Path, char: str, said: str) -> None:
    path = write(tmp_path / "a.csv", f"id{char}text\na{char}b\n")
    refused(path, f"line 1: one column, .*; 'delimiter: {said}' may be meant")
    path = write(tmp_path / "a.csv", f"id{char}text,or so{char}c\na{char}b{char}c\n")
    refused(path, f"line 2: 1 columns, but the header has 2; 'delimiter: {said}' may be meant")
    path = write(tmp_path / "a.csv", f"id{char}text,more\na{char}b\n")
    refused(path, f"line 2: 1 columns, but the header has 2; 'delimiter: {said}' may be meant")
    [record] = read_records(write(tmp_path / "a.csv", f"id{char}text,more\na{char}b,c\n"))
    with pytest.raises(UserError, match=rf"no field 'id' .*the column .* holds that name: 'delimiter: {said}' may be"):
        Fields(["id"]).text(record, "id", required=True)
    assert fields(write(tmp_path / "a.csv", "text\na;b\n")) == [{"text": "a;b"}]
    refused(path, "delimiter '::'; allowed: one character, or tab", delimiter="::")


def test_a_first_line_for_excel_states_the_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\ufeffsep=;\r\nid;text\r\na;b,c\r\n")
    [record] = read_records(path)
    assert (record.fields, record.where[-6:]) == ({"id": "a", "text": "b,c"}, "line 3")


def test_the_format_can_be_given_where_names_do_not_tell_it(tmp_path: Path) -> None:
    assert fields(write(tmp_path / "a.txt", "id;t\n1;2\n"), format="csv", delimiter=";") == [{"id": "1", "t": "2"}]
    assert fields(write(tmp_path / "dump", '{"a": 1}\n'), format="jsonl") == [{"a": 1}]
    refused(tmp_path / "dump", r"unknown format '' .*'format' can say which")
    refused(tmp_path / "dump", "no format 'jsonlines' .did you mean 'jsonl'", format="jsonlines")
    assert fields(write(tmp_path / "notes.log", "Gout."), format="txt")[0]["text"] == "Gout."


def test_the_option_names_the_formats_that_there_are() -> None:
    allowed = set(get_args(CorpusOptions.model_fields["format"].annotation)) - {""}
    assert allowed == set(FORMATS), "the Literal of `format` in options/data.py"


@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_text_is_read_and_damage_is_told(
    tmp_path: Path, ending: str, packed: Callable[[bytes], bytes]
) -> None:
    data = b"".join(b'{"id": %d, "x": "%x"}\n' % (i, i**9) for i in range(30_000))
    path = write(tmp_path / f"a.jsonl.{ending}", packed(data))
    assert len(fields(path)) == 30_000
    refused(write(path, path.read_bytes()[:-9000]), "truncated .* file after line|damaged")
    refused(write(path, b'{"id": 1}\n'), "a.jsonl.*: damaged or no .* file after line 0 ")


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.with_suffix(".zip")


def tarred(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path.with_suffix(".tar.gz")


def members() -> dict[str, bytes]:
    table = io.BytesIO()
    pq.write_table(pa.table({"id": ["p"]}), table)
    return {
        "d/a.jsonl": b'{"id": "j"}\n', "d/a.json": b'[{"id": "k"}]', "d/b.csv": b"id\nc\n", "d/c.tsv.gz": gzip.compress(b"id\nt\n"),
        "d/e.parquet": table.getvalue(), "d/f.md": b"# Gout\n\nRest.", "d/.hidden.csv": b"x", "__MACOSX/d/._b.csv": b"x",
        "d/picture.png": b"x", "d/LICENCE": b"x",
    }  # fmt: skip


@pytest.mark.parametrize("packed", [zipped, tarred])
def test_anything_is_read_from_an_archive_and_placed_in_it(tmp_path: Path, packed: Packed, capsys: Any) -> None:
    path = packed(tmp_path / "a", members())
    found = list(read_records(path))
    assert [r.fields["id"] for r in found] == ["j", "k", "c", "t", "p", "d/f.md"]
    assert found[2].where == f"{path}: d/b.csv: line 2"
    assert "2 members passed over, which are in no format that is read (1 .png, 1 no ending)" in capsys.readouterr().err
    path = packed(tmp_path / "a", {"b.csv": b"id,x\n1,2\n3\n"})
    refused(path, rf"{path.name}: b.csv: line 3: 1 columns, but the header has 2")
    refused(packed(tmp_path / "a", {"a.pdf": b"x", "b.pdf": b"x"}), "nothing in it can be read .2 .pdf.")
    refused(packed(tmp_path / "a", {"a.csv": b"id\n1\n", "b.csv": b"id\n"}), "b.csv: no records: fetch")
    refused(packed(tmp_path / "a", {}), "no records")
    cut = packed(tmp_path / "a", {"a.csv": b"id\n1\n"})
    refused(write(cut, cut.read_bytes()[:-30]), "truncated or damaged archive|truncated gzip")


@pytest.mark.parametrize("packed", [zipped, tarred])
def test_a_pattern_that_no_file_matches_chooses_members_of_archives(tmp_path: Path, packed: Packed) -> None:
    data = {"dev/a.csv": b"id\n1\n", "test/a.csv": b"id\n2\n", "test/x.pdf": b"x"}
    name = packed(tmp_path / "data", data).name
    for pattern in ("*test/*.csv", f"{name}/test/*.csv"):
        assert [r.fields["id"] for r in records_of("mine", tmp_path, pattern)] == ["2"]
    with pytest.raises(UserError, match=f"{name}: test/x.pdf: '.pdf' is not read: `pdftotext"):
        list(records_of("mine", tmp_path, "*test/*"))
    with pytest.raises(UserError, match=rf"no file matches 'test/b.csv', nor .*{name}/test/a.csv"):
        list(records_of("mine", tmp_path, "test/b.csv"))
    write(tmp_path / "b.csv", "id\n3\n")
    assert [r.fields["id"] for r in records_of("mine", tmp_path, "*.csv")] == ["3"]


def test_a_zip_with_a_password_is_refused_in_one_line(tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "a", {"a.csv": b"id\n1\n"}).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag 'encrypted', in both headers
        raw[raw.find(mark) + at] |= 1
    refused(
        write(tmp_path / "a.zip", bytes(raw)),
        "a.zip: '[^<>']*' is encrypted with a password: unpack it, and give the folder$",
    )


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.txt", "a.md", "a.html", "a.xml"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"id,text\na,b\n", mtime=0), r"gzip's data: let its name end in \.gz"),
        (bz2.compress(b"id,text\na,b\n"), r"bzip2's data: let its name end in \.bz2"),
        (lzma.compress(b"id,text\na,b\n"), r"xz's data: let its name end in \.xz"),
        (b"PK\x03\x04\x14\x00\x06\x00", r"a workbook, .*: save it as text \(\.csv"),
        (b"PAR1\x15\x04", r"Parquet: let its name end in \.parquet"),
        (b"%PDF-1.7\n", "a PDF: `pdftotext"),
    ],
)
def test_what_is_no_text_under_the_name_of_a_text_is_told_by_its_first_bytes(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    refused(write(tmp_path / name, data), f"{name}: no text, by its first bytes {said}")
    assert fields(write(tmp_path / "b.csv", "PAR1,BZh\nPK,x\n")) == [{"PAR1": "PK", "BZh": "x"}]


def test_a_citation_is_placed_by_its_number_and_its_pmid(tmp_path: Path) -> None:
    one = "<PubmedArticle><MedlineCitation><PMID>{}</PMID></MedlineCitation></PubmedArticle>"
    path = write(tmp_path / "p.xml", f"<PubmedArticleSet>{one.format(11)}{one.format(22)}</PubmedArticleSet>")
    assert [r.where for r in read_records(path)] == [f"{path}: record 1, '11'", f"{path}: record 2, '22'"]
    [record] = read_records(write(tmp_path / "a.txt", "Gout."))
    assert record.where == str(tmp_path / "a.txt")
    with hidden(True):
        assert next(r.where for r in read_records(path)).endswith("p.xml: record 1, (private)")


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.csv", "Smith,Smith\n", {}), ("a.csv", "Smith;54\n", {}), ("a.csv", "a,b\nSmith\n", {}), ("a.csv", 'a\n"Smith', {}),
        ("a.jsonl", '{"Smith": 1, "Smith": 2}', {}), ("a.jsonl", '{"Smith": Infinity}', {}), ("a.jsonl", '{"Smith": tru}', {}),
        ("a.json", '{"Smith": {"a": 1}, "Smith": {}}', {}), ("a.json", '{"Smith": {}, "b": {}, "c": [{}]}', {}),
        ("a.json", '{"Smith": {"x": 1}}', {"records": "*.data"}), ("a.json", '{"Smith": {"x": 1}}', {"records": "Smyth"}),
    ],
)  # fmt: skip
def test_nothing_of_private_data_stands_in_a_message(
    tmp_path: Path, name: str, data: str, named: dict[str, str]
) -> None:
    path = write(tmp_path / name, data)
    with hidden(), pytest.raises(UserError) as caught:
        fields(path, **named)
    assert "Smith" not in str(caught.value)


def test_what_can_never_be_read_is_told_by_names_alone() -> None:
    assert unreadable(["a.jsonl", "b/c.CSV.gz", "d.zip", "e.tar.xz", "f.txt.bz2", "g.parquet"]) == ""
    found = unreadable(["a.md", "b.pdf", "c.pdf"])
    assert found.startswith("'b.pdf' and 1 more: '.pdf' is not read: `pdftotext -layout guide.pdf` makes a .txt")
    assert unreadable(["b.pdf"], "*.md") == unreadable(["b.pdf"], "*", "txt") == ""
    assert "unknown format '.xyz' (allowed: .jsonl" in unreadable(["a.xyz"])
    with hidden():
        assert "smith" not in unreadable(["smith.pdf"])


def test_the_table_of_the_docs_has_every_format_and_every_conversion() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/data.md").read_text()
    rows = [
        r.split("|")[1:4]
        for r in re.findall(r"^\| `\..*$", text.partition("## Formats")[2].partition("\n## ")[0], re.M)
    ]
    read, converted = (
        {e for names, what, how in rows if (what, how)[side].strip() for e in re.findall(r"`(\.\w+)`", names)}
        for side in (0, 1)
    )
    assert read == {*ENDINGS, *COMPRESSED, *(e for e in ARCHIVES if e.count(".") == 1)}, "docs/data.md, Formats"
    assert converted == set(CONVERT), "docs/data.md, Formats"


def test_no_ending_is_both_read_and_to_be_converted() -> None:
    assert not {e for f in FORMATS.values() for e in f.endings} & set(CONVERT)
    assert all(re.fullmatch(r"\.[a-z0-9]+", ending) for ending in CONVERT)
