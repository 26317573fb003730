"""Exact top-k against its competitors on the CPU, in alternation in one process.

Writes topk_cpu.json beside this file, and the table in docs/topk.md.

python benchmarks/topk_cpu.py [--quick]        # --quick: D = 768, k = 100, fewer queries and rows
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch

from jmlr.topk import Index, kernel_names

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "topk.md"
STORAGES = ("float32", "bfloat16", "int8")


def contestants(x: np.ndarray, k: int) -> dict[str, Callable[[np.ndarray], object]]:
    """Return what is timed, by name; each takes queries [B, D]."""
    flat = faiss.IndexFlatIP(x.shape[1])
    flat.add(x)
    tensors = {"float32": torch.from_numpy(x), "bfloat16": torch.from_numpy(x).bfloat16()}
    runs: dict[str, Callable[[np.ndarray], object]] = {"faiss": lambda q: flat.search(q, k)}
    for name, tensor in tensors.items():
        runs[f"torch {name}"] = lambda q, t=tensor: torch.topk(torch.from_numpy(q).to(t.dtype) @ t.T, k)
    runs["numpy"] = lambda q: np.argpartition(q @ x.T, -k, axis=1)[:, -k:]
    for storage in STORAGES:
        index = Index.build(x, storage)
        runs[f"jmlr {storage}"] = lambda q, index=index: index.search(q, k)
    return runs


def measure(rows: int, dim: int, batch: int, k: int, repeats: int, rng: np.random.Generator) -> dict[str, object]:
    """Return the median milliseconds of every contestant on one shape."""
    x, q = (unit(rng.standard_normal((n, dim), dtype=np.float32)) for n in (rows, batch))
    runs = contestants(x, k)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):  # the first warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run(q)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    median_ms = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
    return {"rows": rows, "dim": dim, "batch": batch, "k": k, "repeats": repeats, "median_ms": median_ms}


def unit(x: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length one."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def table(result: dict) -> str:
    """Return the Markdown between the page's markers: how many times faster than FAISS each contestant is."""
    names = [name for name in result["cells"][0]["median_ms"] if name != "faiss"]
    lines = ["| N | D | B | k | FAISS, ms | " + " | ".join(names) + " |", "|---" * (5 + len(names)) + "|"]
    for cell in result["cells"]:
        times = cell["median_ms"]
        ratios = " | ".join(f"{times['faiss'] / times[name]:.2f}" for name in names)
        shape = f"{cell['rows']} | {cell['dim']} | {cell['batch']} | {cell['k']}"
        lines.append(f"| {shape} | {times['faiss']:.1f} | {ratios} |")
    load = " to ".join(f"{value:.1f}" for value in result["load_before_after"])
    note = f"Times faster than FAISS; {result['threads']} threads, load average {load}. torch, NumPy: inexact."
    return note + "\n\n" + "\n".join(lines)


def main() -> None:
    """Measure, write the figures, and put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    threads = len(os.sched_getaffinity(0))
    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    rows = 50_000 if quick else 200_000
    dims, ks = ((768,), (100,)) if quick else ((128, 384, 768, 1024), (10, 100, 1000))
    batches = (1, 8, 64, 512) if quick else (1, 8, 64, 512, 2048)
    rng = np.random.default_rng(0)
    before = os.getloadavg()[0]
    cells = [measure(rows, dim, batch, k, 7, rng) for dim in dims for batch in batches for k in ks]
    result = {"quick": quick, "machine": platform.machine(), "kernels": kernel_names(), "threads": threads}
    result |= {
        "faiss": faiss.__version__,
        "torch": torch.__version__,
        "load_before_after": [before, os.getloadavg()[0]],
    }
    result["cells"] = cells
    (HERE / "topk_cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    head, _, rest = PAGE.read_text().partition("<!-- topk_cpu begin -->")
    tail = rest.partition("<!-- topk_cpu end -->")[2]
    PAGE.write_text(f"{head}<!-- topk_cpu begin -->\n{table(result)}\n<!-- topk_cpu end -->{tail}")
    print(table(result))


if __name__ == "__main__":
    main()
