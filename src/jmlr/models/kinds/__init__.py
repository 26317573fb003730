"""Kinds of retriever: one a file, and the folder's listing is the list. No library is needed to tell them apart.

`models/kinds/NAME.py` holds

    SIMILARITIES: tuple[str, ...]                          sentence-transformers' names of those it is compared by
    CARD: dict                                             its title, the library and the lines that load it, for a model card
    recognised(folder: ModelFolder) -> bool                whether a folder holds one; what no kind recognises is dense
    load(folder, *, query_tokens, passage_tokens)          the retriever, with the methods of `jmlr.models.dense.DenseRetriever`

and, where `pretrain` makes one from scratch, `fresh(encoder, tokenizer, depth)`. The class stands in a file of `models/`.

Here: one kind per file, torch only within its functions.
May import: models, runtime.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from jmlr.models.folder import ModelFolder
from jmlr.runtime.variants import listed

DENSE = "dense"


def kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return listed("models/kinds")


def kind(name: str) -> ModuleType:
    """Return a kind's file."""
    return import_module(f"jmlr.models.kinds.{name}")


def kind_of(folder: Path) -> str:
    """Return the kind of the retriever that a folder holds, or of its two (query/ and passage/); "" where it is no folder."""
    if (folder / "query").is_dir() and (folder / "passage").is_dir():
        return kind_of(folder / "query")
    about = ModelFolder(folder)
    found = (name for name in kinds() if name != DENSE and kind(name).recognised(about))
    return next(found, DENSE) if folder.is_dir() else ""


def similarities() -> tuple[str, ...]:
    """Return what retrievers may be compared by, as sentence-transformers calls it."""
    return tuple(sorted({s for name in kinds() for s in kind(name).SIMILARITIES}, key=str.lower))
