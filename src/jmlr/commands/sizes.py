"""What a plan computes with: how much there is of everything, the shapes of the run's models, and the lines it comes to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.config import Config
from jmlr.models.flops import Shape
from jmlr.models.shapes import read_shape, shape_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.validation import nearest


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything, and what computes it."""

    passages: int
    questions: int
    test_questions: int
    options: int
    fill: float
    nodes: int
    gpus_per_node: int

    def ranks(self, batch: int) -> int:
        """Return the processes that share a training of so many texts a step: one for each GPU, and no more than texts."""
        return max(1, min(batch, self.nodes * self.gpus_per_node))


@dataclass(frozen=True)
class Line:
    """One stage: its jobs; hours from the first to the last if no job waits for a node; GPU hours; bytes that stay."""

    stage: str
    jobs: int
    hours: float = 0.0
    gpu_hours: float = 0.0
    bytes: float = 0.0


def path_of(run: Config, name: str) -> str:
    """Return the folder or hub name that a model is or begins from, with its variables put in; "" for one from scratch."""
    model = run.models[name]
    while model.pretrain and model.pretrain.init.startswith("model:"):
        model = run.models[model.pretrain.init.removeprefix("model:")]
    path = model.pretrain.init if model.pretrain else model.rerank.path if model.rerank else model.path
    return os.path.expanduser(os.path.expandvars(path)).rstrip("/")


def shape(run: Config, name: str, known: dict[str, Any], llm: str = "") -> Shape:
    """Return the shape of a run's model, from its configuration or by its name from the rates; of `llm` where that is named."""
    model, path = run.models[name], llm or path_of(run, name)
    while not path and model.pretrain and model.pretrain.init:
        model = run.models[model.pretrain.init.removeprefix("model:")]
    if not path and model.pretrain:
        made = model.pretrain
        about = {"vocab_size": made.vocab_size, "colbert_depth": made.colbert_depth, **made.architecture}
    else:
        key = next((k for k in known["models"] if path.endswith(k)), None)
        if key is None:
            hint = nearest(path, known["models"])
            raise UserError(f"models.{name} '{path}': unknown shape{hint}; add it to `models` of the rates")
        about = known["models"][key]
    found = about if isinstance(about, Shape) else read_shape(about)
    if found is None:
        wanted = "hidden_size, num_hidden_layers, num_attention_heads"
        raise UserError(
            f"models.{name} '{path}': its configuration does not say {wanted}; add it to `models` of the rates"
        )
    return found


def indexed_bytes(run: Config, retriever: Shape) -> float:
    """Return the bytes of a coordinate in an index: the original, which a ColBERT's may do without, and its code."""
    codes = {"float32": 0.0, "bfloat16": 2.0, "int8": 1.0}[run.index.storage]
    return codes + 4.0 * (run.index.originals or not retriever.colbert_depth)


def shapes(paths: Iterable[str]) -> dict[str, Shape]:
    """Return the shapes of ready-made models, by their paths: folders, hub names, or GGUF files; without those that do not tell.

    Raises:
        UserError: one cannot be read.
    """
    return {path: found for path in dict.fromkeys(paths) if path and (found := shape_of(path))}


def shapes_here(run: Config) -> dict[str, Shape]:
    """Return the shapes of the run's models whose files are on this machine, by their paths."""
    return shapes(p for name in run.models if (p := path_of(run, name)) and Path(p).exists())
