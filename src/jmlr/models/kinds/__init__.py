"""Kinds of retriever: one a file, and the folder's listing is the list. No library is needed to tell them apart.

`models/kinds/NAME.py` holds

    SIMILARITIES: tuple[str, ...]                          sentence-transformers' names of those it is compared by
    CARD: dict                                             its title, the library and the lines that load it, for a model card
    recognised(folder: ModelFolder) -> bool                whether a folder holds one; not in dense.py: it is what no other kind is
    load(folder, *, query_tokens, passage_tokens)          the retriever, a `jmlr.models.one_encoder.OneEncoder`

The class stands in a file of `models/`. `pretrain` makes two kinds from scratch, by their `fresh(encoder, tokenizer, depth)`: a
ColBERT where `colbert_depth` is set, else a dense one. No two kinds may recognise one folder; the first name would be taken.

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


def of_kind(name: str) -> ModuleType:
    """Return a kind's file."""
    return import_module(f"jmlr.models.kinds.{name}")


def kind_of(folder: Path) -> str:
    """Return the kind of the retriever that a folder holds, or of its two (query/ and passage/); "" where it is no folder."""
    if (folder / "query").is_dir() and (folder / "passage").is_dir():
        return kind_of(folder / "query")
    about = ModelFolder(folder)
    found = (name for name in kinds() if name != DENSE and of_kind(name).recognised(about))
    return next(found, DENSE) if folder.is_dir() else ""


def similarities() -> tuple[str, ...]:
    """Return what retrievers may be compared by, as sentence-transformers calls it."""
    return tuple(sorted({s for name in kinds() for s in of_kind(name).SIMILARITIES}, key=str.lower))
