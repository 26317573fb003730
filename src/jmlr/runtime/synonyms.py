"""Names of Hugging Face's trainers and adapters, and what the same is called here.

>>> here("num_train_epochs", ["epochs", "steps"])
'epochs'
>>> here("bf16", ["train_bf16"]), here("bf16", ["steps"])
('train_bf16', None)

Sources: `TrainingArguments` of transformers 5, `LoraConfig` of peft 0.21, `SFTConfig` of trl 0.24.
"""

from __future__ import annotations

from collections.abc import Iterable

SYNONYMS = {  # theirs -> ours, the first that there is where it stands
    "auto_find_batch_size": ("forward_tokens",),
    "bf16": ("train_bf16", "encode_bf16"),
    "fp16": ("train_bf16", "encode_bf16", "bf16"),
    "dropout": ("lora_dropout",),
    "gradient_accumulation_steps": ("micro_batch",),
    "learning_rate": ("llm_learning_rate",),
    "load_in_4bit": ("llm_precision",),
    "lora_r": ("lora_rank",),
    "r": ("lora_rank",),
    "max_grad_norm": ("llm_clip_norm",),
    "max_length": ("llm_tokens", "max_tokens"),
    "max_new_tokens": ("reply_tokens",),
    "max_seq_length": ("llm_tokens", "max_tokens"),
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


DIFFERENCES = {  # where ours is not the same thing under another name
    "gradient_accumulation_steps": "the questions of one forward pass, not the number of passes",
    "warmup_ratio": "a number of steps",
    "save_steps": "minutes",
}


def here(name: str, known: Iterable[str]) -> str | None:
    """Return what another library's option is called among the `known` names, which may begin with '--'; None where there is none."""
    theirs = name.removeprefix("--").replace("-", "_")
    places = {k.removeprefix("--").replace("-", "_"): k for k in known}
    ours = next((places[o] for o in SYNONYMS.get(theirs, ()) if o in places), None)
    return f"{ours}, {DIFFERENCES[theirs]}" if ours and theirs in DIFFERENCES else ours
