"""How the text of a record becomes passages: cut at headings, paragraphs and sentences, by words or by tokens.

    chunks = Chunks(most=128, overlap=16, tokenizer="folder/of/a/model")
    chunks("Gout", "It hurts. ...", headings=False)          # [("Gout", "It hurts. ..."), ("Gout", "...")]

A tokenizer is read by the library `tokenizers` alone, so that no model and no torch is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from jmlr.corpus.sentences import Measure, cut, words_in
from jmlr.corpus.texts import sections
from jmlr.runtime.environment import expand
from jmlr.runtime.errors import UserError


@dataclass
class Chunks:
    """Cuts texts into pieces of at most `most` words, or tokens where a tokenizer is given; 0: whole texts."""

    most: int = 0
    overlap: int = 0
    tokenizer: str = ""
    length: Measure = field(init=False, default_factory=lambda: words_in)

    def __post_init__(self) -> None:
        unit = "tokens" if self.tokenizer else "words"
        if self.most and self.overlap >= self.most:
            limit = f"allowed: less than chunk_{unit}, which is {self.most}"
            raise UserError(f"chunk_overlap_{unit} {self.overlap}: {limit}")
        if self.most and self.tokenizer:
            self.length = tokens_in(self.tokenizer)

    def __call__(self, title: str, text: str, headings: bool = False) -> list[tuple[str, str]]:
        """Return (title, passage) of every piece; with `headings` none crosses a heading, and its path joins the title."""
        if not headings:
            return [(title, piece) for piece in self._cut(text)]
        found = []
        for path, body in sections(text):
            named = ": ".join(dict.fromkeys(t for t in (title, *path) if t))
            found += [(named, piece) for piece in self._cut(body)] if body else []
        return found or [(title, text)]

    def _cut(self, text: str) -> list[str]:
        return cut(text, self.most, self.overlap, self.length) if self.most else [text]


def tokens_in(name: str) -> Measure:
    """Return what counts the tokens of texts, without the special ones that a model adds.

    Args:
        name: a tokenizer.json, a folder that holds one, or the name of a model on the hub; may hold environment variables

    Raises:
        UserError: there is none, or none that the library `tokenizers` reads.
    """
    from tokenizers import Tokenizer

    name = expand(name, "tokenizer")
    path = Path(name) / "tokenizer.json" if Path(name).is_dir() else Path(name)
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        elif os.sep in str(path.parent) or path.suffix == ".json":
            raise UserError(f"tokenizer: there is no '{path}'")
        else:
            tokenizer = Tokenizer.from_pretrained(name)
    except UserError:
        raise
    except Exception as error:  # the library raises plain Exception for malformed files and failed downloads
        raise UserError(f"tokenizer '{name}' cannot be read: {' '.join(str(error).split())[:200]}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
