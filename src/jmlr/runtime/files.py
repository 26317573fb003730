"""Outputs that appear whole or not at all.

with fresh_directory(Path("results/demo/prepare")) as out:
    (out / "passages.parquet").write_bytes(...)     # renamed into place when the block ends well
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from jmlr.runtime.errors import UserError

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a truncated or damaged gzip file raises


@contextmanager
def fresh_directory(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; put it in the place of `target` if the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.*.partial"):  # what a killed run of this very stage left behind
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    work.chmod(0o777 & ~_umask())
    try:
        yield work
        _sync(work)
        old = work.with_name(work.name.replace(".partial", ".old.partial"))
        if target.exists():
            os.replace(target, old)  # steps aside whole: removing it here would show half of it to who looks now
        os.replace(work, target)
        _sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; rename it to `target` if the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    work = Path(name)
    work.chmod(0o666 & ~_umask())
    try:
        yield work
        with work.open("rb") as f:
            os.fsync(f.fileno())
        os.replace(work, target)
        _sync_folder(target.parent)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return what the person's umask takes from files: `umask 077` keeps private data private."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            with path.open("rb") as f:
                os.fsync(f.fileno())
        elif path.is_dir():
            _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk, so that a rename outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Checked:
    """A file that NumPy does not take for one: it then writes through Python, which reports what the disk refused."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def save_array(path: Path, array: Any) -> None:
    """Write a NumPy array as an .npy file; raise OSError if not all of it could be written.

    NumPy's own way into a file ignores an error that shows only when the file is closed: on a full disk it leaves a file
    whose end is missing, and says nothing.
    """
    import numpy as np

    with path.open("wb") as file:
        np.save(cast(Any, _Checked(file)), array, allow_pickle=False)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing(path: Path, what: str) -> Path:
    """Return the path; raise UserError naming it if there is nothing there."""
    if not path.exists():
        raise UserError(f"{what}: there is no '{path}'")
    return path
