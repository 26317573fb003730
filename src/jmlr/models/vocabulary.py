"""How well a tokenizer knows a text: tokens that stand for anything, and words in many pieces.

known = look(tokenizer, ["Colchicine treats gout."])
known.unknown, known.per_word            # share of [UNK] among the tokens, tokens for each word
fault(known)                             # "" or what is wrong, in one clause
foreign(tokenizer, texts, "the LLM")     # the same as a warning of two clauses
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = 0.02  # share of unknown tokens from which on a model reads gaps
LOOKED_AT = 2000  # texts
PIECES = 4.0  # tokens a word from which on a tokenizer spells instead of reading


@dataclass(frozen=True)
class Known:
    """What a tokenizer makes of texts: lengths in tokens, the share of unknown ones, and tokens for each word."""

    lengths: list[int]
    unknown: float
    per_word: float


def look(tokenizer: Any, texts: Sequence[str]) -> Known:
    """Return how a tokenizer of transformers reads texts, without the tokens that it puts around them."""
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    tokens = sum(map(len, rows))
    gap = tokenizer.unk_token_id
    strange = 0 if gap is None or gap == tokenizer.eos_token_id else sum(row.count(gap) for row in rows)
    words = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)
    return Known([len(row) for row in rows], strange / max(1, tokens), tokens / max(1, words))


def fault(known: Known) -> str:
    """Return why a model with this tokenizer cannot read the texts well; "" where it can."""
    if known.unknown > UNKNOWN:
        return f"{known.unknown:.1%} of the tokens are unknown to it"
    if known.per_word > PIECES:
        return f"it spells: {known.per_word:.1f} tokens for each word"
    return ""


def foreign(tokenizer: Any, texts: Sequence[str], model: str) -> str:
    """Return a warning if a model's tokenizer cannot read the corpus well, by its first texts; "" where it can."""
    wrong = fault(look(tokenizer, texts[:LOOKED_AT]))
    return wrong and f"{model}'s tokenizer knows few of the corpus's words: {wrong}; take one made for their language"
