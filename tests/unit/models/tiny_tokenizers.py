"""Tiny tokenizers of the forms that language models have, by the form's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPACE = "▁"
TEXT = """Reference: aspirin lowers fever. Question: which drug lowers fever? A. aspirin B. warfarin C. heparin D. none
Answer: B Answer: aspirin Answer: A. aspirin [P1] [P2] user assistant The answer is B. think step by step"""
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>"]
BYTES = [f"<0x{i:02X}>" for i in range(256)]
# GPT-4's way to part words, which Llama 3 and Qwen share but for details
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentencepiece(tokenizer: Tokenizer, *, unigram: bool = False) -> Tokenizer:
    """Train as SentencePiece does: pieces do not cross words."""
    own = tokenizer.pre_tokenizer, tokenizer.normalizer
    tokenizer.normalizer, tokenizer.pre_tokenizer = None, pre_tokenizers.Metaspace(prepend_scheme="always")
    special = [*SPECIAL, *BYTES]
    trainer: Any = (
        trainers.UnigramTrainer(vocab_size=480, special_tokens=special, unk_token="<unk>", show_progress=False)
        if unigram
        else trainers.BpeTrainer(vocab_size=480, special_tokens=special, initial_alphabet=[SPACE], show_progress=False)
    )
    tokenizer.train_from_iterator(TEXT.split("\n"), trainer)
    if own[0]:
        tokenizer.pre_tokenizer = own[0]
    else:
        tokenizer = Tokenizer(tokenizer.model)
    if own[1]:
        tokenizer.normalizer = own[1]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def prepend() -> Tokenizer:
    """Llama 2, Mistral 7B v0.1: a normaliser puts a blank before every text, the one between two special tokens too."""
    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    return sentencepiece(made)


def metaspace(scheme: str, *, unigram: bool = False) -> Tokenizer:
    """The newer form of the same, SentencePiece without its older habits; with 'always', of XGLM and others."""
    made = Tokenizer(
        models.Unigram(byte_fallback=True)
        if unigram
        else models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=unigram)
    return sentencepiece(made, unigram=unigram)


def no_prefix() -> Tokenizer:
    """Gemma: blanks become a sign of their own, none is added."""
    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", SPACE)
    return sentencepiece(made)


def byte_level(split: Any) -> Tokenizer:
    """GPT-2, Qwen, Llama 3."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = split, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT.split("\n"),
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def word_piece() -> Tokenizer:
    """The demo's."""
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        TEXT.split("\n"), trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    )
    return made


FORMS: dict[str, Callable[[], Tokenizer]] = {
    "llama-2, mistral (prepend)": prepend,
    "llama, mistral (metaspace, first)": lambda: metaspace("first"),
    "metaspace, always": lambda: metaspace("always"),
    "unigram": lambda: metaspace("always", unigram=True),
    "gemma": no_prefix,
    "gpt-2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "gpt-2, prefixed": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "llama-3, qwen": lambda: byte_level(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    ),
    "word pieces": word_piece,
}


def tokenizer_of(form: str, template: str = "") -> PreTrainedTokenizerFast:
    """Return a tokenizer of a form, with a chat template where one is given."""
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    made = PreTrainedTokenizerFast(
        tokenizer_object=FORMS[form](), **special, additional_special_tokens=SPECIAL[4:], clean_up_tokenization_spaces=False
    )  # fmt: skip
    if template:
        made.chat_template = template
    return made
