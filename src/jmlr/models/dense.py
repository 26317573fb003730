"""Dense retrievers: one vector per text, score = inner product (METHOD 3.2).

Read from and written to sentence-transformers directories, whose configuration files are honoured: pooling (mean, cls),
normalisation, prompts, longest text. A plain Hugging Face encoder gets mean pooling and normalisation.

    retriever = DenseRetriever.load("all-MiniLM-L6-v2")
    vectors = retriever.encode(retriever.tokenize(["aspirin"]))     # [1, D]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.encoder import (
    KINDS,
    batches,
    hidden_of,
    is_lower_case,
    length_of,
    load_encoder,
    local_folder,
    modules_of,
    prompts_of,
    read_json,
    shortest,
    write_json,
    write_modules,
)
from jmlr.models.llm import at_least_float32, pad_right
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import Progress

POOLINGS = ("mean", "cls")


class DenseRetriever(nn.Module):
    """An encoder with pooling; queries and passages share it, and differ by their prompts.

    Attributes:
        encoder: a Hugging Face encoder.
        pooling: 'mean' over the text's tokens, or 'cls' for its first.
        normalize: whether vectors have length 1, so that the inner product is the cosine.
        prompts: words put before a 'query' or a 'passage'.
        max_tokens: the longest text it reads, special tokens and prompt included.
        lengths: what 'query' and 'passage' are cut to; 0: to max_tokens.
        lower_case: whether texts are lower-cased first.
    """

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        *,
        pooling: str = "mean",
        normalize: bool = True,
        prompts: dict[str, str] | None = None,
        max_tokens: int = 0,
        lengths: tuple[int, int] = (0, 0),
        lower_case: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UserError(f"retriever: pooling '{pooling}' is not supported (allowed: {', '.join(POOLINGS)})")
        self.encoder, self.tokenizer, self.pooling, self.normalize = encoder, tokenizer, pooling, normalize
        self.prompts, self.lower_case = prompts or {}, lower_case
        self.max_tokens = max_tokens or length_of(encoder, tokenizer, None)
        self.lengths = dict(zip(KINDS, lengths, strict=True))

    @classmethod
    def load(cls, path: str, *, query_tokens: int = 0, passage_tokens: int = 0) -> DenseRetriever:
        """Load a sentence-transformers directory, a Hugging Face encoder, or either from the hub.

        query_tokens, passage_tokens: what texts are cut to; 0: to what the retriever was made for.
        """
        folder = local_folder(path)
        settings = _settings(folder)
        encoder, tokenizer = load_encoder(folder)
        longest = length_of(encoder, tokenizer, folder)
        return cls(encoder, tokenizer, **settings, max_tokens=longest, lengths=(query_tokens, passage_tokens))

    def save(self, folder: Path) -> None:
        """Write a directory that `sentence_transformers.SentenceTransformer` and `load` read; safetensors only."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
        modules = modules if self.normalize else modules[:2]
        prompts = {**self.prompts, "document": self.prompts.get("passage", "")} if self.prompts else {}
        write_modules(
            folder,
            [(path, f"sentence_transformers.models.{kind}") for path, kind in modules],
            {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "dot"},
            self.max_tokens,
            self.lower_case,
        )
        pooling = {
            "word_embedding_dimension": self.depth,
            "pooling_mode_mean_tokens": self.pooling == "mean",
            "pooling_mode_cls_token": self.pooling == "cls",
        }
        write_json(folder / "1_Pooling" / "config.json", pooling)
        if self.normalize:
            (folder / "2_Normalize").mkdir(exist_ok=True)

    @property
    def depth(self) -> int:
        """D, the length of a vector."""
        return int(self.encoder.config.hidden_size)

    def limit(self, kind: str) -> int:
        """Return what a 'query' or 'passage' is cut to, in tokens."""
        return shortest(self.lengths[kind], self.max_tokens)

    def tokenize(self, texts: Sequence[str], most: int = 0, kind: str = "passage") -> list[list[int]]:
        """Return token ids, special tokens and prompt included, cut to `most` (0: no cut) and to `limit`."""
        texts = [self.prompts.get(kind, "") + t for t in texts]
        texts = [t.lower() for t in texts] if self.lower_case else texts
        rows = self.tokenizer(texts, truncation=True, max_length=shortest(most, self.limit(kind)))["input_ids"]
        return [r or [self.tokenizer.unk_token_id or 0] for r in rows]  # an empty text still has a place

    def encode(self, rows: Sequence[Sequence[int]], kind: str = "passage", width: int = 0) -> Tensor:
        """Return one vector per token list: [n, D], with gradient where enabled."""
        del kind, width  # the prompt is in the tokens already, and a vector has no tokens to pad
        where = next(self.encoder.parameters()).device
        ids = pad_right(rows, where)
        mask = torch.arange(ids.shape[1], device=where) < torch.tensor([len(r) for r in rows], device=where)[:, None]
        hidden = hidden_of(self.encoder, ids, mask)
        mean = self.pooling == "mean"
        vectors = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) if mean else hidden[:, 0]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def interact(self, queries: Tensor, passages: Tensor, places: Tensor) -> Tensor:
        """Return the scores [B, n] of queries [B, D] with those passages [U, D] whose numbers `places` [B, n] holds."""
        return at_least_float32(queries @ passages.T).gather(1, places)

    def scores(self, queries: Sequence[Sequence[int]], passages: Sequence[Sequence[int]], places: Tensor) -> Tensor:
        """Return the scores [B, n] of B queries with U passages (token lists), with gradient: see `interact`."""
        places = places.to(next(self.encoder.parameters()).device)
        return self.interact(self.encode(queries, "query"), self.encode(passages), places)

    @torch.no_grad()
    def encode_all(
        self,
        rows: Sequence[Sequence[int]],
        kind: str = "passage",
        *,
        batch_tokens: int,
        bf16: bool = False,
        name: str = "encode",
    ) -> tuple[Tensor, Tensor | None]:
        """Encode many texts, sorted by length in batches of at most `batch_tokens` padded tokens.

        Returns:
            (float32 [n, D] on the CPU, None): one vector per text needs no offsets.
        """
        from jmlr.runtime.devices import autocast

        where = next(self.encoder.parameters()).device
        vectors = torch.empty(len(rows), self.depth)
        progress = Progress(name, len(rows))
        for batch in batches([len(r) for r in rows], batch_tokens):
            with autocast(where, bf16):
                vectors[batch] = self.encode([rows[i] for i in batch], kind).float().cpu()
            progress.step(len(batch))
        return F.normalize(vectors, dim=-1) if self.normalize and bf16 else vectors, None


def _settings(folder: Path) -> dict[str, Any]:
    """Read pooling, normalisation, prompts and case of a sentence-transformers directory."""
    modules = modules_of(folder)
    if not modules:
        return {}
    kinds = dict(modules)
    unknown = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise UserError(
            f"retriever '{folder}': module {', '.join(sorted(unknown))} of modules.json is not supported (allowed: Transformer, Pooling, Normalize)"
        )
    pooling = read_json(kinds["Pooling"], "config.json") if "Pooling" in kinds else {}
    prompts = prompts_of(folder)
    if not pooling.get("include_prompt", True) and any(prompts.values()):
        raise UserError(f"retriever '{folder}': pooling without the prompt (include_prompt: false) is not supported")
    return {"pooling": _pooling(pooling), "normalize": "Normalize" in kinds, "prompts": prompts,
            "lower_case": is_lower_case(folder)}  # fmt: skip


def _pooling(config: dict[str, Any]) -> str:
    if "pooling_mode" in config:  # newer directories name the mode
        return str(config["pooling_mode"])
    chosen = [
        k.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for k, v in config.items()
        if k.startswith("pooling_mode") and v
    ]
    return "_".join(chosen) or "mean"
