"""Archives, a member at a time, without unpacking them to disk: .zip, and .tar, plain or compressed.

Members that start with a dot, and those of macOS (`__MACOSX`), are no data.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from jmlr.corpus.formats.opened import BROKEN, damaged
from jmlr.runtime.errors import UserError

TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
ENDINGS = (".zip", *TARS)


def members(path: Path, kind: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield (name, bytes) of each file in an archive, in its own order; the bytes are to be read before the next.

    Args:
        path: the archive
        kind: "zip" or "tar"

    Raises:
        UserError: it is truncated, damaged, encrypted, or compressed in a way that Python does not know.
    """
    try:
        for name, stream in _zip(path) if kind == "zip" else _tar(path):
            parts = PurePosixPath(name).parts
            if not any(p.startswith(".") or p == "__MACOSX" for p in parts):
                yield str(PurePosixPath(name)), stream
    except (RuntimeError, NotImplementedError) as error:  # Deflate64 and the like
        raise UserError(f"{path}: {error}: unpack it, and give the folder") from None
    except BROKEN as error:
        raise damaged(str(path), error) from None


def _zip(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise UserError(
                    f"{path}: '{member.filename}' is encrypted with a password: unpack it, and give the folder"
                )
            if not member.is_dir():
                with archive.open(member) as stream:
                    yield member.filename, cast(BinaryIO, stream)


def _tar(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile() and (stream := archive.extractfile(member)):
                yield member.name, cast(BinaryIO, stream)
            archive.members = []  # type: ignore[attr-defined]  # else it keeps all that were read
