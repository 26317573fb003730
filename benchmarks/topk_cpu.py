"""Exact top-k against its competitors on the CPU: in alternation in one process, beside the machine's own ceilings.

python benchmarks/topk_cpu.py --minutes 60     # cells in order of importance; stops when the time is up

Writes a file for this processor beside this one after every cell (topk_cpu.json is the first machine's), then the tables of
all processors and the pictures of docs/topk.md. FAISS, USearch (over NumKong) and ours are exact; torch, NumPy and NumKong alone round
as they like. FAISS' wheel brings an OpenBLAS of 2021, which takes younger processors for a Prescott; it is told better here
(findings/faiss_openblas.sh).
Queries and rows are Gaussian, scaled to length one. If results/openstax/ holds
the vectors of `make real`, the share of rows that the certificate costs on them is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numkong
import numpy as np
import torch
from threadpoolctl import threadpool_info
from usearch.index import MetricKind
from usearch.index import search as usearch

from jmlr.runtime.files import fresh_file
from jmlr.topk import Index, kernel_names

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "topk.md"
STORAGES = ("float32", "bfloat16", "int8")
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
ROWS, REPEATS = 200_000, 7
USEARCH_BATCH = 64  # its exact search takes minutes for more
PAUSE_S = 0.1  # before each run: the threads of the last contestant spin for a while before they sleep
DIMS, BATCHES, KS = (768, 384, 1024, 128), (1, 8, 64, 512, 2048), (100, 10, 1000)
GOALS = {"float32": (1.7, 4, 11, 1.8, 2), "best": (6, 14, 30, 6, 6)}  # times faster than FAISS, at D = 768, k = 100


def tell_openblas() -> list[str]:
    """Start over with better kernels if an OpenBLAS did not know this processor; return what all of them chose."""
    chosen = sorted(i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas")
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if "Prescott" in chosen and "avx2" in flags and "OPENBLAS_CORETYPE" not in os.environ:
        os.environ["OPENBLAS_CORETYPE"] = "SKYLAKEX" if "avx512f" in flags else "HASWELL"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    return chosen


def ceilings(threads: int) -> dict[str, float | None]:
    """Build and run csrc/bench.cpp: bytes and operations per second that this machine can reach."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["-DJMLR_PYTHON=OFF", "-DJMLR_BENCH=ON"]
        for command in (
            ["cmake", "-S", ROOT, "-B", folder, *options],
            ["cmake", "--build", folder, "--target", "bench_ceilings"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        done = subprocess.run([f"{folder}/bench_ceilings", str(threads)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def numkong_topk(q: np.ndarray, packed: Any, rows: int, k: int, threads: int) -> object:
    """Return the k best by NumKong's bfloat16 products (SimSIMD's successor), the queries shared out to threads."""
    narrow = numkong.astype(numkong.Tensor(q), "bf16")
    scores = numkong.zeros((len(q), rows), dtype="f32")
    step = -(-len(q) // threads)
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(q), step)
        list(
            pool.map(
                lambda at: numkong.dots_packed(
                    narrow, packed, out=scores, start_row=at, end_row=min(at + step, len(q))
                ),
                starts,
            )
        )
    return torch.topk(torch.from_numpy(np.asarray(scores)), k)


def contestants(x: np.ndarray, batch: int, k: int) -> dict[str, Callable[[np.ndarray], object]]:
    """Return what is timed, by name; each takes queries [B, D]."""
    threads = len(os.sched_getaffinity(0))
    flat = faiss.IndexFlatIP(x.shape[1])
    flat.add(x)
    tensors = {"float32": torch.from_numpy(x), "bfloat16": torch.from_numpy(x).bfloat16()}
    runs: dict[str, Callable[[np.ndarray], object]] = {"faiss": lambda q: flat.search(q, k)}
    for name, tensor in tensors.items():
        runs[f"torch {name}"] = lambda q, t=tensor: torch.topk(torch.from_numpy(q).to(t.dtype) @ t.T, k)
    runs["numpy"] = lambda q: np.argpartition(q @ x.T, -k, axis=1)[:, -k:]
    packed = numkong.dots_pack(numkong.astype(numkong.Tensor(x), "bf16"), dtype="bf16")
    runs["numkong bfloat16"] = lambda q: numkong_topk(q, packed, len(x), k, threads)
    if batch <= USEARCH_BATCH:
        runs["usearch"] = lambda q: usearch(x, q, k, MetricKind.IP, exact=True, threads=threads)
    for storage in STORAGES:
        index = Index.build(x, storage)
        runs[f"jmlr {storage}"] = lambda q, index=index: index.search(q, k)
    return runs


def measure(x: np.ndarray, batch: int, k: int, repeats: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the median milliseconds of every contestant on one shape."""
    q = unit(rng.standard_normal((batch, x.shape[1]), dtype=np.float32))
    runs = contestants(x, batch, k)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):  # the first warms up
        for name, run in runs.items():
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            run(q)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    median_ms = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
    return {"rows": len(x), "dim": x.shape[1], "batch": batch, "k": k, "repeats": repeats, "median_ms": median_ms}


def unit(x: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length one."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def shapes() -> Iterator[tuple[int, int, int]]:
    """Yield (D, B, k), those of the goals first, then the small ones."""
    grid = [(dim, batch, k) for dim in DIMS for batch in BATCHES for k in KS]
    yield from sorted(grid, key=lambda s: (s[0] != 768 or s[2] != 100, s[1] >= 512, s[1]))


def ceiling_share(cell: dict[str, Any], storage: str, limits: dict[str, float | None]) -> tuple[float, str] | None:
    """Return the share of the binding ceiling that a storage reaches, and which one binds."""
    seconds = cell["median_ms"][f"jmlr {storage}"] / 1e3
    products = cell["rows"] * cell["dim"]
    read, rate = limits["read_bytes_per_s"], limits[f"{storage}_ops_per_s"]
    if not read or not rate:
        return None
    memory, arithmetic = products * BYTES[storage] / read, 2 * products * cell["batch"] / rate
    return max(memory, arithmetic) / seconds, "memory" if memory > arithmetic else "arithmetic"


def certificate() -> list[dict[str, Any]]:
    """Measure, on real embeddings if they are there and on Gaussian ones, how many rows each query has scored exactly."""
    rng = np.random.default_rng(1)
    sets = {
        "Gaussian 13,061 x 384": tuple(unit(rng.standard_normal((n, 384), dtype=np.float32)) for n in (13_061, 500))
    }
    found = sorted((ROOT / "results/openstax/minilm/r0/encode").glob("passages-*/vectors.npy"))
    if found:
        x = np.concatenate([np.load(f) for f in found])
        sets[f"OpenStax by MiniLM {len(x):,} x {x.shape[1]}"] = (
            x,
            np.load(found[0].parents[1] / "questions/vectors.npy")[:500],
        )
    rows = []
    for name, (x, q) in sets.items():
        for storage in STORAGES:
            index = Index.build(x, storage)
            for k in (10, 100):
                for batch in (1, 500):
                    counts = [0, 0]
                    for at in range(0, len(q), batch):
                        index.search(q[at : at + batch], k)
                        counts = [a + b for a, b in zip(counts, index.last_counts, strict=True)]
                    nominated, rescored = (c / len(q) for c in counts)
                    rows.append(
                        {
                            "vectors": name,
                            "storage": storage,
                            "k": k,
                            "batch": batch,
                            "nominated": nominated,
                            "rescored": rescored,
                        }
                    )
    return rows


def goals_table(result: dict[str, Any]) -> list[str]:
    """Return the goals beside what was reached."""
    cells = {c["batch"]: c for c in result["cells"] if (c["dim"], c["k"]) == (768, 100)}
    lines = ["| times faster than FAISS, exact | " + " | ".join(f"B = {b}" for b in BATCHES) + " |", "|---" * 6 + "|"]
    ratios = {b: {s: c["median_ms"]["faiss"] / c["median_ms"][f"jmlr {s}"] for s in STORAGES} for b, c in cells.items()}
    for label, pick in (("float32", lambda r: r["float32"]), ("best", lambda r: max(r.values()))):
        reached = [
            f"**{pick(ratios[b]):.1f}** (goal {g})" if b in ratios else "-"
            for b, g in zip(BATCHES, GOALS[label], strict=True)
        ]
        lines.append(f"| {label} storage | " + " | ".join(reached) + " |")
    for storage in STORAGES if any(result["ceilings"].values()) else ():
        shares = [ceiling_share(cells[b], storage, result["ceilings"]) if b in cells else None for b in BATCHES]
        lines.append(
            f"| {storage}: share of the ceiling | "
            + " | ".join(f"{s[0]:.0%} of {s[1]}" if s else "-" for s in shares)
            + " |"
        )
    return lines


def grid_table(result: dict[str, Any]) -> list[str]:
    """Return how many times faster than FAISS each contestant is, on every shape measured."""
    names = list(dict.fromkeys(n for cell in result["cells"] for n in cell["median_ms"] if n != "faiss"))
    lines = ["| D | B | k | FAISS, ms | " + " | ".join(names) + " |", "|---" * (4 + len(names)) + "|"]
    for cell in sorted(result["cells"], key=lambda c: (c["dim"], c["batch"], c["k"])):
        times = cell["median_ms"]
        ratios = " | ".join(f"{times['faiss'] / times[name]:.2f}" if name in times else "-" for name in names)
        lines.append(f"| {cell['dim']} | {cell['batch']} | {cell['k']} | {times['faiss']:.1f} | {ratios} |")
    return lines


def text(result: dict[str, Any], picture: str) -> str:
    """Return what the page says of one processor."""
    limits = ", ".join(
        f"{name.removesuffix('_per_s').replace('_', ' ')} {value / 1e9:.0f} G/s"
        for name, value in result["ceilings"].items()
        if value
    )
    blas = f" OpenBLAS of FAISS and NumPy: {', '.join(result['openblas'])}." if "openblas" in result else ""
    tiles = "; tiles pass them" if "avx512amx" in result["kernels"] else ""
    load = " to ".join(f"{value:.1f}" for value in result["load_before_after"])
    after = ", ".join(map(str, result.get("measured_after", [])))
    later = (
        f" B = {after} was measured after the others, in a run of its own; shares are of the first run's ceilings, "
        "and memory may have been faster then."
        if after
        else ""
    )
    lines = [
        f"{result['processor']}, {result['threads']} threads, load average {load} (ours included); medians of {result['cells'][0]['repeats']} in alternation; "
        f"N = {ROWS:,}.{blas}" + (f" Ceilings of its vector units, measured beside it: {limits}{tiles}." if limits else "") + later,
        *(["", result["remark"]] if "remark" in result else []),
        "", *goals_table(result), "", f"![Times faster than FAISS by batch size]({picture})", "",
        f"{len(result['cells'])} of {len(DIMS) * len(BATCHES) * len(KS)} shapes; times faster than FAISS (inexact: torch, NumPy, NumKong):",
        "", *grid_table(result), "",
        "Rows scored exactly for each query, the price of the certificate:", "",
        "| vectors | storage | k | one query at a time | 500 at once |", "|---|---|---|---|---|",
    ]  # fmt: skip
    rows = result["certificate"]
    for one, many in zip(rows[::2], rows[1::2], strict=True):
        lines.append(
            f"| {one['vectors']} | {one['storage']} | {one['k']} | {one['rescored']:.0f} | {many['rescored']:.0f} |"
        )
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw times faster than FAISS over the batch size, a panel for each D, k = 100."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    dims = sorted({c["dim"] for c in result["cells"] if c["k"] == 100})
    with rc_context({"svg.hashsalt": "jmlr", "font.size": 9}):
        figure = Figure(figsize=(2.9 * len(dims) + 1, 3), layout="constrained")
        for axes, dim in zip(figure.subplots(1, len(dims), sharey=True, squeeze=False)[0], dims, strict=True):
            cells = sorted((c for c in result["cells"] if (c["dim"], c["k"]) == (dim, 100)), key=lambda c: c["batch"])
            for name in dict.fromkeys(n for c in cells for n in c["median_ms"]):
                timed = [c for c in cells if name in c["median_ms"]]
                ratios = [c["median_ms"]["faiss"] / c["median_ms"][name] for c in timed]
                axes.plot(
                    [c["batch"] for c in timed],
                    ratios,
                    "o-" if name.startswith("jmlr") else "--",
                    label=name,
                    markersize=3,
                )
            axes.set(xscale="log", yscale="log", title=f"D = {dim}, k = 100", xlabel="B")
        figure.axes[0].set_ylabel("times faster than FAISS")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, write the figures, and put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long; at least one cell is measured")
    parser.add_argument(
        "--batches",
        type=int,
        nargs="*",
        help="measure these B alone; all else stays as the file of this processor has it",
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="timed runs of each contestant on each shape")
    args = parser.parse_args()
    openblas = tell_openblas()
    path = results_of(processor())
    end = time.monotonic() + 60 * args.minutes
    threads = len(os.sched_getaffinity(0))
    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    before = os.getloadavg()[0]
    versions = {"faiss": faiss.__version__, "torch": torch.__version__, "numpy": np.__version__}
    result: dict[str, Any] = {
        "processor": processor(),
        "kernels": kernel_names(),
        "threads": threads,
        "versions": versions,
        "openblas": openblas,
    }
    if args.batches:
        result = json.loads(path.read_text())
        result["cells"] = [c for c in result["cells"] if c["batch"] not in args.batches]
        result["measured_after"] = args.batches
    else:
        result |= {"ceilings": ceilings(threads), "certificate": certificate(), "cells": []}
    matrices: dict[int, np.ndarray] = {}
    for dim, batch, k in shapes():
        if args.batches and batch not in args.batches:
            continue
        if result["cells"] and time.monotonic() > end:
            break
        if dim not in matrices:
            matrices = {dim: unit(np.random.default_rng(dim).standard_normal((ROWS, dim), dtype=np.float32))}
        result["cells"].append(measure(matrices[dim], batch, k, args.repeats, np.random.default_rng(batch)))
        result["load_before_after"] = [before, os.getloadavg()[0]]
        with fresh_file(path) as file:  # another run may read it meanwhile
            file.write_text(json.dumps(result, indent=1) + "\n")
        times = result["cells"][-1]["median_ms"]
        print(
            f"D {dim} B {batch} k {k}: " + ", ".join(f"{name} {value:.1f}" for name, value in times.items()), flush=True
        )
    write_page(result["processor"])
    print("\n".join(goals_table(result)))


def write_page(measured: str) -> None:
    """Put the figures of all processors into the page, and draw those of the one just measured."""
    head, _, rest = PAGE.read_text().partition("<!-- topk_cpu begin -->")
    tail = rest.partition("<!-- topk_cpu end -->")[2]
    parts = []
    for each in sorted(HERE.glob("topk_cpu*.json"), key=lambda p: (len(p.name), p.name)):
        picture = f"topk{each.stem.removeprefix('topk_cpu')}.svg"
        known = json.loads(each.read_text())
        parts += [f"#### {known['processor']}", "", text(known, picture), ""]
        if known["processor"] == measured:
            plot(known, PAGE.parent / picture)
    PAGE.write_text(f"{head}<!-- topk_cpu begin -->\n" + "\n".join(parts) + f"<!-- topk_cpu end -->{tail}")


def processor() -> str:
    """Return the processor's name, family and model (names alone say little), and instruction set."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        lines = []
    facts = {name.strip(): value.strip() for name, _, value in reversed(lines)}
    numbers = [f"{name} {facts[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in facts]
    return f"{facts.get('model name', 'unknown')} ({', '.join([*numbers, platform.machine()])})"


def results_of(name: str) -> Path:
    """Return the file of a processor's results: the one that names it, or a new one."""
    for path in HERE.glob("topk_cpu*.json"):
        if json.loads(path.read_text())["processor"] == name:
            return path
    return HERE / f"topk_cpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


if __name__ == "__main__":
    main()
