"""What the retriever learns from the LLM's losses: one target a file, and the folder's listing is the list (`train.target`).

`losses/NAME.py` holds, beside the line of documentation that its docstring begins with:

    NAME(scores[B, S], losses[B, S], mask[B, S], *, ...) -> scalar     the loss; what is keyword-only are options of `train`
    SCALED: bool                                                       see below
    reference(scores, losses, *, ...) -> scalar or None                its slow twin: one question, lists of S, plain loops

SCALED: the scores come scaled to [-1, 1], and a question whose scores are all equal has no scale, so no signal; else raw.

Here: one target per file.
May import: runtime.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from types import ModuleType

from jmlr.runtime.extras import require
from jmlr.runtime.variants import listed

require(__name__, "torch")


def target(name: str) -> ModuleType:
    """Return a target's file.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in listed("losses"):
        raise ValueError(f"target '{name}' trains no retriever; allowed: {', '.join(listed('losses'))}")
    return import_module(f"jmlr.losses.{name}")


def options_of(name: str) -> list[str]:
    """Return the names of the options that a target takes."""
    parameters = signature(getattr(target(name), name)).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
