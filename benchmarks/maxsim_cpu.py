"""Exact MaxSim top-k against torch on the CPU: in alternation in one process.

python benchmarks/maxsim_cpu.py     # some minutes

Writes maxsim_cpu.json beside this file, then the table of docs/topk.md. Passages have 60 to 140 tokens; tokens are Gaussian, scaled
to length one: the hardest case for the bounds, since the scores of all passages lie close together. Ours is exact; torch rounds as it
likes. torch takes a chunk of passages at a time (the whole score matrix would fit neither cache nor memory), padded to the longest of
the chunk; they are sorted by length, so that next to nothing is padding. "einsum" is the usual way to write it, "matmul" the fastest found.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jmlr.topk import MaxSimIndex, kernel_names

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "topk.md"
STORAGES = ("float32", "bfloat16", "int8")
PASSAGES, LENGTHS, DIM, QUERY_TOKENS, K, BATCHES, REPEATS = 20_000, (60, 140), 128, 32, 100, (1, 8), 7
CHUNK = 200  # passages that torch multiplies at a time: no slower than 50 and 500


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return Gaussian vectors scaled to length one."""
    x = rng.standard_normal(shape, dtype=np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def padded_chunks(x: torch.Tensor, offsets: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return (tokens [n, L, D], padding [n, L], passages [n]) for chunks of passages of nearly one length."""
    order = np.argsort(np.diff(offsets), kind="stable")
    chunks = []
    for at in range(0, len(order), CHUNK):
        taken = order[at : at + CHUNK]
        rows = [x[offsets[p] : offsets[p + 1]] for p in taken]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(r) for r in rows])
        chunks.append((tokens, torch.arange(tokens.shape[1]) >= lengths[:, None], torch.from_numpy(taken)))
    return chunks


def torch_einsum(chunks: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], q: torch.Tensor) -> object:
    """Return the k best by einsum and amax over padded chunks."""
    scores = torch.empty(len(q), PASSAGES)
    for tokens, padding, passages in chunks:
        dots = torch.einsum("btd,nld->bntl", q, tokens)
        dots.masked_fill_(padding[:, None, :], -torch.inf)
        scores[:, passages] = dots.amax(-1).float().sum(-1)
    return torch.topk(scores, K)


def torch_matmul(chunks: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], q: torch.Tensor) -> object:
    """Return the k best by one matrix product for a chunk and amax over its rows."""
    scores = torch.empty(len(q), PASSAGES)
    flat = q.reshape(-1, q.shape[2])
    for tokens, padding, passages in chunks:
        dots = (tokens.reshape(-1, tokens.shape[2]) @ flat.T).reshape(*padding.shape, -1)
        dots.masked_fill_(padding[:, :, None], -torch.inf)
        scores[:, passages] = dots.amax(1).reshape(len(tokens), len(q), -1).float().sum(-1).T
    return torch.topk(scores, K)


def contestants(x: np.ndarray, offsets: np.ndarray) -> dict[str, Callable[[np.ndarray], object]]:
    """Return what is timed, by name; each takes queries [B, T, D]."""
    whole = torch.from_numpy(x)
    runs: dict[str, Callable[[np.ndarray], object]] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        chunks = padded_chunks(whole.to(dtype), offsets)
        for way, best in (("einsum", torch_einsum), ("matmul", torch_matmul)):
            runs[f"torch {way} {name}"] = lambda q, c=chunks, d=dtype, f=best: f(c, torch.from_numpy(q).to(d))
    for storage in STORAGES:
        index = MaxSimIndex.build(x, offsets, storage)
        runs[f"jmlr {storage}"] = lambda q, index=index: index.search(q, K)
        COUNTS[f"jmlr {storage}"] = index
    return runs


COUNTS: dict[str, MaxSimIndex] = {}  # whose `last_counts` are reported


def measure(runs: dict[str, Callable[[np.ndarray], object]], q: np.ndarray) -> dict[str, Any]:
    """Return the median milliseconds of every contestant, and for each query how many passages the certificate costs."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run(q)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    counts = {name: [count / len(q) for count in index.last_counts] for name, index in COUNTS.items()}
    median_ms = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
    return {"batch": len(q), "repeats": REPEATS, "median_ms": median_ms, "nominated_and_rescored": counts}


def text(result: dict[str, Any]) -> str:
    """Return the figures as the page shows them."""
    names = list(result["cells"][0]["median_ms"])
    first, last = result["load_before_after"]
    lines = [
        f"{result['threads']} threads, load average {first:.1f} to {last:.1f} (ours included), kernels "
        f"{', '.join(sorted(set(result['kernels'].values())))}; N = {PASSAGES:,} passages of {LENGTHS[0]} to {LENGTHS[1]} tokens "
        f"(M = {result['tokens']:,}), D = {DIM}, T = {QUERY_TOKENS}, k = {K}; medians of {REPEATS} in alternation, in milliseconds:",
        "",
        "| B | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for cell in result["cells"]:
        lines.append(f"| {cell['batch']} | " + " | ".join(f"{cell['median_ms'][n]:.0f}" for n in names) + " |")
    lines += ["", "| passages of each query | nominated by the scan | scored exactly |", "|---|---|---|"]
    for name, (nominated, rescored) in result["cells"][-1]["nominated_and_rescored"].items():
        lines.append(f"| {name}, B = {result['cells'][-1]['batch']} | {nominated:,.0f} | {rescored:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the figures, and put them into the page."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    before = os.getloadavg()[0]
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(LENGTHS[0], LENGTHS[1] + 1, PASSAGES))])
    runs = contestants(unit(rng, int(offsets[-1]), DIM), offsets)
    result: dict[str, Any] = {"threads": threads, "kernels": kernel_names(), "tokens": int(offsets[-1])}
    result |= {"versions": {"torch": torch.__version__, "numpy": np.__version__}, "cells": []}
    for batch in BATCHES:
        result["cells"].append(measure(runs, unit(rng, batch, QUERY_TOKENS, DIM)))
        print(
            f"B {batch}: " + ", ".join(f"{n} {v:.0f} ms" for n, v in result["cells"][-1]["median_ms"].items()),
            flush=True,
        )
    result["load_before_after"] = [before, os.getloadavg()[0]]
    (HERE / "maxsim_cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    head, _, rest = PAGE.read_text().partition("<!-- maxsim_cpu begin -->")
    tail = rest.partition("<!-- maxsim_cpu end -->")[2]
    PAGE.write_text(f"{head}<!-- maxsim_cpu begin -->\n{text(result)}\n<!-- maxsim_cpu end -->{tail}")


if __name__ == "__main__":
    main()
