"""What the files of a model on this machine say, read without loading it: before anything runs, no library is needed for this.

about = ModelFolder(Path("models/llama"))
about.context, about.causal, about.has_chat_template          # 4096, True, False
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jmlr.models.json_file import AGAIN, read_json

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")  # of any model, by its configuration
# What transformers and sentence-transformers read of a folder besides weights and vocabularies; each holds one JSON object.
OBJECTS = (
    "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "config_sentence_transformers.json", "sentence_bert_config.json",
)  # fmt: skip
BEFORE_FIRST = ("roberta", "camembert", "mpnet")  # models whose first positions stand before the text
UNBOUNDED = 10**9  # transformers' "no limit" is 10^30


def context_of(config: Mapping[str, Any]) -> int:
    """Return how many positions a configuration says that its model has; 0: it does not say, or has no bound."""
    return next((v for k in POSITIONS if isinstance(v := config.get(k), int) and v > 0), 0)


class ModelFolder:
    """A folder with the files of a model; what is missing or is no JSON says nothing, and `fault` tells why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Any, str]] = {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's configuration; that of the text where it has several parts."""
        found = self.object("config.json")
        inner = found.get("text_config")
        return {**found, **inner} if isinstance(inner, dict) else found

    @property
    def context(self) -> int:
        """How many positions the model has; 0: it does not say, or has no bound."""
        return context_of(self.config)

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
        return {kind for kind, _ in self.listed}

    @property
    def listed(self) -> list[tuple[str, str]]:
        """The same with their places: [("Transformer", ""), ("Pooling", "1_Pooling")]."""
        listed = self._read("modules.json")
        found = [m for m in (listed if isinstance(listed, list) else []) if isinstance(m, dict)]
        return [(str(m.get("type")).rpartition(".")[2], str(m.get("path") or "")) for m in found]

    @property
    def place(self) -> str:
        """Where its encoder lies within it: older sentence-transformers directories keep it in '0_Transformer'."""
        return dict(self.listed).get("Transformer", "")

    def longest(self, tokens: bool) -> int:
        """How many tokens of a text a retriever reads; 0: no bound is known.

        Args:
            tokens: whether it has a vector for each token; its lengths then are options, within its positions.
        """
        encoder = ModelFolder(self.folder / self.place)
        positions = encoder.context
        if positions and any(part in str(encoder.config.get("model_type")) for part in BEFORE_FIRST):
            pad = encoder.config.get("pad_token_id")
            positions -= 1 + (pad if isinstance(pad, int) else 1)
        made_for = encoder.object("sentence_bert_config.json").get("max_seq_length")
        made_for = made_for or encoder.object("tokenizer_config.json").get("model_max_length")
        known = [] if tokens else [made_for]
        return min((n for n in [positions, *known] if isinstance(n, int) and 0 < n < UNBOUNDED), default=0)

    @property
    def model_type(self) -> str:
        """What a sentence-transformers directory says it is: 'SentenceTransformer', 'ColBERT'; "" where it does not say."""
        return str(self.object("config_sentence_transformers.json").get("model_type") or "")

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
        held = self.object("tokenizer.json")
        known = held.get("model", {}).get("vocab") if isinstance(held.get("model"), dict) else None
        ids = list(known.values()) if isinstance(known, dict) else range(len(known)) if isinstance(known, list) else []
        more = held.get("added_tokens")
        added = [t.get("id") for t in (more if isinstance(more, list) else []) if isinstance(t, dict)]
        return max((i for i in (*ids, *added) if isinstance(i, int)), default=-1) + 1

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        beside = any((self.folder / name).exists() for name in ("chat_template.jinja", "chat_template.json"))
        return beside or bool(self.object("tokenizer_config.json").get("chat_template"))

    @property
    def similarity(self) -> str:
        """By what sentence-transformers compares its vectors; "" where it does not say."""
        return str(self.object("config_sentence_transformers.json").get("similarity_fn_name") or "")

    def fault(self, name: str, kind: type = dict) -> str:
        """Say what is wrong with one of its JSON files, in the words behind its name; "" if nothing, or if it is not there."""
        if not os.path.lexists(self.folder / name):
            return ""
        found, wrong = self._held(name)
        form = "object" if kind is dict else "list"
        return wrong or ("" if isinstance(found, kind) else f"is no JSON {form}; {AGAIN}")

    def object(self, name: str) -> dict[str, Any]:
        """Return what one of its JSON files holds; nothing where it is no object, or not there."""
        found = self._read(name)
        return found if isinstance(found, dict) else {}

    def _read(self, name: str) -> Any:
        return self._held(name)[0]

    def _held(self, name: str) -> tuple[Any, str]:
        if name not in self._known:
            try:
                self._known[name] = read_json(self.folder / name), ""
            except ValueError as error:
                self._known[name] = None, str(error)
        return self._known[name]
