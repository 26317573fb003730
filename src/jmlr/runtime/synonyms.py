"""Names of Hugging Face's trainers and adapters, and former ones of this project, and what the same is called here.

>>> here("num_train_epochs", ["epochs", "steps"])
'epochs'
>>> here("--bf16", ["--train-precision"]), here("bf16", ["steps"])
('--train-precision, bfloat16 for true, float32 for false', None)
>>> here("--no-train-bf16", ["--train-precision"]) == here("train_bf16", ["--train-precision"])
True

Sources: `TrainingArguments` of transformers 5, `LoraConfig` of peft 0.21, `SFTConfig` of trl 0.24.
"""

from __future__ import annotations

from collections.abc import Iterable

PRECISIONS = ("train_precision", "encode_precision", "pretrain_precision", "llm_precision")
SYNONYMS = {  # theirs -> ours, the first that there is where it stands
    "auto_find_batch_size": ("forward_tokens",),
    "bf16": PRECISIONS,
    "fp16": PRECISIONS,
    "dropout": ("lora_dropout",),
    "gradient_accumulation_steps": ("micro_batch",),
    "learning_rate": ("llm_learning_rate",),
    "load_in_4bit": ("llm_precision",),
    "lora_r": ("lora_rank",),
    "r": ("lora_rank",),
    "max_grad_norm": ("llm_clip_norm",),
    "max_length": ("llm_tokens", "max_tokens"),
    "max_new_tokens": ("reply_tokens",),
    "max_seq_length": ("llm_tokens", "max_tokens", "retriever_passage_tokens"),
    "max_steps": ("steps",),
    "modules_to_save": ("train_modules",),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "packing": ("pack",),
    "per_device_eval_batch_size": ("answer_batch",),
    "per_device_train_batch_size": ("batch",),
    "report_to": ("wandb",),
    "save_steps": ("checkpoint_min",),
    "seed": ("seeds",),
    "target_modules": ("lora_targets",),
    "top_k": ("candidates", "passages"),
    "torch_dtype": ("llm_precision",),
    "train_batch_size": ("batch",),
    "warmup_ratio": ("warmup_steps",),
}
FORMER = {  # what this project called it before -> as above; bf16, which is Hugging Face's too, was pretrain_precision
    "encode_bf16": ("encode_precision",),
    "overlap_tokens": ("chunk_overlap_tokens",),
    "overlap_words": ("chunk_overlap_words",),
    "passage_tokens": ("retriever_passage_tokens", "chunk_tokens"),
    "passage_words": ("chunk_words",),
    "query_tokens": ("retriever_query_tokens",),
    "train_bf16": ("train_precision",),
    "train_passage_tokens": ("retriever_train_passage_tokens",),
}
SWITCH = "bfloat16 for true, float32 for false"
DIFFERENCES = {  # where ours is not the same thing under another name: by that name, or by ours
    "bf16": SWITCH,
    "encode_bf16": SWITCH,
    "train_bf16": SWITCH,
    "fp16": "bfloat16 or float32, since nothing computes in float16",
    "load_in_4bit": "4bit for true",
    "gradient_accumulation_steps": "the questions of one forward pass, not the number of passes",
    "llm_tokens": "of prompt and answer together",
    "retriever_passage_tokens": "of a passage; retriever_query_tokens, of a query",
    "save_steps": "minutes",
    "warmup_ratio": "a number of steps",
}


def here(name: str, known: Iterable[str]) -> str | None:
    """Return what an option of another name is called among the `known` ones, which may begin with '--'; None where there is none."""
    theirs = name.removeprefix("--").replace("-", "_")
    if DIFFERENCES.get(theirs.removeprefix("no_")) == SWITCH:
        theirs = theirs.removeprefix("no_")
    places = {k.removeprefix("--").replace("-", "_"): k for k in known}
    ours = next((o for o in FORMER.get(theirs, SYNONYMS.get(theirs, ())) if o in places), None)
    if ours is None:
        return None
    difference = DIFFERENCES.get(theirs, DIFFERENCES.get(ours))
    return f"{places[ours]}, {difference}" if difference else places[ours]
