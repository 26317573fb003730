"""Causal language models: loading them, and their adapters.

llm, tokenizer = load_llm("results/demo/llm/seed0/pretrain")
llm = add_adapter(llm, rank=8, ...)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.models.adapter import fuse_for_answering
from jmlr.models.forward import causal, context_of, head
from jmlr.models.load import every_row_learns, forget_tokens_beyond_the_file, gguf_of, is_gguf, pretrained, read_gguf
from jmlr.models.tensors import at_least_float32
from jmlr.runtime.devices import has_bf16
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import how_to_install

PROBE = "A patient with fever"


def load_tokenizer(path: str) -> Any:
    """Load a model's tokenizer; one without an end-of-text token is refused, since answers must end.

    So is one that loses words: for some kinds of model transformers takes a tokenizer class of its own instead of the saved one,
    and where the saved one works in another way, texts vanish without a word.
    """
    from transformers import AutoTokenizer

    folder, file = gguf_of(path)
    tokenizer = pretrained(AutoTokenizer, folder, "tokenizer of", **file)
    if file:
        forget_tokens_beyond_the_file(tokenizer)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"tokenizer of '{path}': it has no end-of-text token (eos_token); JMLR needs one to end answers"
        )
    ids, saved = tokenizer(PROBE, add_special_tokens=False)["input_ids"], Path(path) / "tokenizer.json"
    if "".join(tokenizer.decode(ids).split()) != "".join(PROBE.split()) and saved.is_file():
        from tokenizers import Tokenizer

        if ids != Tokenizer.from_file(str(saved)).encode(PROBE, add_special_tokens=False).ids:
            raise UserError(
                f"tokenizer of '{path}': it loses words; transformers loads it as {type(tokenizer).__name__}, because of the "
                "model_type in config.json, and the saved tokenizer.json is not of that kind"
            )
    return tokenizer


def load_llm(path: str, *, precision: str = "float32", where: torch.device | None = None) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from a folder or the hub.

    Padding never needs a token of its own: padded positions stand right of the text, where a causal model cannot see them.
    The embedding is never resized: rows beyond the tokenizer's, as padded vocabularies have them, stay.

    Args:
        path: folder, hub name, or a GGUF file, of which transformers restores the weights.
        precision: how weights are held: 'float32', 'bfloat16', or '4bit' (QLoRA's NF4 with double quantisation; embeddings, norms
            and the head in float32, products in bfloat16 where the hardware has it).
        where: the device; default the CPU.

    Raises:
        UserError: there is no such model, it is not a causal language model, its tokenizer has more tokens than its embedding
            rows, it makes its logits in an unknown way or keeps no cache, or 4 bits are asked for and bitsandbytes is not there.
    """
    from transformers import AutoModelForCausalLM

    from jmlr.models.probe import check_kind

    where = where or torch.device("cpu")
    settings: dict[str, Any] = {"dtype": torch.bfloat16 if precision == "bfloat16" else torch.float32}
    if (Path(path) / "adapter_config.json").is_file():
        raise UserError(f"language model '{path}': an adapter, not a model; merge it into its base model first")
    if precision == "4bit" and is_gguf(path):
        raise UserError(f"language model '{path}': llm_precision 4bit; allowed for a GGUF file: float32, bfloat16")
    if precision == "4bit":
        settings |= {"quantization_config": _four_bits(where), "device_map": {"": where}}
    llm = (
        read_gguf(path, settings["dtype"])
        if is_gguf(path)
        else pretrained(AutoModelForCausalLM, path, "language model", use_safetensors=True, **settings)
    )
    tokenizer = load_tokenizer(path)
    rows, most = llm.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values(), default=-1) + 1
    if most > rows:
        raise UserError(
            f"language model '{path}': its tokenizer has token numbers up to {most - 1}, its embedding {rows} rows; give the "
            f"tokenizer it was trained with, or save it with resize_token_embeddings({most})"
        )
    if precision != "4bit":
        llm = llm.to(where)
    for module in llm.modules():
        # Judging (without gradient) would let bitsandbytes repack weights on CPUs with AVX-512 BF16, for a product that has no
        # backward pass: every training step after it would go wrong without a word (0.50).
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    every_row_learns(llm)
    check_kind(llm, path)
    return llm, tokenizer


def _four_bits(where: torch.device) -> Any:
    """Return transformers' settings for QLoRA (Dettmers et al. 2023, sections 2 and 3)."""
    from transformers import BitsAndBytesConfig
    from transformers.utils import is_accelerate_available, is_bitsandbytes_available

    if not (is_bitsandbytes_available() and is_accelerate_available()):
        raise UserError(
            f"llm_precision 4bit needs bitsandbytes and accelerate: {how_to_install('qlora')}; or set it to bfloat16"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if has_bf16(where) else torch.float32,
    )


