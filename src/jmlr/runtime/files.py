"""Outputs that appear whole or not at all.

with fresh_directory(Path("results/demo/prepare")) as out:
    (out / "passages.parquet").write_bytes(...)     # renamed into place when the block ends well
"""

from __future__ import annotations

import ctypes
import fcntl
import gzip
import hashlib
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, cast

from jmlr.runtime.errors import UserError, full_disk

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a truncated or damaged gzip file raises
MANIFEST = "manifest.json"  # what every stage writes beside its output; never data
SYNCED_AT_ONCE = 16
PIECES, PIECE_BYTES = 16, 1 << 16  # what is read to know a file again that is larger than all of them
SAMPLED = PIECES * PIECE_BYTES
SNAKEMAKE_MARK = ".snakemake_timestamp"  # what Snakemake puts into a folder that is an output


@contextmanager
def fresh_directory(target: Path, ours: Callable[[Path], Collection[str]] = lambda _: ()) -> Iterator[Path]:
    """Yield a new folder beside `target`; put it in the place of `target` if the block ends without an exception.

    A link is followed. What is there already is replaced if it is an empty folder, or holds our own files alone.

    Args:
        target: the folder to make
        ours: names the files (relative) that may be replaced, for a folder that is there; by default none may

    Raises:
        UserError: `target` is there and holds something else, which then stays as it is.
    """
    target = _followed(target)
    _refuse_foreign(target, ours)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        if full_disk(error):
            raise
        raise UserError(f"'{target}' cannot be made: {error.strerror or error}") from None
    _remove_abandoned(target)
    with _claimed(target) as work:
        yield work
        for weights in work.rglob("*.safetensors"):  # which the library makes for their owner alone
            weights.chmod(0o666 & ~_umask())
        _sync(work)
        _refuse_foreign(target, ours)  # of what came meanwhile
        _put_in_place(work, target)
        _sync_one(target.parent)


@contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; rename it to `target`, a link followed, if the block ends without an exception."""
    target = _followed(target)
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


def _followed(target: Path) -> Path:
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _refuse_foreign(target: Path, ours: Callable[[Path], Collection[str]]) -> None:
    """Raise UserError if anything is at `target` that may not be replaced."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise UserError(f"'{target}' is there and no folder; allowed: a new path, or a folder to replace")
    known: Collection[str] | None = None
    for above, folders, files in os.walk(target):
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in sorted(set(files + links) - {SNAKEMAKE_MARK}):
            known = ours(target) if known is None else known
            path = Path(above, name).relative_to(target)
            if str(path) not in known:
                raise UserError(
                    f"'{target}' holds '{path}', which was not written by this command, and stays as it is; "
                    "allowed: a new or empty folder, or one that this command wrote"
                )


@contextmanager
def _claimed(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, with a lock beside it that the system drops with this process; remove both."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".lock", dir=target.parent)
        lock = Path(name)
        with suppress(OSError):  # a file system without locks: then nobody takes the folder for abandoned either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if lock.exists():
            break
        os.close(handle)  # taken for abandoned before it was locked
    work = lock.with_suffix(".partial")
    try:
        work.mkdir()
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)


def _remove_abandoned(target: Path) -> None:
    """Remove what builds of this very target left behind whose process has ended."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}\.(?:lock|partial)")  # as tempfile names them
    found = {path.with_suffix(".lock") for path in target.parent.iterdir() if named.fullmatch(path.name)}
    for lock in found:
        try:
            handle = os.open(lock, os.O_RDWR)
        except FileNotFoundError:  # the lock is made first and removed last
            shutil.rmtree(lock.with_suffix(".partial"), ignore_errors=True)
            continue
        except OSError:  # another person's
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(".partial"), ignore_errors=True)
            lock.unlink(missing_ok=True)
        except OSError:  # its process lives, or there are no locks here
            pass
        finally:
            os.close(handle)


def _put_in_place(work: Path, target: Path) -> None:
    """Rename `work` to `target`; what was there has the name of `work` then, so that at no moment there is nothing."""
    if not os.path.lexists(target):
        os.replace(work, target)
    elif not _exchange(work, target):  # in two steps
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        os.replace(target, old)
        os.replace(work, target)
        os.replace(old, work)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; say False where the system or its file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux
        return False
    at, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(at, os.fsencode(one), at, os.fsencode(other), exchange) == 0)


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


def sampled_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file of up to 1 MiB; of a larger one that of its size and of 16 pieces of 64 KiB.

    The pieces lie evenly from its first byte to its last, so that it takes no longer for a larger file.
    """
    size = path.stat().st_size
    if size <= SAMPLED:
        return sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as f:
        for i in range(PIECES):
            f.seek((size - PIECE_BYTES) * i // (PIECES - 1))
            digest.update(f.read(PIECE_BYTES))
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
        patterns: glob patterns of the names to take, as for `matches`; none: all

    Raises:
        UserError: there is no such path, a link leads nowhere, folders link to each other in a circle, or a name is not
            in UTF-8, which no manifest, table or message could hold.
    """
    if path.is_file():
        found = {_in_utf8(path).name: path}
    elif path.is_dir():
        found = {str(p.relative_to(path)): p for p in sorted(_walk(path, ()))}
    else:
        raise UserError(f"there is no '{path}'")
    found.pop(MANIFEST, None)
    patterns = list(patterns)
    return {n: p for n, p in found.items() if not patterns or any(matches(n, one) for one in patterns)}


def matches(name: str, pattern: str) -> bool:
    """Tell whether a file's name matches a glob pattern, or is the pattern itself: 'notes[1].txt' takes the file of that name."""
    return name == pattern or fnmatchcase(name, pattern)


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files below a folder; `above` holds the real paths of the folders that lead to it."""
    real = folder.resolve()
    if real in above:
        raise UserError(f"'{folder}' is a link to a folder that holds it; allowed: folders without such circles")
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        _in_utf8(path)
        if path.is_dir():
            yield from _walk(path, (*above, real))
        elif path.is_file():
            yield path
        elif path.is_symlink():
            raise UserError(
                f"'{path}' is a link to '{_escaped(os.readlink(path))}', which is not there; remove or repair it"
            )


def _in_utf8(path: Path) -> Path:
    """Return the path; raise UserError if its name is not in UTF-8: Python then holds half surrogates in its place."""
    if path.name != (shown := _escaped(path.name)):
        raise UserError(
            f"{_escaped(str(path.parent))}: the name of the file or folder '{shown}' is not in UTF-8; rename it"
        )
    return path


def _escaped(name: str) -> str:
    """Return a name with every byte of it that is not in UTF-8 as an escape."""
    return os.fsencode(name).decode(errors="backslashreplace")
