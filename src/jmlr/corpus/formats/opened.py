"""An opened file or member of an archive, and its text: any encoding, a block or a line at a time.

    file = Input(io.BytesIO("id,text\\n".encode("utf-16")), "a.csv", "a.csv", Reading(encoding="utf-16"))
    list(file.lines())                                   # ['id,text\\n']

Lines end at line feeds only, in every encoding: U+2028, NEL and form feeds stand inside texts. A mark of the byte order
at the start is no part of the text.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import DAMAGED

BLOCK = 1 << 16
COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
NO_TEXT = {  # how files begin that are no text, and what to do with them
    b"\x1f\x8b": "gzip's data: let its name end in .gz",
    b"BZh91AY&SY": "bzip2's data: let its name end in .bz2",
    b"\xfd7zXZ": "xz's data: let its name end in .xz",
    b"\x28\xb5\x2f\xfd": "Zstandard's data: unpack it: `zstd -d file.zst`",
    b"PK\x03\x04": "a workbook, an office document or a zip: save it as text (.csv, .txt), or let its name end in .zip",
    b"\xd0\xcf\x11\xe0": "a workbook or an office document: save it as text (.csv, .txt)",
    b"PAR1\x15": "Parquet: let its name end in .parquet",
    b"%PDF-": "a PDF: `pdftotext -layout guide.pdf` makes a .txt",
}
BROKEN = (*DAMAGED, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, OSError)  # bz2 raises a plain OSError


@dataclass(frozen=True)
class Reading:
    """How files are read, as the options of an entry say.

    Args:
        encoding: of text
        format: one of `jmlr.corpus.formats.FORMATS`; empty: by the name of each file
        delimiter: between the cells of CSV and TSV files; empty: ',' and tab
        columns: names of the columns of CSV and TSV files that have no header
        records: path to the records inside JSON, such as 'exams.*.data'; empty: as `jmlr.corpus.formats.json_tree` says.
            Of archives of books: what `jmlr.corpus.formats.books` says
        texts_sha256: the digest that the records of one pattern of files must have together; empty: not checked
        skip_empty: documents without a text are passed over
    """

    encoding: str = "utf-8"
    format: str = ""
    delimiter: str = ""
    columns: Sequence[str] = ()
    records: str = ""
    texts_sha256: str = ""
    skip_empty: bool = False


@dataclass(frozen=True)
class Input:
    """A file that is being read.

    Args:
        stream: its bytes, already decompressed
        where: its place, for messages: 'books.zip: b.csv'
        name: what a document calls itself in ids, without '.gz'
        reading: how it is read
        path: where it lies, if it lies on disk as it is
    """

    stream: BinaryIO
    where: str
    name: str
    reading: Reading
    path: Path | None = None

    def text(self) -> Iterator[str]:
        """Yield its text in blocks.

        Raises:
            UserError: bytes that the encoding does not have, or a damaged file.
        """
        encoding, line, place = self.reading.encoding, 1, 0
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while True:
                data = self.stream.read(BLOCK)
                if not place:
                    check_text(data, self.where)
                text = decoder.decode(data, final=not data)
                if not place:
                    text = text.removeprefix("\ufeff")
                    self._check_start(data, text)
                line, place = line + text.count("\n"), place + len(data)
                if text:
                    yield text
                if not data:
                    return
        except UnicodeDecodeError as error:
            known = len(error.object) - len(data)  # bytes of a character that the block before began
            line += decoder.decode(data[: max(0, error.start - known)]).count("\n")
            kind = "UTF-16" if error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "another encoding"
            what = f"0x{error.object[error.start]:02x} at byte {place + error.start - known + 1} of the file; {kind}?"
            fix = "convert the file to UTF-8, or give its 'encoding'"
            raise UserError(f"{self.where}: line {line}: not {encoding.upper()} ({what}): {fix}") from None
        except BROKEN as error:
            raise damaged(self.where, error, f" after line {line - 1}") from None

    def lines(self) -> Iterator[str]:
        """Yield its lines with their ends."""
        return lines(self.text())

    def _check_start(self, data: bytes, text: str) -> None:
        if "\0" in text[:2] and data:
            fix = "give its 'encoding', such as utf-16-le"
            raise UserError(f"{self.where}: line 1: a NUL among the first characters; UTF-16 without a mark? {fix}")


def check_text(begin: bytes, where: str) -> None:
    """Raise UserError if a file that should be text begins as one of `NO_TEXT` does."""
    if wrong := next((what for mark, what in NO_TEXT.items() if begin.startswith(mark)), ""):
        raise UserError(f"{where}: no text, by its first bytes {wrong}")


def lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text that comes in blocks, split at line feeds only.

    >>> list(lines(["a\\u2028", "b\\r\\nc"]))
    ['a\\u2028b\\r\\n', 'c']
    """
    begun: list[str] = []
    for block in blocks:
        *whole, rest = block.split("\n")
        for line in whole:
            yield "".join((*begun, line, "\n"))
            begun = []
        if rest:
            begun.append(rest)
    if begun:
        yield "".join(begun)


def opened(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a stream decompressed as its name tells."""
    how = COMPRESSED.get(Path(name).suffix.lower())
    return how(stream, "rb") if how else stream


def plain(name: str) -> str:
    """Return a name without the ending of a compression.

    >>> plain("a.csv.gz"), plain("a.csv")
    ('a.csv', 'a.csv')
    """
    return str(Path(name).with_suffix("")) if Path(name).suffix.lower() in COMPRESSED else name


def damaged(where: str, error: Exception, after: str = "") -> UserError:
    """Return what to say of a compressed file or archive that cannot be read to its end."""
    if isinstance(error, (tarfile.TarError, zipfile.BadZipFile)):
        return UserError(f"{where}: truncated or damaged archive{after} ({error}): copy or download it again")
    what = "truncated" if isinstance(error, EOFError) else "damaged or no"
    kind = next((k for e, k in ((".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz")) if e in where), "whole")
    return UserError(f"{where}: {what} {kind} file{after} ({error}): copy or download it again")


def checked_encoding(name: str, where: str) -> str:
    """Return the name that Python gives an encoding: 'utf-8' for 'UTF8', 'utf_16' for 'utf-16'.

    Raises:
        UserError: there is none of that name, or it is no encoding of text.
    """
    try:
        "x".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        allowed = "utf-8, cp1252, latin-1, utf-16, ..."
        raise UserError(f"{where}: unknown encoding '{name}'; allowed: {allowed}") from None
