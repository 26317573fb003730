"""Exact MaxSim on a GPU against torch there: in alternation in one process, beside the card's own ceilings.

python benchmarks/maxsim_gpu.py --minutes 8     # cells in order of importance; stops when the time is up

Writes maxsim_gpu.json beside this file after every cell. Passages all have TOKENS tokens, which is what torch's way (a matrix
of scores in chunks of passages, reshaped, largest, sum, topk) is fastest at; it rounds as it likes, ours is exact. `make
gpu-check` runs it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from topk_gpu import REPEATS, card, ceilings, milliseconds

from jmlr.topk.cuda_maxsim import CudaMaxSimIndex

HERE = Path(__file__).resolve().parent
DIM, TOKENS, QUERY_TOKENS, K = 128, 80, 32, 100
SIZES, BATCHES = (100_000, 500_000), (1, 16, 128)
STORAGES = ("bfloat16", "int8", "float32")
MATRIX_BYTES = 4 << 30  # of a score matrix that torch makes at a time
Search = Callable[[torch.Tensor], Any]


def random_tokens(count: int, seed: int) -> torch.Tensor:
    """Return Gaussian float32 [count, DIM], scaled to length one, made in place by pieces."""
    torch.manual_seed(seed)
    made = torch.empty((count, DIM), device="cuda")
    for part in made.split(1 << 20):
        part.normal_()
        part /= part.norm(dim=1, keepdim=True)
    return made


def torch_search(tokens: torch.Tensor) -> Search:
    """Return MaxSim by matmul, amax, sum and topk, for as many passages at a time as keep the matrix within bounds."""

    def search(queries: torch.Tensor) -> Any:
        flat = queries.to(tokens.dtype).reshape(-1, DIM)
        step = max(1, MATRIX_BYTES // (len(flat) * TOKENS * tokens.element_size()))
        parts = []
        for part in tokens.split(step * TOKENS):
            largest = (flat @ part.T).reshape(len(flat), -1, TOKENS).amax(2)
            parts.append(largest.float().reshape(len(queries), QUERY_TOKENS, -1).sum(1))
        return torch.topk(torch.cat(parts, 1), K)

    return search


def times_of(passages: int, queries: torch.Tensor, until: float) -> dict[str, Any]:
    """Return {"B": {contestant: median ms, and for ours the queries without a certificate}}, in alternation."""
    tokens = random_tokens(passages * TOKENS, 2)
    offsets = np.arange(passages + 1) * TOKENS
    runs: dict[str, Search] = {"torch float32": torch_search(tokens), "torch bfloat16": torch_search(tokens.bfloat16())}
    indexes = {f"jmlr {storage}": CudaMaxSimIndex.build(tokens, offsets, storage) for storage in STORAGES}
    for name, index in indexes.items():
        runs[name] = partial(index.search, k=K)
    table: dict[str, Any] = {}
    for batch in BATCHES:
        if time.monotonic() > until:
            break
        spent: dict[str, list[float]] = {name: [] for name in runs}
        uncertified = dict.fromkeys(indexes, 0)
        for turn in range(REPEATS + 2):  # the first two warm up
            for name, search in runs.items():
                taken = milliseconds(partial(search, queries[turn * batch : (turn + 1) * batch]))
                if name in indexes:
                    uncertified[name] += indexes[name].last_exact
                if turn >= 2:
                    spent[name].append(taken)
        row: dict[str, Any] = {name: round(statistics.median(values), 4) for name, values in spent.items()}
        table[f"B={batch}"] = row | {"without certificate": uncertified}
        print(f"N={passages} B={batch}", table[f"B={batch}"], flush=True)
    return table


def main() -> None:
    """Measure what the time allows and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--passages", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: PyTorch sees no CUDA device")
        return
    until = time.monotonic() + options.minutes * 60
    result: dict[str, Any] = {"device": card(), "torch": torch.__version__, "cuda": torch.version.cuda}
    result |= {"dim": DIM, "tokens": TOKENS, "query_tokens": QUERY_TOKENS, "k": K, "repeats": REPEATS}
    result |= {"ceilings": ceilings(), "milliseconds": {}}
    count = max(BATCHES) * (REPEATS + 2)
    queries = random_tokens(count * QUERY_TOKENS, 1).reshape(count, QUERY_TOKENS, DIM)
    for passages in options.passages:
        try:
            result["milliseconds"][f"N={passages}"] = times_of(passages, queries, until)
        except torch.OutOfMemoryError as error:
            result["milliseconds"][f"N={passages}"] = {"left out": str(error).splitlines()[0]}
        torch.cuda.empty_cache()
        (HERE / "maxsim_gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
