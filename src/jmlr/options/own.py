"""What a run of one's own gets where it says nothing: the demo's defaults are for the demo's world alone.

    sources: {mine: {path: my/folder}}
    prepare:
      corpora: [{source: mine, file: "*.md"}]
      questions: [{source: mine, file: exam.csv, split: hash}]

Such a run needs no models: tiny ones are made from scratch on its own passages, in minutes, and show that the data goes all
the way through. Documents, where a model is pre-trained on them, are the passages. Without corpora there is only a closed
book, whose language model must be named: there is no text to make one from.
"""

from __future__ import annotations

from typing import Any

LLM = {
    "objective": "causal",
    "reads": "passages",
    "architecture": {
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "max_position_embeddings": 512, "tie_word_embeddings": True},
    "vocab_size": 2000, "embedding_std": 0.1, "induction_heads": True, "steps": 200, "batch": 16, "max_tokens": 256,
    "matrix_learning_rate": 0.03,
}  # fmt: skip
RETRIEVER = {
    "objective": "inverse_cloze",
    "architecture": {
        "model_type": "bert", "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4,
        "max_position_embeddings": 128, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "vocab_size": 2000, "steps": 200, "batch": 16, "max_tokens": 128, "learning_rate": 2e-3, "warmup_steps": 20, "bf16": False,
}  # fmt: skip
CLOSED_BOOK = {"title": "Closed book", "train": {"passages": 0}}


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Return a run's mapping, its cards filled in, with what it leaves out where it does not read the demo's world.

    Raises:
        ValueError: it names no questions or corpora, or nothing that its language model could be; in one line.
    """
    sources, prepare = data.get("sources"), data.get("prepare") or {}
    if not isinstance(sources, dict) or not isinstance(prepare, dict) or _demo(sources.get("world")):
        return data
    for key, otherwise in (("corpora", "; `corpora: []` is a closed book"), ("questions", "")):
        if key not in prepare:
            raise ValueError(
                f"prepare.{key}: not given; allowed: a list of entries that name a source or a card{otherwise}"
            )
    closed = prepare["corpora"] == []
    if closed and not data.get("models"):
        raise ValueError(
            "models: not given; a closed book (`corpora: []`) has no text to make one from: give models.llm a path"
        )
    models = data.get("models") or {"llm": {"pretrain": LLM}, "retriever": {"pretrain": RETRIEVER}}
    documents = [] if closed else [{"plain": True}]
    systems = {"systems": {"closed_book": CLOSED_BOOK}} if closed else {}
    return {**systems, **data, "models": models, "prepare": {"documents": documents, **prepare}}


def _demo(source: Any) -> bool:
    return isinstance(source, dict) and source.get("origin") == "demo"
