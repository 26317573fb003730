"""Models from scratch: a tokenizer trained on the run's own text, and random weights from a Hugging Face configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from jmlr.models import attention
from jmlr.models.kinds import DENSE, of_kind
from jmlr.models.load import every_row_learns, pretrained, quiet
from jmlr.models.one_encoder import OneEncoder
from jmlr.runtime.errors import UserError
from jmlr.runtime.meter import watch

SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def open_tokenizer(path: str) -> Any:
    """Load a tokenizer from a tokenizer.json (special tokens named as in SPECIAL), a folder or the hub."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if path.endswith(".json"):
        if not Path(path).is_file():
            raise UserError(f"--tokenizer: there is no '{path}'")
        return PreTrainedTokenizerFast(tokenizer_file=path, **SPECIAL)
    return pretrained(AutoTokenizer, path, "--tokenizer")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer: every text can be written in it, and nothing becomes unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def fresh_model(architecture: dict[str, Any], tokenizer: Any, embedding_std: float, *, causal: bool) -> Any:
    """Build a model with random weights; the vocabulary and the special tokens are the tokenizer's.

    Args:
        architecture: a Hugging Face configuration, with its `model_type`.
        tokenizer: the tokenizer the model will read with.
        embedding_std: standard deviation of the token embeddings (the others as the architecture has them).
        causal: a language model, else an encoder without a pooling head.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    quiet()
    attention.install()
    settings = dict(architecture)
    kind = settings.pop("model_type", None)
    if kind is None:
        raise UserError("architecture: it needs a 'model_type', e.g. llama or bert")
    try:
        config = AutoConfig.for_model(kind, **settings, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
                                      bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)  # fmt: skip
    except ValueError as error:
        raise UserError(f"architecture: {str(error).splitlines()[0]}") from None
    model = (
        AutoModelForCausalLM.from_config(config)
        if causal
        else AutoModel.from_config(config, **({"add_pooling_layer": False} if kind == "bert" else {}))
    )
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight.mul_(embedding_std / weight.std())
    every_row_learns(model)
    watch("llm" if causal else "retriever", model)
    return model


def fresh_retriever(encoder: Any, tokenizer: Any, colbert_depth: int) -> OneEncoder:
    """Make a retriever of an encoder: a ColBERT of that depth, or a dense one where it is 0."""
    return of_kind("colbert" if colbert_depth else DENSE).fresh(encoder, tokenizer, colbert_depth)
