"""Formats of files: which are read and by what, and how to convert those that are not.

    format_of("a/b.csv.gz")                              # 'csv'
    unreadable(["guide.pdf"])                            # "'guide.pdf': '.pdf' is not read: `pdftotext ..."

One file per format: `read(Input)` yields (place, fields) of each record, or (place, error) where reading can go on. docs/data.md has this table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

from jmlr.corpus.formats import delimited, document, json_file, json_lines, parquet
from jmlr.corpus.formats.archive import ENDINGS as ARCHIVES
from jmlr.corpus.formats.opened import COMPRESSED, Input, plain
from jmlr.corpus.quotes import quoted
from jmlr.corpus.texts import DOCUMENTS
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import matches
from jmlr.runtime.validation import nearest


@dataclass(frozen=True)
class Format:
    """A format: the endings of its files, and its reader."""

    endings: tuple[str, ...]
    read: Callable[[Input], Iterator[tuple[str, dict[str, Any] | UserError]]]


FORMATS = {
    "jsonl": Format((".jsonl", ".ndjson"), json_lines.read),
    "json": Format((".json",), json_file.read),
    "csv": Format((".csv",), delimited.read_csv),
    "tsv": Format((".tsv", ".tab"), delimited.read_tsv),
    "parquet": Format((".parquet",), parquet.read),
    **{kind: Format(endings, partial(document.read, kind=kind)) for kind, endings in DOCUMENTS.items()},
}
ENDINGS = {ending: name for name, format in FORMATS.items() for ending in format.endings}

_PANDOC = "`pandoc -t markdown -o guide.md guide{}` makes Markdown"
_OFFICE = "save it as .csv, or `libreoffice --headless --convert-to csv table{}`"
_PANDAS = "`pandas.read_{}(...).to_parquet(...)` makes Parquet"
CONVERT = {
    ".pdf": "`pdftotext -layout guide.pdf` makes a .txt",
    **{end: _PANDOC.format(end) for end in (".docx", ".odt", ".rtf", ".epub", ".tex")},
    ".doc": "`libreoffice --headless --convert-to txt:Text guide.doc` makes a .txt",
    ".pptx": "`libreoffice --headless --convert-to pdf slides.pptx`, then pdftotext",
    ".ppt": "`libreoffice --headless --convert-to pdf slides.ppt`, then pdftotext",
    **{end: _OFFICE.format(end) for end in (".xls", ".xlsx", ".ods")},
    ".rar": "unpack it: `7z x files.rar`",
    ".7z": "unpack it: `7z x files.7z`",
    ".zst": "unpack it: `zstd -d file.zst`",
    ".pkl": _PANDAS.format("pickle") + "; open only those that you trust, they run code",
    ".pickle": _PANDAS.format("pickle") + "; open only those that you trust, they run code",
    ".feather": _PANDAS.format("feather"),
    ".arrow": "`datasets.load_from_disk(folder).to_parquet(...)` makes Parquet",
    ".dta": _PANDAS.format("stata"),
    ".sav": _PANDAS.format("spss"),
    ".sas7bdat": _PANDAS.format("sas"),
    **{end: f"`sqlite3 -header -csv data{end} 'select * from notes'` makes CSV" for end in (".db", ".sqlite")},
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".dcm"), "a picture; a text of it is needed"),
    **dict.fromkeys((".mp3", ".wav", ".mp4"), "sound or film; a text of it is needed"),
}


def format_of(name: str, given: str = "") -> str:
    """Return the format of a file, "zip" and "tar" among them: that which is given, else by its name; "" where none is known.

    Archives are known by their names alone: a given format is that of their members.
    """
    lower = name.lower()
    if lower.endswith(ARCHIVES):
        return "zip" if lower.endswith(".zip") else "tar"
    return given or ENDINGS.get(PurePath(plain(lower)).suffix, "")


def unreadable(names: Iterable[str], pattern: str = "*", format: str = "") -> str:
    """Return which of the files that a pattern takes cannot be read, and what to do; "" if all can be.

    Args:
        names: of the files, below their folder
        pattern: glob pattern
        format: that which is given; empty: by each name
    """
    wrong = [name for name in names if matches(name, pattern) and not format_of(name, format)]
    if not wrong:
        return ""
    others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{quoted(wrong[0])}{others}: {why_not(wrong[0])}; or 'file' chooses others"


def why_not(name: str) -> str:
    """Return why a file cannot be read by its name, and what to convert it to."""
    ending = PurePath(name.lower()).suffix
    if ending in CONVERT:
        return f"'{ending}' is not read: {CONVERT[ending]}"
    texts = f"texts also as {', '.join(COMPRESSED)}"
    return (
        f"unknown format '{ending}' (allowed: {', '.join((*ENDINGS, '.zip', '.tar'))}; {texts}); 'format' can say which"
    )


def check_format(name: str) -> str:
    """Return what is wrong with the name of a format; "" if nothing is."""
    return "" if not name or name in FORMATS else f"no format '{name}'{nearest(name, FORMATS)}"
