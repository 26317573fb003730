"""What a run gets where it says nothing: one of one's own the defaults of `jmlr.options`, one of the demo's world config/config.yaml.

    sources:
      documents: {path: my/folder}      # the passages, where `prepare` says nothing else
      questions: {path: my/exam.csv}    # the questions, shared out by hash
    models:
      llm: {path: HuggingFaceTB/SmolLM2-135M-Instruct}
      retriever: {path: sentence-transformers/all-MiniLM-L6-v2}

Without models tiny ones are made from scratch on the run's own passages, in minutes: they show that the data goes all
the way through, no more. Documents, where a model is pre-trained on them, are the passages. Without corpora there is only a
closed book, whose language model must be named: there is no text to make one from. The demo's toy values (rates a hundred times
a pretrained model's, passages of a line) stand in config/config.yaml alone, under every run that reads the demo's world.
"""

from __future__ import annotations

import functools
from typing import Any

from jmlr.options.cards import FOLDER

LLM = {
    "objective": "causal",
    "reads": "passages",
    "architecture": {
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "max_position_embeddings": 2048, "tie_word_embeddings": True},
    "vocab_size": 2000, "embedding_std": 0.1, "induction_heads": True, "steps": 200, "batch": 16, "max_tokens": 256,
    "learning_rate": 5e-3, "matrix_learning_rate": 0.03,
}  # fmt: skip
RETRIEVER = {
    "objective": "inverse_cloze",
    "architecture": {
        "model_type": "bert", "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4,
        "max_position_embeddings": 256, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "vocab_size": 2000, "steps": 200, "batch": 16, "max_tokens": 256, "learning_rate": 2e-3, "warmup_steps": 20,
    "pretrain_precision": "float32",
}  # fmt: skip
BY_NAME = ("sources", "models", "endpoints", "systems")  # sections whose keys are the user's names
CLOSED_BOOK = {"title": "Closed book", "train": {"passages": 0}}
NAMED = {
    "corpora": "documents",
    "questions": "questions",
}  # entries of prepare -> the source that they read where not given


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Return a run's mapping, its cards filled in, with what it leaves out: the demo's values, or those of a run of one's own.

    Raises:
        ValueError: it names no questions or corpora, or nothing that its language model could be; in one line.
    """
    sources, prepare = data.get("sources"), data.get("prepare") or {}
    if not isinstance(sources, dict) or not isinstance(prepare, dict) or _demo(sources.get("world")):
        return over(demo(), data)
    for key, source in NAMED.items():
        if key not in prepare and source not in sources:
            otherwise = "; `corpora: []` is a closed book" if key == "corpora" else ""
            what = f"a list of entries that name a source or a card, or a source named '{source}'"
            raise ValueError(f"prepare.{key}: not given; allowed: {what}{otherwise}")
    closed = prepare.get("corpora") == []
    if closed and not data.get("models"):
        raise ValueError(
            "models: not given; a closed book (`corpora: []`) has no text to make one from: give models.llm a path"
        )
    models = data.get("models") or {"llm": {"pretrain": LLM}, "retriever": {"pretrain": RETRIEVER}}
    documents: dict[str, Any] = {"documents": []} if closed else {}
    systems = {"systems": {"closed_book": CLOSED_BOOK}} if closed else {}
    return {**systems, **data, "models": models, "prepare": {**documents, **prepare}}


@functools.cache
def demo() -> dict[str, Any]:
    """Return the mapping that config/config.yaml holds: the demo.

    Raises:
        ValueError: it is not there, as in an installed wheel, which has no workflow either; in one line.
    """
    import yaml

    if not (FOLDER / "config.yaml").is_file():
        raise ValueError("sources: not given; the demo's (config/config.yaml) stand in a checkout alone")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load((FOLDER / "config.yaml").read_text(encoding="utf-8"), Loader=loader))


def over(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return a run's mapping on top of another: sections key by key; lists, and mappings of names, as a whole."""
    laid = {**base, **data}
    for key in data:
        section, given = base.get(key), data[key]
        if key not in NAMES and isinstance(section, dict) and isinstance(given, dict):
            laid[key] = over(section, given)
    return laid


NAMES = ("sources", "models", "endpoints", "systems", "shares")  # mappings whose keys are names, not options


def _demo(source: Any) -> bool:
    return isinstance(source, dict) and source.get("origin") == "demo"


def without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out the entries that a file sets to null: so one over another takes rows, models or sources away."""
    return {
        k: {name: v for name, v in part.items() if v is not None} if k in BY_NAME and isinstance(part, dict) else part
        for k, part in data.items()
    }


def taken_away(data: dict[str, Any], said: str) -> str:
    """Return a hint for a message about a name that stands in the file with nothing after it; "" for any other."""
    empty = [(k, n) for k in BY_NAME if isinstance(data.get(k), dict) for n, v in data[k].items() if v is None]
    found = next((f"{section}.{name}" for section, name in empty if f"'{name}'" in said), "")
    return f"; {found} has nothing after it, which takes it away" if found else ""