def add_adapter(
    llm: Any, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], modules: Sequence[str]
) -> Any:
    """Wrap a model in a fresh LoRA adapter (peft); everything else is frozen, but for `modules`, trained in full.

    What is trained is held in float32, whatever the model's precision: in bfloat16 a step of a usual learning rate is rounded away.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets[0] if list(targets) == ["all-linear"] else list(targets),
        modules_to_save=list(modules) or None,
        task_type="CAUSAL_LM",
    )
    try:
        return _widened(get_peft_model(llm, config))
    except ValueError as error:
        raise UserError(
            f"adapter: {str(error).splitlines()[0]} (lora_targets: {list(targets)}, train_modules: {list(modules)})"
        ) from None


def load_adapter(llm: Any, folder: Path, *, trainable: bool) -> Any:
    """Put a trained adapter on its base model; one that is trained further is held in float32, as it was saved."""
    from peft import PeftModel
    from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

    loaded = PeftModel.from_pretrained(llm, str(folder), is_trainable=trainable)
    if trainable and any(p.requires_grad and p.dtype == torch.bfloat16 for p in loaded.parameters()):
        set_peft_model_state_dict(_widened(loaded), load_peft_weights(str(folder)))  # what was rounded on loading
    return loaded


def load_to_answer(
    path: str, adapter: Path | None, *, precision: str, tokens: int, where: torch.device | None = None
) -> tuple[Any, Any]:
    """Load a model that answers, with a trained adapter if there is one, and its tokenizer.

    Args:
        path: folder, hub name, or a GGUF file.
        adapter: folder of the adapter, or None.
        precision: as `load_llm` takes it; the adapter is computed in it, too.
        tokens: most tokens of a prompt with its answer.
        where: the device; default the CPU.

    Raises:
        UserError: as `load_llm` and `check_context` do.
    """
    llm, tokenizer = load_llm(path, precision=precision, where=where)
    check_context(llm.config, tokens, path)
    if adapter is not None:
        llm = load_adapter(llm, adapter, trainable=False)
        fuse_for_answering(llm)
    return llm.eval(), tokenizer


def _widened(llm: Any) -> Any:
    for p in llm.parameters():
        if p.requires_grad:
            p.data = at_least_float32(p.data)
    return llm


def save_adapter(llm: Any, folder: Path, tensors: dict[str, Tensor] | None = None) -> None:
    """Write the adapter and the modules trained in full as a PEFT directory, without the base model's embedding and head.

    tensors: what is trained, where it does not lie in the model itself
    """
    llm.save_pretrained(folder, save_embedding_layers=False, **({"state_dict": tensors} if tensors else {}))
    (folder / "README.md").unlink(missing_ok=True)  # peft's is an empty form; see jmlr.models.card


def recompute(llm: Any) -> None:
    """Let a model compute its activations again in the backward pass instead of keeping them."""
    # newer versions of transformers have the first name, and warn of the second
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def merge_adapter(llm: Any) -> Any:
    """Return the base model with its adapter worked into the weights; not for a 4-bit one, whose weights would be rounded.

    A head that shared its weights with the embedding gets its own where training made the two differ; else they stay shared.
    """
    tied = causal(llm).config.tie_word_embeddings
    for layer in (causal(llm).get_input_embeddings(), head(llm)) if tied else ():
        base = getattr(layer, "base_layer", None)
        if isinstance(base, nn.Module):  # what is merged into one of the two must not reach the other
            base.weight = nn.Parameter(base.get_parameter("weight").detach().clone(), requires_grad=False)
    merged = llm.merge_and_unload(safe_merge=True)
    if tied:
        embedding, last = merged.get_input_embeddings().weight, merged.get_output_embeddings().weight
        merged.config.tie_word_embeddings = torch.equal(embedding, last)
        merged.tie_weights()
    return merged


@torch.no_grad()
def probe(llm: nn.Module) -> Tensor:
    """Return the logits [T, V] of tokens from all over the vocabulary: two forms of one model agree on them."""
    config = causal(llm).config.get_text_config(decoder=True)
    length = min(64, context_of(config) or 64)
    ids = torch.linspace(0, config.vocab_size - 1, length, device=next(llm.parameters()).device).long()
    return llm.eval()(input_ids=ids[None], use_cache=False).logits[0].float()


def agree(one: Tensor, other: Tensor) -> bool:
    """Tell whether two forms of one model give the same logits, but for rounding in their own precision."""
    return one.shape == other.shape and bool((one - other).abs().max() <= 1e-3 * one.abs().max())


def check_context(config: Any, tokens: int, llm: str, what: str = "llm_tokens") -> None:
    """Refuse texts that are longer than what the model has positions for: it would fail on them, or go wrong without a word.

    Raises:
        UserError: they may be.
    """
    most = context_of(config)
    if most is not None and tokens > most:
        raise UserError(f"{what} {tokens} is more than the context of '{llm}': {most} tokens")
