"""Model cards: what a published adapter or retriever was made from, with what, and how to load it.

write_card(folder / "adapter", "adapter", about)        # README.md; `about` as the stage's manifest has it, no text of the corpus
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jmlr.models.kinds import of_kind
from jmlr.models.load import gguf_of

LLMS = {
    "adapter": {
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base}, dtype=torch.{dtype})  # as the run held it
model = PeftModel.from_pretrained(base, "{name}")""",
    },
    "unmerged": {  # its base model stands beside it
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import os
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

os.chdir("path/of/the/folder/above")  # peft looks for a base model on the hub, or from where Python runs
model = AutoPeftModelForCausalLM.from_pretrained("adapter", dtype=torch.{dtype})  # as the run held it
tokenizer = AutoTokenizer.from_pretrained("base")""",
    },
    "unmerged_hub": {
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{name}", dtype=torch.{dtype})  # as the run held it
tokenizer = AutoTokenizer.from_pretrained({base})""",
    },
    "merged": {
        "title": "Language model, its adapter merged",
        "library": "transformers",
        "load": """from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")""",
    },
}
# An adapter is saved in float32; what holds it is another matter for each of the libraries' loaders.
LOADERS = (
    "Give the dtype, and load with peft: beside a base model in bfloat16 it holds the LoRA weights in float32 and rounds what "
    "was trained in full (`train_modules`); transformers' own `load_adapter`, and its `from_pretrained` of this folder, round both."
)


def write_card(folder: Path, what: str, about: Mapping[str, Any]) -> None:
    """Write README.md into an exported model's folder.

    Args:
        folder: of the model.
        what: a key of LLMS, or a kind of retriever (`jmlr.models.kinds`).
        about: `llm`, `retriever` (names or None), `seed`, `round`, `options` (name to value), `data` and `code` (digests).
    """
    llm, retriever = (_name(about[k]) for k in ("llm", "retriever"))
    card, base = (LLMS[what], about["llm"]) if what in LLMS else (of_kind(what).CARD, about["retriever"])
    how = (
        "Fine-tuned" if about["options"]["target"] == "frozen" else "Language model and retriever were trained jointly"
    )
    hub = [f"base_model: {base}"] if base and not Path(base).exists() else []
    held = {
        "base": _first_argument(about["llm"] or ""),
        "dtype": "bfloat16" if about["options"].get("llm_precision") == "bfloat16" else "float32",
    }
    lines = [
        "---", f"library_name: {card['library']}", *hub, "tags: [jmlr, retrieval-augmented, medical]", "---", "",
        f"# {card['title']}",
        "",
        f"{how} by jmlr, a replication of JMLR ([arXiv 2402.17887](https://arxiv.org/abs/2402.17887)).",
        "Not for clinical use.",
        "",
        "| what | value |", "|---|---|",
        f"| language model it began from | `{llm}` |",
        *([f"| retriever it began from | `{retriever}` |"] if retriever else []),
        f"| seed, round | {about['seed']}, {about['round']} |",
        f"| code (digest) | `{about['code']}` |",
        *(f"| data: {name} (SHA-256) | `{digest}` |" for name, digest in about["data"].items()),
        "", "## Load it", "", "```python", card["load"].format(name="path/of/this/folder", **held), "```",
        *(["", LOADERS] if card["library"] == "peft" else []),
        "", "## Settings", "", "| option | value |", "|---|---|",
        *(f"| `{k}` | `{_cell(v)}` |" for k, v in about["options"].items()), "",
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _name(path: str | None) -> str | None:
    """Return how a card calls a model: a hub name in full, a local folder without what lies above its last three parts."""
    if path is None:
        return None
    return "/".join(Path(path).parts[-3:]).lstrip("/") if Path(path).exists() else path


def _first_argument(llm: str) -> str:
    """Return what `from_pretrained` is given for a model: its name, or of a GGUF file the folder and the file; a folder of
    this machine by its last name alone, behind what the reader puts in."""
    folder, file = gguf_of(llm)
    folder = f"path/to/{Path(folder).name}" if Path(llm).exists() else folder
    return f'"{folder}"' + "".join(f', {key}="{name}"' for key, name in file.items())


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|")
