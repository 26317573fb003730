"""Stage `encode`: passages (by shards) or questions -> one vector each, or one for each token (ColBERT).

Of a shard, token ids alone are held in memory, 4 bytes each; texts are read as they are needed, vectors written as they come.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from jmlr.options import EncodeOptions, RetrievalOptions
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.progress import warn
from jmlr.runtime.shards import shard_of, shard_rows

TOKENIZED = 4096  # passages at a time
MUCH = 0.05  # share of the passages that are cut from which on it is told


def encode(
    out: Path,
    prepared: Path,
    retriever: str,
    part: Literal["passages", "questions"],
    options: EncodeOptions,
    retrieval: RetrievalOptions,
    shard: str = "0/1",
) -> None:
    """Encode passages or questions with a retriever: vectors.npy, float32 [N, D], in the order of the table.

    A ColBERT writes the vectors of all tokens, [M, D], and offsets.npy: text i has the rows offsets[i] to offsets[i + 1] - 1.

    Args:
        out: folder to make
        prepared: output of `prepare`
        retriever: folder or hub name
        part: what is encoded
        shard: 'i/n': the i-th of n equal runs of rows, counted from 0

    Example:
        jmlr encode --out my/vectors --prepared results/demo/prepare --retriever results/demo/retriever/seed0/pretrain --part passages
    """
    _, count = shard_of(shard)
    from jmlr.models.kinds import kind_of
    from jmlr.models.retriever import load_retriever
    from jmlr.runtime.devices import device
    from jmlr.topk.vectors import VectorsFile

    inputs = {"prepared": prepared, "retriever": Path(retriever)}
    variants = {"retriever": kind_of(Path(retriever))}
    with stage_output(out, "encode", inputs=inputs, options=[options, retrieval], variants=variants) as (folder, notes):
        batches = _texts(prepared, part, shard, retrieval)
        model = load_retriever(retriever, **retrieval.search_lengths).to(device()).eval()
        side: Literal["query", "passage"] = "query" if part == "questions" else "passage"
        ids, looked_at = _tokenized(model, side, batches)
        name = f"encode {part}" + (f" {shard}" if count > 1 else "")
        encoded = model.encode_each(
            ids, side, batch_tokens=options.batch_tokens, precision=options.encode_precision, name=name
        )
        with VectorsFile(folder, model.vector_counts(ids, side), model.depth, tokens=model.tokens) as file:
            for text, vectors in encoded:
                file.put(text, vectors.numpy())
        full = sum(len(i) >= model.limit(side) for i in ids)
        if part == "passages":
            _warn_of(model, retriever, looked_at, len(ids), full)
        notes.update(
            retriever=retriever,
            texts=len(ids),
            tokens=len(ids.tokens),
            full_length=full,
            vectors=file.rows,
            depth=model.depth,
        )


def _texts(prepared: Path, part: str, shard: str, retrieval: RetrievalOptions) -> Iterator[list[str]]:
    """Open the table of a shard's texts, and return them some thousands at a time: no more of the passages is ever held."""
    from jmlr.corpus.prompt import passage_text, query_text
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.corpus.tables import read_table

    if part == "questions":
        table = read_table(prepared / "questions.parquet")
        first, last = shard_rows(shard, len(table))
        rows = table.slice(first, last - first).to_pylist()
        return iter([[query_text(r["question"], r["options"], retrieval.query_options) for r in rows]])
    passages = StoredPassages.open(prepared)
    first, last = shard_rows(shard, len(passages))
    runs = ((begin, min(begin + TOKENIZED, last)) for begin in range(first, last, TOKENIZED))
    return ([passage_text(*pair) for pair in passages.run(*run)] for run in runs)


class TokenIds(Sequence[Sequence[int]]):
    """The token ids of many texts, 4 bytes each, in one array: an array for each text would take some 100 bytes more."""

    def __init__(self) -> None:
        self.tokens, self._ends = array("i"), array("q", [0])

    def append(self, row: Sequence[int]) -> None:
        """Add a text."""
        self.tokens.extend(row)
        self._ends.append(len(self.tokens))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, text: Any) -> Any:
        """Return the ids of a text by its number, 0 or more."""
        return self.tokens[self._ends[text] : self._ends[text + 1]]


def _tokenized(
    model: Any, side: Literal["query", "passage"], batches: Iterator[list[str]]
) -> tuple[TokenIds, list[str]]:
    """Return (token ids of all texts, the first of the texts)."""
    from jmlr.models.vocabulary import LOOKED_AT

    ids = TokenIds()
    looked_at: list[str] = []
    for texts in batches:
        looked_at = looked_at or texts[:LOOKED_AT]
        for row in model.tokenize(texts, side=side):
            ids.append(row)
    return ids, looked_at


def _warn_of(model: Any, retriever: str, texts: list[str], count: int, full: int) -> None:
    """Warn of what makes a retriever read little of its passages: a strange language, a cut, a model that is none for retrieval."""
    from jmlr.models.folder import ModelFolder
    from jmlr.models.vocabulary import foreign

    part = getattr(model, "passage", model)  # one of two encoders, or the only one
    if wrong := foreign(part.tokenizer, texts, "the retriever"):
        warn("encode", wrong)
    if full > MUCH * count:
        most = model.limit("passage")
        told = f"{full / count:.0%} of the passages fill the retriever's {most} tokens, and are cut there"
        warn("encode", f"{told}; shorten them (prepare.chunk_words), or raise retrieval.retriever_passage_tokens")
    if ModelFolder(Path(retriever)).causal:
        warn("encode", "the retriever is a causal language model without a head for retrieval; its vectors find little")
