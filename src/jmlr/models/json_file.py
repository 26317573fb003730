"""A JSON file of a model's folder, and what is wrong with one that cannot be read: copied in part, or never fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

POINTER = b"version https://git-lfs"  # how a file begins that git-lfs stands for and did not fetch
UNFETCHED = "is a pointer of git-lfs, not the file itself; fetch it: git lfs pull"
AGAIN = "copy it again"


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ValueError: what is wrong with it, in the words behind its name: 'is empty; copy it again'.
    """
    try:
        data = path.read_bytes()
        if data.startswith(POINTER):
            raise ValueError(UNFETCHED)
        if not data.strip():
            raise ValueError(f"is empty; {AGAIN}")
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise ValueError("is missing") from None
    except IsADirectoryError:
        raise ValueError("is a folder; allowed: a JSON file") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"is not in UTF-8; {AGAIN}") from None
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"is nested too deep to be read; {AGAIN}") from None
    except ValueError:
        raise ValueError(f"is no JSON: cut or damaged; {AGAIN}") from None
