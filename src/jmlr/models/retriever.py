"""A retriever of any kind, chosen by what its folder contains; queries and passages share an encoder or have one each.

    retriever = load_retriever("lightonai/GTE-ModernColBERT-v1")            # a DenseRetriever or ColbertRetriever, by what it holds
    retriever = load_retriever("all-MiniLM-L6-v2", encoders="query_only")   # TwoEncoders: only the query's is trained
    scores = retriever.scores(queries, passages, places)                    # [B, n], with gradient, whatever the kind

A folder with `query/` and `passage/` holds two retrievers of one kind, each complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from jmlr.models.encoder import SIDES, local_folder, modules_of, read_json
from jmlr.models.kinds import kind_of, of_kind
from jmlr.models.one_encoder import OneEncoder
from jmlr.runtime.errors import UserError


class TwoEncoders(nn.Module):
    """One retriever for queries and one for passages, of the same kind and depth; methods as theirs."""

    def __init__(self, query: OneEncoder, passage: OneEncoder) -> None:
        super().__init__()
        if type(query) is not type(passage):
            raise UserError("retriever: its query and its passage encoder are of two kinds")
        if query.depth != passage.depth:
            raise UserError(
                f"retriever: its query encoder has depth {query.depth}, its passage encoder {passage.depth}"
            )
        self.query, self.passage = query, passage

    @property
    def depth(self) -> int:
        """D, the length of a vector."""
        return self.query.depth

    @property
    def tokens(self) -> bool:
        """Whether a text has a vector for each token."""
        return self.query.tokens

    def of(self, side: str) -> OneEncoder:
        """Return the retriever that reads a 'query' or a 'passage'."""
        return self.query if side == "query" else self.passage

    def limit(self, side: str) -> int:
        """Return what a 'query' or 'passage' is cut to, in tokens."""
        return self.of(side).limit(side)

    def tokenize(self, texts: Sequence[str], most: int = 0, side: str = "passage") -> list[list[int]]:
        """Return token ids; see the methods of one encoder."""
        return self.of(side).tokenize(texts, most, side)

    def encode(self, rows: Sequence[Sequence[int]], side: str = "passage", width: int = 0) -> Tensor:
        """Return what `interact` takes: vectors [n, D], or of tokens [n, T, D]."""
        return self.of(side).encode(rows, side, width)

    def interact(self, queries: Tensor, passages: Tensor, places: Tensor) -> Tensor:
        """Return the scores [B, n] of encoded queries with encoded passages."""
        return self.query.interact(queries, passages, places)

    def scores(self, queries: Sequence[Sequence[int]], passages: Sequence[Sequence[int]], places: Tensor) -> Tensor:
        """Return the scores [B, n] of B queries with U passages (token lists), with gradient where an encoder is trained."""
        places = places.to(next(self.query.parameters()).device)
        return self.interact(self.encode(queries, "query"), self.encode(passages), places)

    def encode_all(
        self, rows: Sequence[Sequence[int]], side: str = "passage", **settings: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Encode many texts by the encoder of their side."""
        return self.of(side).encode_all(rows, side, **settings)

    def encode_each(
        self, rows: Sequence[Sequence[int]], side: str = "passage", **settings: Any
    ) -> Iterator[tuple[int, Tensor]]:
        """Encode many texts by the encoder of their side, and hold none."""
        return self.of(side).encode_each(rows, side, **settings)

    def vector_counts(self, rows: Sequence[Sequence[int]], side: str = "passage") -> list[int]:
        """Return how many vectors each text has at most."""
        return self.of(side).vector_counts(rows, side)

    def save(self, folder: Path) -> None:
        """Write both retrievers: query/ and passage/."""
        self.query.save(folder / "query")
        self.passage.save(folder / "passage")


Retriever = OneEncoder | TwoEncoders


def load_retriever(
    path: str, *, encoders: str | None = None, query_tokens: int = 0, passage_tokens: int = 0
) -> Retriever:
    """Load a retriever from a folder or the hub.

    Args:
        path: of a retriever of any kind (`jmlr.models.kinds`), or a folder with both query/ and passage/.
        encoders: how it is to be trained. None: not at all, it is as the folder has it. 'shared': one encoder for queries and
            passages. 'separate': one each, beginning as copies. 'query_only': the same, the passages' frozen.
        query_tokens: what queries are cut to (and a ColBERT's filled up to); 0: as the retriever was made.
        passage_tokens: what passages are cut to; 0: as the retriever was made.

    Raises:
        UserError: there is no retriever, or it has two encoders where one is wanted.
    """
    folder = local_folder(path)
    lengths = {"query_tokens": query_tokens, "passage_tokens": passage_tokens}
    parts = parts_of(folder)
    if len(parts) > 1:
        if encoders == "shared":
            raise UserError(
                f"retriever '{path}' has two encoders, query/ and passage/: set retriever_encoders to separate or query_only"
            )
        return _freeze(TwoEncoders(*(_load(part, lengths) for part in parts)), encoders)
    one = _load(parts[0], lengths)
    if encoders in (None, "shared"):
        return one
    again = _load(parts[0], lengths)  # not a copy, whose tokens would be counted as the other's
    return _freeze(TwoEncoders(again, one), encoders)


def ready_to_train(retriever: Retriever, weights: str, dropout: float) -> None:
    """Choose what of a retriever is trained, and with how much dropout.

    Args:
        retriever: as `load_retriever` made it; what is frozen stays so, and without dropout.
        weights: 'all', or 'embeddings': of words, positions and types, and the norm behind them.
        dropout: of all its dropout layers; 0: none, it stays in evaluation mode.

    Raises:
        UserError: nothing is left to train, or dropout is asked of a retriever that has no such layer.
    """
    for one in (retriever.query, retriever.passage) if isinstance(retriever, TwoEncoders) else (retriever,):
        if not any(p.requires_grad for p in one.parameters()):
            continue
        if weights == "embeddings":
            part = getattr(one.encoder, "embeddings", None) or one.encoder.get_input_embeddings()
            kept = {id(p) for p in part.parameters() if p.requires_grad}
            for p in one.parameters():
                p.requires_grad_(id(p) in kept)
            if not kept:
                raise UserError("retriever_weights embeddings: this retriever has no embeddings that can be trained")
        if dropout:
            layers = [m for m in one.modules() if isinstance(m, nn.Dropout)]
            if not layers:
                raise UserError(f"retriever_dropout {dropout}: this retriever has no dropout layer; set it to 0")
            for layer in layers:
                layer.p = dropout
            one.train()


def parts_of(folder: Path) -> list[tuple[Path, str]]:
    """Return the one or two retrievers that a folder holds, each as (folder, its kind).

    Raises:
        UserError: a file that tells the kind is damaged, or a module is code of the folder's own.
    """
    two = [folder / side for side in SIDES]
    found = two if all(f.is_dir() for f in two) else [folder]
    for part in found:
        modules_of(part)
        for name in ("config_sentence_transformers.json", "config.json"):
            read_json(part, name)
    return [(part, kind_of(part)) for part in found]


def _load(part: tuple[Path, str], lengths: dict[str, int]) -> OneEncoder:
    folder, name = part
    return of_kind(name).load(str(folder), **lengths)


def _freeze(two: TwoEncoders, encoders: str | None) -> TwoEncoders:
    two.passage.requires_grad_(encoders != "query_only")
    return two
