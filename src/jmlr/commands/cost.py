"""What a run will cost on this machine: minutes, memory and disk, from operations and a short measurement of its speed.

An estimate for people who ask whether to wait for coffee or for a week: right within a factor of two or three. For clusters, with
rates that say where they come from, there is `jmlr plan`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jmlr.commands.plan import costs, total
from jmlr.commands.sizes import Sizes, path_of, shape, shapes
from jmlr.config import Config
from jmlr.models.flops import Shape
from jmlr.runtime.counting import count_of
from jmlr.runtime.duration import duration
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.training.budget import forward_tokens

START_S = 6.0  # of a job: Python, libraries, a model
SHARES = {
    "encode": 0.4,
    "read": 0.3,
    "train": 0.3,
}  # of the speed of large products (docs/llm_rank.md measured 0.31 to 0.55)
ACTIVATION = 32  # bytes for each token, layer and unit of width in a forward pass that is kept for the backward one
TOKENS_A_WORD, SAMPLE = 1.4, 2000
BASE_BYTES = 8e8  # the process itself


def said_cost(run: Config, prepared: Path) -> Iterator[str]:
    """Yield what the run costs here, in a line or two.

    Args:
        run: the run
        prepared: its tables, as `prepare` made them
    """
    device, speed = _speed(run.train.train_precision)
    known: dict[str, Any] = {"everywhere": {}, "devices": {"here": _rates(speed)}}
    asked = pq.read_table(prepared / "questions.parquet", columns=["split", "options"]).to_pylist()
    tested = sum(q["split"] in run.answer.splits for q in asked)
    passages = pq.read_metadata(prepared / "passages.parquet").num_rows
    options = max((len(q["options"]) for q in asked), default=0)
    sizes = Sizes(passages, len(asked), tested, max(1, options), _fill(run, prepared), 1, 0)
    try:
        known["models"] = shapes(path_of(run, name) for name in run.models)
        lines, memory = costs(run, sizes, known, "here"), _memory(run, known, device)
    except UserError as error:
        yield f"cost       not told: {error}"
        return
    whole = total(lines)
    most = max(lines, key=lambda line: line.hours)
    cores = os.cpu_count() or 1
    seconds = 3600 * whole.hours + START_S * whole.jobs / cores
    yield (
        f"cost       about {duration(seconds)} on this machine ({device}), most of it {most.stage}: {count_of(whole.jobs, 'job')}, "
        f"{memory:.1f} GB of memory, {max(0.1, whole.bytes / 1e9):.1f} GB of disk"
    )


def _fill(run: Config, prepared: Path) -> float:
    """Return the share of the limit of tokens that a passage fills, as far as its words tell."""
    texts = pq.read_table(prepared / "passages.parquet", columns=["text"])["text"][:SAMPLE].to_pylist()
    words = sum(len(text.split()) for text in texts) / max(1, len(texts))
    return min(1.0, TOKENS_A_WORD * words / run.reading.llm_passage_tokens)


def _speed(precision: Precision) -> tuple[str, float]:
    """Return the device, and its operations a second in a large product of matrices."""
    import torch

    from jmlr.runtime.devices import device, has_bf16

    where = device()
    kind = torch.bfloat16 if precision == "bfloat16" and has_bf16(where) else torch.float32
    a = torch.randn(1024, 1024, device=where).to(kind)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - began)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"{os.cpu_count()} cores, no GPU"
    return name, 2 * 1024**3 / best


def _rates(speed: float) -> dict[str, dict[str, float]]:
    rates = {f"{what}_flops": share * speed for what, share in SHARES.items()}
    kinds = ("float32", "bfloat16", "int8")
    rates |= {f"{what}_{kind}_ops": 0.2 * speed for what in ("search", "maxsim") for kind in kinds}
    rates |= {
        "start_s": 0.0,
        "disk_bytes_per_s": 5e8,
        "several_gpus": 1.0,
        "several_nodes": 1.0,
        "weight_bytes_per_s": 1e10,
    }
    return {name: {"value": value} for name, value in rates.items()}


def _memory(run: Config, known: Mapping[str, Any], device: str) -> float:
    """Return the GB that the largest training takes."""
    most = 0.0
    tokens = forward_tokens(run.train, "cpu" if "no GPU" in device else "cuda")
    for name, system in run.systems.items():
        if system.llm in run.models:
            llm = shape(run, system.llm, dict(known))
            each = {"float32": 4, "bfloat16": 2, "4bit": 0.6}[run.reading_options(name).llm_precision]
            held = each * (llm.body + llm.head) + ACTIVATION * tokens * llm.layers * llm.width
            held += 16.0 * _trained(shape(run, system.retriever, dict(known))) if run.train_options(name).joint else 0.0
            most = max(most, held)
    return (BASE_BYTES + most) / 1e9


def _trained(retriever: Shape) -> int:
    return retriever.body + retriever.head
