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

from jmlr.models.load import every_row_learns, pretrained
from jmlr.models.parts import round_number
from jmlr.models.tensors import filled_up
from jmlr.runtime.errors import UserError

SIDES = ("query", "passage")
# What sentence-transformers' encode_document looks for, in its order.
PASSAGE_PROMPTS = ("document", "passage", "corpus")
# Where sentence-transformers keeps the settings of its module Transformer: the first of these that is there.
TRANSFORMER_FILES = tuple(f"sentence_{k}_config.json" for k in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))  # fmt: skip
# Of those settings: what is honoured; what cannot change a vector; what is allowed with one value only.
HONOURED = {"max_seq_length", "do_lower_case", "config_args", "config_kwargs", "tokenizer_args", "processor_kwargs"}
HARMLESS = {"unpad_inputs", "module_output_name"}
PLAIN = {"method": "forward", "method_output_name": "last_hidden_state"}
NOT_CHANGING = {"dtype", "torch_dtype", "attn_implementation", "device_map", "low_cpu_mem_usage", "use_safetensors", "add_pooling_layer"}  # fmt: skip
HEADLESS, NO_HEAD = {"bert"}, {"add_pooling_layer": False}  # kinds of encoder that are loaded without a pooling head
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
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES

    settings, folder = transformer_settings(folder), encoder_folder(folder)
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"retriever '{folder}': an adapter, not a model; merge it into its base model first")
    config = pretrained(AutoConfig, str(folder), "retriever", **settings["config_kwargs"])
    if getattr(config, "use_cache", False):  # a decoder need not hold keys and values that nobody will ask for
        config.use_cache = False
    unused = NO_HEAD if config.model_type in HEADLESS else {}
    # T5 and its like: an encoder saved alone no longer says that it was one of two halves.
    half = MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(config.model_type, "").endswith("EncoderModel")
    kind = AutoModelForTextEncoding if half or config.is_encoder_decoder else AutoModel
    encoder = pretrained(
        kind, str(folder), "retriever", config=config, dtype=torch.float32, use_safetensors=True, **unused
    )
    every_row_learns(encoder)
    return encoder, pretrained(AutoTokenizer, str(folder), "tokenizer of retriever", **settings["processor_kwargs"])


def hidden_of(encoder: Any, ids: Tensor, attended: Tensor) -> Tensor:
    """Return the last hidden states [n, T, H] of tokens [n, T], of which each sees those that are `attended` (bool [n, T])."""
    return encoder(input_ids=ids, attention_mask=attended.long()).last_hidden_state


def layers_of(encoder: Any, ids: Tensor, attended: Tensor) -> tuple[Tensor, ...]:
    """Return the hidden states [n, T, H] of the embedding and of every layer."""
    return encoder(input_ids=ids, attention_mask=attended.long(), output_hidden_states=True).hidden_states


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
    settings = transformer_settings(folder) if folder else {"processor_kwargs": {}}
    saved = 0 if "model_max_length" in settings["processor_kwargs"] else settings.get("max_seq_length") or 0
    known = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else 0  # transformers' "no limit" is 10^30
    return shortest(saved or known, positions_of(encoder), 10**9)


def modules_of(folder: Path) -> list[tuple[str, Path]]:
    """Return the modules of a sentence-transformers directory as (class name, folder); none where there is no modules.json.

    Raises:
        UserError: a module is code of the folder's own, which is not run.
    """
    listing: Any = read_json(folder, "modules.json") or []
    for kind in (m["type"] for m in listing):
        if not kind.startswith(("sentence_transformers.", "pylate.")):
            raise UserError(f"retriever '{folder}': module {kind} of modules.json is code of its own, which is not run")
    return [(m["type"].rsplit(".", 1)[-1], folder / m["path"]) for m in listing]


def transformer_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a folder's module Transformer, `config_kwargs` and `processor_kwargs` among them in any case.

    Raises:
        UserError: a setting would change the vectors and is not supported.
    """
    folder = encoder_folder(folder)
    file, held = next(((f, h) for f in TRANSFORMER_FILES if (h := read_json(folder, f))), ("", {}))
    only = {"transformer_task": "feature-extraction", "modality_config": {"text": PLAIN}}
    arguments = {**(held.get("model_args") or {}), **(held.get("model_kwargs") or {})}
    wrong = [k for k in held if held[k] and k not in {*HONOURED, *HARMLESS, *only, "model_args", "model_kwargs"}]
    wrong += [k for k, allowed in only.items() if held.get(k, allowed) != allowed]
    wrong += [f"model_kwargs.{k}" for k in arguments if k not in NOT_CHANGING]
    if wrong:
        raise UserError(
            f"retriever '{folder / file}': '{wrong[0]}' is not supported (allowed: {', '.join(sorted(HONOURED))})"
        )
    made = {k: v for k, v in held.items() if k in ("max_seq_length", "do_lower_case")}
    for new, old in (("config_kwargs", "config_args"), ("processor_kwargs", "tokenizer_args")):
        given = {**(held.get(old) or {}), **(held.get(new) or {})}
        made[new] = {k: v for k, v in given.items() if k != "trust_remote_code"}
    return made


def prompts_of(folder: Path) -> dict[str, str]:
    """Return what stands before a query and a passage: the prompts of encode_query and encode_document; an empty one counts as none."""
    held = read_json(folder, "config_sentence_transformers.json").get("prompts") or {}
    return {"query": held.get("query") or "", "passage": next((held[k] for k in PASSAGE_PROMPTS if held.get(k)), "")}


def is_lower_case(folder: Path) -> bool:
    """Tell whether texts are to be lower-cased before the tokenizer sees them."""
    return bool(transformer_settings(folder).get("do_lower_case"))


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of all texts, the longest first, in batches of round numbers, at most `batch_tokens` tokens as filled up, or one text."""
    order = torch.tensor(lengths, dtype=torch.long).argsort(descending=True, stable=True)  # 8 bytes a text
    begin = 0
    while begin < len(order):
        number = round_number(max(1, batch_tokens // filled_up(lengths[int(order[begin])])))
        batch = order[begin : begin + number].tolist()
        yield batch
        begin += len(batch)


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of a model's folder; nothing where it is absent."""
    path = folder / name if folder is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
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
    folder: Path,
    modules: Sequence[tuple[str, str]],
    settings: dict[str, Any],
    max_tokens: int,
    lower_case: bool,
    config_kwargs: dict[str, Any] | None = None,
) -> None:
    """Write what makes a folder a sentence-transformers directory: modules as (folder, class), settings, longest text, case.

    A pooling head that is not saved is not asked for either: the library would draw one at random, and warn.
    """
    listing = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    write_json(folder / "modules.json", listing)
    write_json(folder / "config_sentence_transformers.json", settings)
    about: dict[str, Any] = {"max_seq_length": max_tokens, "do_lower_case": lower_case}
    about |= {"model_args": NO_HEAD} if read_json(folder, "config.json").get("model_type") in HEADLESS else {}
    write_json(folder / TRANSFORMER_FILES[0], about | ({"config_args": config_kwargs} if config_kwargs else {}))


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as a safetensors file, making its folder."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
