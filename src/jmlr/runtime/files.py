"""Outputs that appear whole or not at all.

with fresh_directory(Path("results/demo/prepare")) as out:
    (out / "passages.parquet").write_bytes(...)     # renamed into place when the block ends well
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jmlr.runtime.errors import UserError


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
        if target.exists():
            shutil.rmtree(target)
        os.replace(work, target)
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
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return what the person's umask takes from files: `umask 077` keeps private data private."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as f:
                os.fsync(f.fileno())


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
