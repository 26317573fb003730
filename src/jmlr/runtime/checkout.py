"""The checkout that a run is made from: its commit, and how it calls a file.

>>> called("/here/jmlr/config/runs/mine.yaml", "/here/jmlr"), called("/here/mine.yaml", "/here/jmlr")
('config/runs/mine.yaml', '/here/mine.yaml')
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PATIENCE_S = 30


def checkout_file(name: str) -> Path:
    """Return a file of the checkout that this package is imported from, whatever folder the caller is in; as it is without one."""
    inside = Path(__file__).resolve().parents[3] / name
    return inside if inside.exists() else Path(name)


def called(path: str | Path, checkout: str | Path) -> str:
    """Return a file's path from the checkout where it lies inside it, else as it is."""
    inside = os.path.relpath(path, checkout)
    return str(path) if inside.split(os.sep)[0] == os.pardir else inside


def commit(checkout: str | Path) -> str:
    """Return the short id of the commit, with '+changes' where tracked files differ from it; "" where git knows none."""
    own = {"GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.abspath(checkout)), "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+changes"]  # without tags: always the id
    try:
        done = subprocess.run(
            command, cwd=checkout, env={**os.environ, **own}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
