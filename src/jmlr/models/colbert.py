"""ColBERT: one vector per token, score = sum over query tokens of the best passage token (docs/llm_rank.md, step 2; Khattab and Zaharia 2020).

Read from checkpoints of ColBERTv2 (architecture HF_ColBERT, with artifact.metadata) and from PyLate directories, written as
the latter. How texts are read is theirs: a marker after the first token ([Q], [D]); queries cut and filled up with [MASK] to
one length, where the fill is scored but not attended to; punctuation of passages attended to but not scored.

    retriever = ColbertRetriever.load("colbert-ir/colbertv2.0")
    vectors = retriever.encode(retriever.tokenize(["which drug?"], side="query"), "query")      # [1, 32, 128]

Vectors have length 1; a token that does not count in a score, by padding or skiplist, has the zero vector.
"""

from __future__ import annotations

import copy
import string
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.encoder import (
    batches,
    encoder_folder,
    hidden_of,
    is_lower_case,
    load_encoder,
    local_folder,
    modules_of,
    positions_of,
    prompts_of,
    read_json,
    read_tensors,
    shortest,
    write_modules,
)
from jmlr.models.one_encoder import OneEncoder
from jmlr.models.projection import Projection
from jmlr.models.tensors import at_least_float32
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import Progress


@dataclass(frozen=True)
class Reading:
    """How a ColBERT reads; the names are those of PyLate's config_sentence_transformers.json, the defaults its too."""

    query_prefix: str = "[Q] "
    document_prefix: str = "[D] "
    query_length: int = 32
    document_length: int = 180
    do_query_expansion: bool = True
    attend_to_expansion_tokens: bool = False
    skiplist_words: tuple[str, ...] = tuple(string.punctuation)
    prompts: dict[str, str] = field(default_factory=dict)
    lower_case: bool = False

    @classmethod
    def given(cls, settings: dict[str, Any], **others: Any) -> Reading:
        """Return the defaults with what a file says on top; its other keys and nulls do not count."""
        known = {
            k: v for k, v in settings.items() if k in cls.__dataclass_fields__ and v is not None and k != "prompts"
        }
        known["skiplist_words"] = tuple(known.get("skiplist_words", cls.skiplist_words))
        return cls(**{**known, **others})


