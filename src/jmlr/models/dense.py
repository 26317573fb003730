"""Dense retrievers: one vector per text, score = inner product (METHOD 3.2).

Read from and written to sentence-transformers directories, whose configuration files are honoured: pooling (mean, cls),
normalisation, prompts. A plain Hugging Face encoder gets mean pooling and normalisation.

    retriever = DenseRetriever.load("all-MiniLM-L6-v2")
    vectors = retriever.encode(retriever.tokenize(["aspirin"], 64))     # [1, D]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.llm import pad_right
from jmlr.models.load import pretrained
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
    """

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        *,
        pooling: str = "mean",
        normalize: bool = True,
        prompts: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UserError(f"retriever: pooling '{pooling}' is not supported (allowed: {', '.join(POOLINGS)})")
        self.encoder, self.tokenizer, self.pooling, self.normalize = encoder, tokenizer, pooling, normalize
        self.prompts = prompts or {}

    @classmethod
    def load(cls, path: str) -> DenseRetriever:
        """Load a sentence-transformers directory, a Hugging Face encoder, or either from the hub."""
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        settings = _settings(_local(path))
        unused = {"add_pooling_layer": False} if pretrained(AutoConfig, path, "retriever").model_type == "bert" else {}
        encoder = pretrained(AutoModel, path, "retriever", dtype=torch.float32, use_safetensors=True, **unused)
        return cls(encoder, pretrained(AutoTokenizer, path, "tokenizer of retriever"), **settings)

    def save(self, folder: Path) -> None:
        """Write a directory that `sentence_transformers.SentenceTransformer` and `load` read; safetensors only."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        width = self.encoder.config.hidden_size
        modules = [
            ("", "Transformer"),
            ("1_Pooling", "Pooling"),
            *([("2_Normalize", "Normalize")] if self.normalize else []),
        ]
        listing = [
            {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"}
            for i, (p, t) in enumerate(modules)
        ]
        pooling = {
            "word_embedding_dimension": width,
            "pooling_mode_mean_tokens": self.pooling == "mean",
            "pooling_mode_cls_token": self.pooling == "cls",
        }
        _write_json(folder / "modules.json", listing)
        _write_json(folder / "1_Pooling" / "config.json", pooling)
        _write_json(
            folder / "config_sentence_transformers.json",
            {"prompts": self.prompts, "default_prompt_name": None, "similarity_fn_name": "dot"},
        )
        _write_json(folder / "sentence_bert_config.json", {"max_seq_length": self.max_tokens, "do_lower_case": False})
        if self.normalize:
            (folder / "2_Normalize").mkdir(exist_ok=True)

    @property
    def max_tokens(self) -> int:
        """Return the longest text, in tokens, that the encoder has positions for."""
        return int(getattr(self.encoder.config, "max_position_embeddings", 512))

    def tokenize(self, texts: Sequence[str], most: int, kind: str = "passage") -> list[list[int]]:
        """Return token ids, cut to `most` and to what the encoder has positions for; special tokens and prompt included."""
        prompt = self.prompts.get(kind, "")
        rows = self.tokenizer([prompt + t for t in texts], truncation=True, max_length=min(most, self.max_tokens))[
            "input_ids"
        ]
        return [r or [self.tokenizer.unk_token_id or 0] for r in rows]  # an empty text still has a place

    def encode(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return one vector per token list: [n, D], with gradient where enabled."""
        where = next(self.encoder.parameters()).device
        ids = pad_right(rows, where)
        mask = torch.arange(ids.shape[1], device=where) < torch.tensor([len(r) for r in rows], device=where)[:, None]
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        mean = self.pooling == "mean"
        vectors = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) if mean else hidden[:, 0]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    @torch.no_grad()
    def encode_all(
        self, rows: Sequence[Sequence[int]], *, batch_tokens: int, bf16: bool = False, name: str = "encode"
    ) -> Tensor:
        """Encode many texts, sorted by length in batches of at most `batch_tokens` padded tokens: float32 [n, D] on the CPU."""
        from jmlr.runtime.devices import autocast

        where = next(self.encoder.parameters()).device
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
        vectors = torch.empty(len(rows), self.encoder.config.hidden_size)
        progress = Progress(name, len(rows))
        begin = 0
        while begin < len(order):
            batch = order[begin : begin + max(1, batch_tokens // len(rows[order[begin]]))]
            with autocast(where, bf16):
                vectors[batch] = self.encode([rows[i] for i in batch]).float().cpu()
            begin += len(batch)
            progress.step(len(batch))
        return F.normalize(vectors, dim=-1) if self.normalize and bf16 else vectors


def _local(path: str) -> Path | None:
    """Return the folder of a retriever; one on the hub is brought into the local cache."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=["*.json", "*/config.json"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"retriever '{path}' is neither a local folder nor to be had from the hub: {str(error).splitlines()[0]}"
        ) from None


def _settings(folder: Path | None) -> dict[str, Any]:
    """Read pooling, normalisation and prompts of a sentence-transformers directory."""
    if folder is None or not (folder / "modules.json").is_file():
        return {}
    modules = json.loads((folder / "modules.json").read_text())
    kinds = {m["type"].rsplit(".", 1)[-1]: m["path"] for m in modules}
    unknown = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise UserError(
            f"retriever '{folder}': module {', '.join(sorted(unknown))} of modules.json is not supported (allowed: Transformer, Pooling, Normalize)"
        )
    pooling = json.loads((folder / kinds["Pooling"] / "config.json").read_text()) if "Pooling" in kinds else {}
    return {"pooling": _pooling(pooling), "normalize": "Normalize" in kinds, "prompts": _prompts(folder)}


def _pooling(config: dict[str, Any]) -> str:
    if "pooling_mode" in config:  # newer directories name the mode
        return str(config["pooling_mode"])
    chosen = [
        k.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for k, v in config.items()
        if k.startswith("pooling_mode") and v
    ]
    return "_".join(chosen) or "mean"


def _prompts(folder: Path) -> dict[str, str]:
    path = folder / "config_sentence_transformers.json"
    prompts = json.loads(path.read_text()).get("prompts", {}) if path.is_file() else {}
    return {**prompts, "passage": prompts.get("passage", prompts.get("document", ""))}


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
