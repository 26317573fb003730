"""What the files of a model on this machine say, read without loading it: before anything runs, no library is needed for this.

about = ModelFolder(Path("models/llama"))
about.context, about.causal, about.has_chat_template          # 4096, True, False
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")  # of any model, by its configuration


class ModelFolder:
    """A folder with the files of a model; what is missing or is no JSON says nothing, and loading it tells why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's configuration; that of the text where it has several parts."""
        found = self._json("config.json")
        inner = found.get("text_config")
        return {**found, **inner} if isinstance(inner, dict) else found

    @property
    def context(self) -> int:
        """How many positions the model has; 0: it does not say, or has no bound."""
        return next((v for k in POSITIONS if isinstance(v := self.config.get(k), int) and v > 0), 0)

    @property
    def is_model(self) -> bool:
        """Whether it has what each kind of model here has: its own configuration, or a list of modules, or two retrievers."""
        names = ("config.json", "modules.json", "adapter_config.json", "query", "passage")
        return any((self.folder / name).exists() for name in names)

    @property
    def adapter(self) -> bool:
        """Whether it is an adapter alone."""
        return (self.folder / "adapter_config.json").is_file()

    @property
    def causal(self) -> bool:
        """Whether it is a causal language model and nothing says how vectors are made of its tokens."""
        known = (self.folder / "modules.json").is_file() or (self.folder / "artifact.metadata").is_file()
        return not known and any(name.endswith("ForCausalLM") for name in self.architectures)

    @property
    def encoder(self) -> str:
        """The architecture that it says it is, if that cannot write a text: 'BertModel'; "" if it can, or does not say."""
        writes = ("ForCausalLM", "LMHead", "ForConditionalGeneration")
        return (
            "" if any(part in name for name in self.architectures for part in writes) else ", ".join(self.architectures)
        )

    @property
    def modules(self) -> set[str]:
        """The classes of the modules that a sentence-transformers directory lists, without their packages."""
        listed = self._read("modules.json")
        found = [m for m in (listed if isinstance(listed, list) else []) if isinstance(m, dict)]
        return {str(m.get("type")).rpartition(".")[2] for m in found}

    @property
    def model_type(self) -> str:
        """What a sentence-transformers directory says it is: 'SentenceTransformer', 'ColBERT'; "" where it does not say."""
        return str(self._json("config_sentence_transformers.json").get("model_type") or "")

    @property
    def architectures(self) -> list[str]:
        """The architectures that its configuration names."""
        found = self.config.get("architectures")
        return [str(name) for name in found] if isinstance(found, list) else []

    @property
    def rows(self) -> int:
        """How many tokens the embedding has rows for; 0: it does not say."""
        found = self.config.get("vocab_size")
        return found if isinstance(found, int) else 0

    @cached_property
    def token_numbers(self) -> int:
        """How many numbers the tokenizer needs, the largest and one; 0: it has no tokenizer.json, or one of another form."""
        held = self._json("tokenizer.json")
        known = held.get("model", {}).get("vocab") if isinstance(held.get("model"), dict) else None
        ids = list(known.values()) if isinstance(known, dict) else range(len(known)) if isinstance(known, list) else []
        added = [t.get("id") for t in held.get("added_tokens") or [] if isinstance(t, dict)]
        return max((i for i in (*ids, *added) if isinstance(i, int)), default=-1) + 1

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        beside = any((self.folder / name).exists() for name in ("chat_template.jinja", "chat_template.json"))
        return beside or bool(self._json("tokenizer_config.json").get("chat_template"))

    @property
    def similarity(self) -> str:
        """By what sentence-transformers compares its vectors; "" where it does not say."""
        return str(self._json("config_sentence_transformers.json").get("similarity_fn_name") or "")

    def _json(self, name: str) -> dict[str, Any]:
        found = self._read(name)
        return found if isinstance(found, dict) else {}

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
