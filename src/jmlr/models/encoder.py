"""What every retriever is made of: a Hugging Face encoder with its tokenizer, read from a folder or the hub.

    encoder, tokenizer = load_encoder(local_folder("intfloat/e5-base-v2"))
    hidden = hidden_of(encoder, ids, attended)          # [n, T, H]

A folder may hold sentence-transformers' own files; `modules_of`, `prompts_of` and `length_of` read what they say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jmlr.models.load import pretrained
from jmlr.runtime.errors import UserError

KINDS = ("query", "passage")
# What sentence-transformers' encode_document looks for, in its order.
PASSAGE_PROMPTS = ("document", "passage", "corpus")
FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "artifact.metadata"]


def local_folder(path: str) -> Path:
    """Return the folder of a retriever; one on the hub is brought into the local cache.

    Raises:
        UserError: it is neither a folder nor on the hub.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"retriever '{path}' is neither a local folder nor to be had from the hub: {str(error).splitlines()[0]}"
        ) from None


def encoder_folder(folder: Path) -> Path:
    """Return where the encoder itself lies: older sentence-transformers directories keep it in 0_Transformer."""
    return dict(modules_of(folder)).get("Transformer", folder)


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """Load the encoder in float32, without a pooling head, and its tokenizer.

    Raises:
        UserError: there is no such model, or none in safetensors.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    folder = encoder_folder(folder)
    config = pretrained(AutoConfig, str(folder), "retriever")
    unused = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    kind = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    encoder = pretrained(kind, str(folder), "retriever", dtype=torch.float32, use_safetensors=True, **unused)
    return encoder, pretrained(AutoTokenizer, str(folder), "tokenizer of retriever")


def hidden_of(encoder: Any, ids: Tensor, attended: Tensor) -> Tensor:
    """Return the last hidden states [n, T, H] of tokens [n, T], of which each sees those that are `attended` (bool [n, T])."""
    return encoder(input_ids=ids, attention_mask=attended.long()).last_hidden_state


def shortest(*limits: int) -> int:
    """Return the least of the limits that are set; 0 means not set."""
    return min(limit for limit in limits if limit)


def positions_of(encoder: Any) -> int:
    """Return how many tokens the encoder has positions for; 0: any number. RoBERTa's begin behind its padding token's number."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or 0
    padding = getattr(getattr(encoder, "embeddings", None), "padding_idx", None)
    return positions if padding is None or not positions else positions - padding - 1


def length_of(encoder: Any, tokenizer: Any, folder: Path | None) -> int:
    """Return the longest text, in tokens, that a retriever was made for: its configuration's, its tokenizer's, its positions'."""
    saved = read_json(folder and encoder_folder(folder), "sentence_bert_config.json").get("max_seq_length") or 0
    known = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else 0  # transformers' "no limit" is 10^30
    return shortest(saved, known, positions_of(encoder), 10**9)


def modules_of(folder: Path) -> list[tuple[str, Path]]:
    """Return the modules of a sentence-transformers directory as (class name, folder); none where there is no modules.json."""
    listing: Any = read_json(folder, "modules.json") or []
    return [(m["type"].rsplit(".", 1)[-1], folder / m["path"]) for m in listing]


def prompts_of(folder: Path) -> dict[str, str]:
    """Return what stands before a query and a passage: the prompts of encode_query and encode_document; an empty one counts as none."""
    held = read_json(folder, "config_sentence_transformers.json").get("prompts") or {}
    return {"query": held.get("query") or "", "passage": next((held[k] for k in PASSAGE_PROMPTS if held.get(k)), "")}


def is_lower_case(folder: Path) -> bool:
    """Tell whether texts are to be lower-cased before the tokenizer sees them."""
    return bool(read_json(encoder_folder(folder), "sentence_bert_config.json").get("do_lower_case"))


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of all texts, the longest first, in batches of at most `batch_tokens` padded tokens."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    begin = 0
    while begin < len(order):
        batch = order[begin : begin + max(1, batch_tokens // lengths[order[begin]])]
        yield batch
        begin += len(batch)


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of a model's folder; nothing where it is absent."""
    path = folder / name if folder is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"retriever: '{path}' is not JSON: {error}") from None


def read_tensors(path: Path, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return tensors of a safetensors file in float32: those named, or all.

    Raises:
        UserError: there is no such file, or a tensor is missing.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise UserError(f"retriever: there is no '{path}' (weights in another form are not read)")
    with safe_open(path, framework="pt") as file:
        missing = set(names) - set(file.keys())
        if missing:
            raise UserError(f"retriever: '{path}' has no tensor {', '.join(sorted(missing))}")
        return {k: file.get_tensor(k).float() for k in names or file.keys()}


def write_modules(
    folder: Path, modules: Sequence[tuple[str, str]], settings: dict[str, Any], max_tokens: int, lower_case: bool
) -> None:
    """Write what makes a folder a sentence-transformers directory: modules as (folder, class), settings, longest text, case."""
    listing = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    write_json(folder / "modules.json", listing)
    write_json(folder / "config_sentence_transformers.json", settings)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": lower_case})


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
