"""Tiny encoders with a WordPiece tokenizer, written in the formats of the libraries, not by our own `save`."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file

TEXTS = [
    "aspirin inhibits cyclooxygenase, and so it lowers fever.",
    "the mitral valve lies between the left atrium and the left ventricle!",
    "which medicine should be prescribed (by mouth) for a woman aged 34?",
    "warfarin; heparin: both thin the blood - beware of bleeding.",
    "fever",
]
QUERIES = ["which medicine lowers fever?", "where is the mitral valve", "blood"]
SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece():
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    made = BertWordPieceTokenizer(lowercase=True)
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    made.train_from_iterator(
        TEXTS + QUERIES, vocab_size=300, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    return BertTokenizerFast(tokenizer_object=made._tokenizer, model_max_length=64)


def bert(tokenizer, seed: int = 0, **settings):
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.4, **sizes, **settings
    )
    return BertModel(config, add_pooling_layer=False).eval()


def write_pylate(folder: Path, dense: list[dict] | None = None, **settings) -> Path:
    """Write a directory as PyLate 1.6 saves it; `dense`: configurations of its layers."""
    from transformers import AddedToken

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = wordpiece()
    model = bert(tokenizer, seed=3)
    tokenizer.add_tokens([AddedToken("[Q] "), AddedToken("[D] ")])
    torch.manual_seed(4)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    plain = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity", "use_residual": False}
    layers = [{**plain, **d} for d in dense or [{"in_features": 32, "out_features": 16}]]
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, config in enumerate(layers, 1):
        modules.append({"idx": i, "name": str(i), "path": f"{i}_Dense", "type": "pylate.models.Dense.Dense"})
        (folder / f"{i}_Dense").mkdir(exist_ok=True)
        (folder / f"{i}_Dense/config.json").write_text(json.dumps(config))
        shape = (config["out_features"], config["in_features"])
        weights = {"linear.weight": torch.randn(shape) / 5}
        if config["bias"]:
            weights["linear.bias"] = torch.randn(shape[0])
        if config["use_residual"] and shape[0] != shape[1]:
            weights["residual.weight"] = torch.randn(shape) / 5
        save_file(weights, folder / f"{i}_Dense/model.safetensors")
    (folder / "modules.json").write_text(json.dumps(modules))
    about = {"__version__": {}, "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
             "model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 14,
             "document_length": 24, "attend_to_expansion_tokens": False, "do_query_expansion": True,
             "skiplist_words": list(string.punctuation), **settings}  # fmt: skip
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 23, "do_lower_case": False}))
    return folder
