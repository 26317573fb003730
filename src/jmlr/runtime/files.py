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
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, cast

from jmlr.runtime.errors import UserError

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a truncated or damaged gzip file raises
MANIFEST = "manifest.json"  # what every stage writes beside its output; never data
SYNCED_AT_ONCE = 16


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
        _sync_one(target.parent)
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
        _sync_one(work)
        os.replace(work, target)
        _sync_one(target.parent)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return what the person's umask takes from files: `umask 077` keeps private data private."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    """Bring a folder and all that is in it to disk, many files at once: they then share the waits of the file system."""
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        for _ in pool.map(_sync_one, [*folder.rglob("*"), folder]):
            pass  # an error of one is raised here


def _sync_one(path: Path) -> None:
    """Bring a file's content or a folder's entries to disk, so that a rename outlives a power cut."""
    handle = os.open(path, os.O_RDONLY)
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


def files_below(path: Path, patterns: Iterable[str] = ()) -> dict[str, Path]:
    """Return what a file or folder of data holds: names relative to the folder -> files, in the order of their names.

    Links to files and folders are followed. Hidden files, those in hidden folders, and our own manifests are left out.

    Args:
        path: a file, which counts under its own name, or a folder
        patterns: glob patterns of the names to take; none: all

    Raises:
        UserError: there is no such path, a link leads nowhere, or folders link to each other in a circle.
    """
    if path.is_file():
        found = {path.name: path}
    elif path.is_dir():
        found = {str(p.relative_to(path)): p for p in sorted(_walk(path, ()))}
    else:
        raise UserError(f"there is no '{path}'")
    found.pop(MANIFEST, None)
    patterns = list(patterns)
    return {n: p for n, p in found.items() if not patterns or any(fnmatchcase(n, one) for one in patterns)}


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files below a folder; `above` holds the real paths of the folders that lead to it."""
    real = folder.resolve()
    if real in above:
        raise UserError(f"'{folder}' is a link to a folder that holds it; allowed: folders without such circles")
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, real))
        elif path.is_file():
            yield path
        elif path.is_symlink():
            raise UserError(f"'{path}' is a link to '{os.readlink(path)}', which is not there; remove or repair it")
