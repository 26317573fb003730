"""Dense retrievers: one vector per text, score = inner product (docs/llm_rank.md, step 2).

Read from and written to sentence-transformers directories, whose configuration files are honoured: pooling, the layers behind
it, similarity, truncation, prompts, longest text. A plain Hugging Face encoder gets mean pooling, a plain decoder its last
token, and both cosine similarity, as there.

    retriever = DenseRetriever.load("all-MiniLM-L6-v2")
    vectors = retriever.encode(retriever.tokenize(["aspirin"]))     # [1, D]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.encoder import (
    SIDES,
    batches,
    hidden_of,
    is_lower_case,
    layers_of,
    length_of,
    load_encoder,
    local_folder,
    modules_of,
    prompts_of,
    read_json,
    shortest,
    transformer_settings,
    write_json,
    write_modules,
)
from jmlr.models.one_encoder import OneEncoder
from jmlr.models.pooling import LayerMean, pool, read_pooling
from jmlr.models.projection import Norm, Projection, UnitLength
from jmlr.models.tensors import at_least_float32, pad_right
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import Progress

BEHIND: dict[str, Any] = {
    "Dense": Projection,
    "LayerNorm": Norm,
    "Normalize": UnitLength,
}  # what may stand behind the pooling
MODULES = ["Transformer", "WeightedLayerPooling", "Pooling", *BEHIND]
SIMILARITIES = ("cosine", "dot")  # as jmlr.models.kinds.dense says


class DenseRetriever(OneEncoder):
    """An encoder with pooling; queries and passages share it, and differ by their prompts.

    Attributes:
        encoder: a Hugging Face encoder.
        pooling: of `jmlr.models.pooling.POOLINGS`.
        mix: the mean of all layers that is pooled, where not the last layer is.
        layers: what changes the pooled vector, in this order.
        truncate: how many of its first coordinates are kept; 0: all.
        normalize: whether vectors have length 1, so that the inner product is the cosine.
        prompts: words put before a 'query' or a 'passage'.
        max_tokens: the longest text it reads, special tokens and prompt included.
        lengths: what 'query' and 'passage' are cut to; 0: to max_tokens.
        lower_case: whether texts are lower-cased first.
    """

    tokens = False

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        *,
        pooling: Sequence[str] = ("mean",),
        mix: LayerMean | None = None,
        layers: Sequence[nn.Module] = (),
        truncate: int = 0,
        normalize: bool = True,
        prompts: dict[str, str] | None = None,
        max_tokens: int = 0,
        lengths: tuple[int, int] = (0, 0),
        lower_case: bool = False,
    ) -> None:
        super().__init__(encoder, tokenizer)
        self.pooling, self.normalize = tuple(pooling), normalize
        self.mix, self.layers, self.truncate = mix, nn.Sequential(*layers), truncate
        self.prompts, self.lower_case = prompts or {}, lower_case
        self.max_tokens = max_tokens or length_of(encoder, tokenizer, None)
        self.lengths = dict(zip(SIDES, lengths, strict=True))

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
        kinds = {made: name for name, made in BEHIND.items()}
        modes = self.pooling[0] if len(self.pooling) == 1 else list(self.pooling)
        pooling = {"word_embedding_dimension": self.encoder.config.hidden_size, "pooling_mode": modes}
        parts: list[tuple[str, Any]] = [("WeightedLayerPooling", self.mix)] if self.mix is not None else []
        parts += [("Pooling", pooling), *((kinds[type(layer)], layer) for layer in self.layers)]
        if self.normalize and not self.truncate:  # what is cut is made of length 1 by the similarity
            parts.append(("Normalize", UnitLength()))
        named = [(f"{i}_{kind}", kind, part) for i, (kind, part) in enumerate(parts, 1)]
        for name, kind, part in named:
            write_json(folder / name / "config.json", part) if kind == "Pooling" else part.save(folder / name)
        prompts = {"query": self.prompts.get("query", ""), "document": self.prompts.get("passage", "")}
        similarity = {"similarity_fn_name": "cosine" if self.normalize else "dot"}
        write_modules(
            folder,
            [(path, f"sentence_transformers.models.{kind}") for path, kind, _ in [("", "Transformer", None), *named]],
            {"prompts": prompts, "default_prompt_name": None, **similarity, **({"truncate_dim": self.truncate} if self.truncate else {})},
            self.max_tokens,
            self.lower_case,
            {"output_hidden_states": True} if self.mix is not None else {},
        )  # fmt: skip

    @property
    def depth(self) -> int:
        """D, the length of a vector."""
        projected = [layer.depth for layer in self.layers if isinstance(layer, Projection)]
        depth = projected[-1] if projected else self.encoder.config.hidden_size * len(self.pooling)
        return int(shortest(self.truncate, depth))

    def limit(self, side: str) -> int:
        """Return what a 'query' or 'passage' is cut to, in tokens."""
        return shortest(self.lengths[side], self.max_tokens)

    def tokenize(self, texts: Sequence[str], most: int = 0, side: str = "passage") -> list[list[int]]:
        """Return token ids, special tokens and prompt included, cut to `most` (0: no cut) and to `limit`."""
        texts = [self.prompts.get(side, "") + t for t in texts]
        texts = [t.lower() for t in texts] if self.lower_case else texts
        rows = self.tokenizer(texts, truncation=True, max_length=shortest(most, self.limit(side)))["input_ids"]
        return [r or [self.tokenizer.unk_token_id or 0] for r in rows]  # an empty text still has a place

    def encode(self, rows: Sequence[Sequence[int]], side: str = "passage", width: int = 0) -> Tensor:
        """Return one vector per token list: [n, D], with gradient where enabled."""
        del side, width  # the prompt is in the tokens already, and a vector has no tokens to pad
        where = next(self.encoder.parameters()).device
        ids = pad_right(rows, where, self.max_tokens)
        mask = torch.arange(ids.shape[1], device=where) < torch.tensor([len(r) for r in rows], device=where)[:, None]
        hidden = self.mix(layers_of(self.encoder, ids, mask)) if self.mix else hidden_of(self.encoder, ids, mask)
        vectors = self.layers(pool(hidden, mask, self.pooling))[:, : self.truncate or None]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def interact(self, queries: Tensor, passages: Tensor, places: Tensor) -> Tensor:
        """Return the scores [B, n] of queries [B, D] with those passages [U, D] whose numbers `places` [B, n] holds."""
        return at_least_float32(queries @ passages.T).gather(1, places)

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
        """Yield the number of each text and its one vector, float32 [1, D] on the CPU; see `OneEncoder`."""
        from jmlr.runtime.devices import autocast

        where = next(self.encoder.parameters()).device
        progress = Progress(name, len(rows))
        for batch in batches([len(r) for r in rows], batch_tokens):
            with autocast(where, precision):
                vectors = self.encode([rows[i] for i in batch], side).float().cpu()
            if self.normalize and precision == "bfloat16":
                vectors = F.normalize(vectors, dim=-1)
            yield from zip(batch, vectors[:, None], strict=True)
            progress.step(len(batch))


def _settings(folder: Path) -> dict[str, Any]:
    """Read what a sentence-transformers directory says of pooling, the layers behind it, similarity, prompts and case.

    Raises:
        UserError: a module, their order or a setting is not supported.
    """
    about, modules = read_json(folder, "config_sentence_transformers.json"), modules_of(folder)
    if about.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise UserError(f"retriever '{folder}': a {about['model_type']}, not a SentenceTransformer or a ColBERT")
    if not modules:
        return {"pooling": ("lasttoken",) if _is_decoder(folder) else ("mean",)}
    kinds = [kind for kind, _ in modules]
    if unknown := [kind for kind in kinds if kind not in MODULES]:
        raise UserError(
            f"retriever '{folder}': module {unknown[0]} of modules.json is not supported (allowed: {', '.join(MODULES)})"
        )
    front = kinds[: kinds.index("Pooling") + 1] if "Pooling" in kinds else []
    if front not in (["Transformer", "Pooling"], ["Transformer", "WeightedLayerPooling", "Pooling"]):
        allowed = "Transformer, perhaps WeightedLayerPooling, Pooling, then the others"
        raise UserError(f"retriever '{folder}': modules {', '.join(kinds)} of modules.json; allowed: {allowed}")
    prompts, pooling = prompts_of(folder), dict(modules)["Pooling"]
    if not (pooling / "config.json").is_file():
        raise UserError(
            f"retriever '{folder}': modules.json names {pooling.name}, and '{pooling}/config.json' is missing"
        )
    if not read_json(pooling, "config.json").get("include_prompt", True) and any(prompts.values()):
        raise UserError(f"retriever '{folder}': pooling without the prompt (include_prompt: false) is not supported")
    layers = [_layer(kind, where) for kind, where in modules[len(front) :]]
    truncate = about.get("truncate_dim") or 0
    normalize = _is_cosine(folder, about) or (not truncate and bool(layers) and isinstance(layers[-1], UnitLength))
    if normalize and not truncate and layers and isinstance(layers[-1], UnitLength):
        layers.pop()
    return {"pooling": read_pooling(pooling), "mix": _mix(folder, dict(modules)) if len(front) > 2 else None, "layers": layers,
            "truncate": truncate, "normalize": normalize, "prompts": prompts, "lower_case": is_lower_case(folder)}  # fmt: skip


def _layer(kind: str, folder: Path) -> nn.Module:
    config = read_json(folder, "config.json")
    for key in ("module_input_name", "module_output_name"):
        if (named := config.get(key) or "sentence_embedding") != "sentence_embedding":
            raise UserError(f"retriever '{folder}': {key} '{named}' is not supported (allowed: sentence_embedding)")
    return BEHIND[kind].load(folder)


def _mix(folder: Path, modules: dict[str, Path]) -> LayerMean:
    """Load the mean of layers; sentence-transformers passes over it where the encoder does not give its layers."""
    given = {**read_json(modules["Transformer"], "config.json"), **transformer_settings(folder)["config_kwargs"]}
    if not given.get("output_hidden_states"):
        raise UserError(
            f"retriever '{folder}': WeightedLayerPooling without output_hidden_states: true in config.json, so that "
            "sentence-transformers passes over it; say true, or take the module out of modules.json"
        )
    return LayerMean.load(modules["WeightedLayerPooling"])


def _is_cosine(folder: Path, about: dict[str, Any]) -> bool:
    """Tell whether the similarity is the cosine, sentence-transformers' own where nothing is said, or the inner product."""
    named = about.get("similarity_fn_name") or "cosine"
    if named not in SIMILARITIES:
        raise UserError(
            f"retriever '{folder}': similarity_fn_name '{named}' is not supported (allowed: {', '.join(SIMILARITIES)})"
        )
    return named == "cosine"


def _is_decoder(folder: Path) -> bool:
    """Tell whether a plain model was made to write text, and reads from left to right."""
    config = read_json(folder, "config.json")
    return (config.get("architectures") or [""])[0].endswith("ForCausalLM") and config.get("is_causal", True)
