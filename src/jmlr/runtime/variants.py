"""What a folder of the package holds: its files are the list of variants, and nothing is registered anywhere else.

>>> listed("losses")
('emdr2', 'llm_rank', 'pdist')
"""

from __future__ import annotations

import ast
from pathlib import Path
from pkgutil import iter_modules

PACKAGE = Path(__file__).resolve().parent.parent


def listed(folder: str) -> tuple[str, ...]:
    """Return the names of the files of a folder in their alphabetical order; none is imported."""
    return tuple(sorted(m.name for m in iter_modules([str(PACKAGE / folder)]) if not m.ispkg))


def line_of(folder: str, name: str) -> str:
    """Return the first line of a file's docstring without its full stop: what the documentation says of it."""
    text = ast.get_docstring(ast.parse((PACKAGE / folder / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")