class ColbertRetriever(OneEncoder):
    """An encoder whose token vectors, projected and of length 1, meet in MaxSim.

    Attributes:
        encoder: a Hugging Face encoder.
        projection: from hidden states to depth D, one layer or several.
        reading: see `Reading`.
    """

    tokens = True

    def __init__(self, encoder: Any, tokenizer: Any, projection: nn.Sequential, reading: Reading) -> None:
        super().__init__(encoder, tokenizer)
        self.projection, self.reading = projection, reading
        if min(reading.query_length, reading.document_length) < 4:
            raise UserError(
                f"retriever: queries of {reading.query_length} and passages of {reading.document_length} tokens; "
                "a ColBERT needs at least 4, marker included"
            )
        self._marker = {
            "query": _marker(tokenizer, reading.query_prefix),
            "passage": _marker(tokenizer, reading.document_prefix),
        }
        fills = (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        self._fill = next((t for t in fills if t is not None), None)
        if reading.do_query_expansion and self._fill is None:
            raise UserError(
                "retriever: its tokenizer has neither a mask nor an end-of-text token to fill queries up with"
            )
        ids = {tokenizer.convert_tokens_to_ids(w) for w in reading.skiplist_words} - {None, tokenizer.unk_token_id}
        self._skipped = sorted(ids)

    @classmethod
    def fresh(cls, encoder: Any, tokenizer: Any, depth: int) -> ColbertRetriever:
        """Make a ColBERT of an encoder: random projection, two markers new to a copy of its tokenizer, as PyLate begins."""
        from transformers import AddedToken

        tokenizer = copy.deepcopy(tokenizer)
        limit = positions_of(encoder)
        reading = Reading(query_length=shortest(32, limit), document_length=shortest(180, limit))
        tokenizer.add_tokens([AddedToken(m, normalized=False) for m in (reading.query_prefix, reading.document_prefix)])
        rows = encoder.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:  # one padded to more rows stays as it is
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        return cls(encoder, tokenizer, nn.Sequential(Projection(encoder.config.hidden_size, depth)), reading)

    @classmethod
    def load(cls, path: str, *, query_tokens: int = 0, passage_tokens: int = 0) -> ColbertRetriever:
        """Load a ColBERTv2 checkpoint or a PyLate directory, from a folder or the hub.

        query_tokens: what queries are cut and filled up to; passage_tokens: what passages are cut to; 0: as the checkpoint says.

        Raises:
            UserError: it is neither, or its tokenizer lacks the markers.
        """
        folder = local_folder(path)
        encoder, tokenizer = load_encoder(folder)
        modules = modules_of(folder)
        if modules:
            unknown = {k for k, _ in modules} - {"Transformer", "Dense"}
            if unknown:
                raise UserError(
                    f"retriever '{folder}': module {', '.join(sorted(unknown))} of modules.json is not supported in a ColBERT (allowed: Transformer, Dense)"
                )
            layers = [Projection.load(where) for kind, where in modules if kind == "Dense"]
            settings = read_json(folder, "config_sentence_transformers.json")
            reading = Reading.given(settings, prompts=prompts_of(folder), lower_case=is_lower_case(folder))
        else:
            layers, reading = [_stanford_projection(folder)], _stanford_reading(folder)
        # Not the tokenizer's own limit, which PyLate sets now to the one length, now to the other.
        limit = positions_of(encoder)
        reading = replace(
            reading,
            query_length=shortest(query_tokens or reading.query_length, limit),
            document_length=shortest(passage_tokens or reading.document_length, limit),
        )
        return cls(encoder, tokenizer, nn.Sequential(*layers), reading)

    def save(self, folder: Path) -> None:
        """Write a directory that `pylate.models.ColBERT`, sentence-transformers' MultiVectorEncoder and `load` read."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        names = [f"{i}_Dense" for i in range(1, len(self.projection) + 1)]
        for name, layer in zip(names, self.projection, strict=True):
            layer.save(folder / name)  # type: ignore[operator]
        settings = asdict(self.reading)
        lower_case, prompts = settings.pop("lower_case"), settings.pop("prompts")
        prompts = {"query": prompts.get("query", ""), "document": prompts.get("passage", "")}
        write_modules(
            folder,
            [("", "sentence_transformers.models.Transformer"), *((n, "pylate.models.Dense.Dense") for n in names)],
            {"model_type": "ColBERT", "prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "MaxSim", **settings},
            self.reading.document_length,
            lower_case,
        )  # fmt: skip

    @property
    def depth(self) -> int:
        """D, the length of a token's vector."""
        return int(self.projection[-1].depth)  # type: ignore[arg-type]

    def limit(self, side: str) -> int:
        """Return what a 'query' or 'passage' is cut to, in tokens, marker included."""
        return self.reading.query_length if side == "query" else self.reading.document_length

    def tokenize(self, texts: Sequence[str], most: int = 0, side: str = "passage") -> list[list[int]]:
        """Return token ids, marker included, cut to `most` (0: no cut) and to `limit`; without the fill of queries."""
        reading, marker = self.reading, self._marker[side]
        texts = [reading.prompts.get(side, "") + t for t in texts]
        texts = [t.lower() for t in texts] if reading.lower_case else texts
        limit = shortest(most, self.limit(side)) - len(marker)
        rows = self.tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        rows = [[*r[:1], *marker, *r[1:]] for r in rows]
        return [r or [self._fill or 0] for r in rows]

    def encode(self, rows: Sequence[Sequence[int]], side: str = "passage", width: int = 0) -> Tensor:
        """Return token vectors [n, T, D], with gradient where enabled; zero where a token does not count.

        T is the longest row, for filled-up queries their length, and at least `width`: so encodings in parts can be put together.
        """
        where = next(self.encoder.parameters()).device
        filled = self._fills(side)
        longest = max(*(len(r) for r in rows), self.reading.query_length if filled else 1)
        fill = self._fill if filled else 0
        ids = torch.tensor([[*r, *[fill] * (longest - len(r))] for r in rows], dtype=torch.long).to(where)
        text = torch.arange(longest, device=where) < torch.tensor([len(r) for r in rows], device=where)[:, None]
        everywhere = torch.ones_like(text)
        attended = everywhere if filled and self.reading.attend_to_expansion_tokens else text
        vectors = F.normalize(self.projection(hidden_of(self.encoder, ids, attended)), dim=-1)
        counted = self._scored(ids, text) if side == "passage" else everywhere if filled else text
        return F.pad(vectors.masked_fill(~counted[..., None], 0.0), (0, 0, 0, max(0, width - longest)))

    def _scored(self, ids: Tensor, text: Tensor) -> Tensor:
        """Return which tokens of passages count: all but punctuation; a passage of nothing else keeps its first."""
        mask = text & ~torch.isin(ids, torch.tensor(self._skipped, device=ids.device, dtype=torch.long))
        mask[:, 0] |= ~mask.any(1)
        return mask

    def interact(self, queries: Tensor, passages: Tensor, places: Tensor) -> Tensor:
        """Return the MaxSim scores [B, n] of queries [B, T, D] with those of passages [U, T, D] whose numbers `places` [B, n] holds.

        A passage token that does not count is -inf, so it is never the maximum (as 0 it would beat negative products); one of
        a query adds 0, whatever the passage.
        """
        absent = ~passages.any(-1)
        scores = []
        for query, held in zip(queries, places, strict=True):
            products = at_least_float32(passages[held] @ query.T)  # [n, T of passages, T of queries]
            scores.append(products.masked_fill(absent[held][..., None], float("-inf")).amax(1).sum(1))
        return torch.stack(scores)

    @torch.no_grad()
    def encode_each(
        self,
        rows: Sequence[Sequence[int]],
        side: str = "passage",
        *,
        batch_tokens: int,
        precision: Precision = "float32",
        name: str = "encode",
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of each text and its scored vectors, float32 [m, D] on the CPU; see `OneEncoder`."""
        from jmlr.runtime.devices import autocast

        where = next(self.encoder.parameters()).device
        progress = Progress(name, len(rows))
        least = self.reading.query_length if self._fills(side) else 1
        for batch in batches([max(len(r), least) for r in rows], batch_tokens):
            with autocast(where, precision):
                vectors = self.encode([rows[i] for i in batch], side).float().cpu()
            for i, row in zip(batch, vectors, strict=True):
                yield i, F.normalize(row[row.any(-1)], dim=-1) if precision == "bfloat16" else row[row.any(-1)]
            progress.step(len(batch))

    def vector_counts(self, rows: Sequence[Sequence[int]], side: str = "passage") -> list[int]:
        """Return how many vectors each text has; it has fewer where one is 0, as of a dead projection, and adds nothing."""
        if self._fills(side):
            return [max([self.reading.query_length, *map(len, rows)])] * len(rows)
        if side == "query":
            return [len(r) for r in rows]
        skipped = set(self._skipped)
        return [(len(r) - sum(map(skipped.__contains__, r))) or 1 for r in rows]

    def _fills(self, side: str) -> bool:
        """Tell whether texts are filled up to one length."""
        return side == "query" and self.reading.do_query_expansion


def _marker(tokenizer: Any, prefix: str) -> list[int]:
    """Return the token of a marker, as a list of one; of none where there is no marker."""
    if not prefix:
        return []
    found = tokenizer.get_vocab().get(prefix)
    if found is None:
        raise UserError(f"retriever: its tokenizer has no token '{prefix}' to mark queries or passages with")
    return [found]


def _stanford_reading(folder: Path) -> Reading:
    """Read artifact.metadata of a ColBERTv2 checkpoint; what it does not say is as in ColBERTv2's own defaults."""
    held = read_json(folder, "artifact.metadata")
    return Reading(
        query_prefix=held.get("query_token_id") or "[unused0]",
        document_prefix=held.get("doc_token_id") or "[unused1]",
        query_length=held.get("query_maxlen") or 32,
        document_length=held.get("doc_maxlen") or 180,
        attend_to_expansion_tokens=bool(held.get("attend_to_mask_tokens")),
        skiplist_words=tuple(string.punctuation) if held.get("mask_punctuation", True) else (),
    )


def _stanford_projection(folder: Path) -> Projection:
    weights = read_tensors(encoder_folder(folder) / "model.safetensors", ["linear.weight"])
    depth, width = weights["linear.weight"].shape
    made = Projection(width, depth)
    made.load_state_dict(weights)
    return made
