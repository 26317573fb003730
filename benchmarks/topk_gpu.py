"""Exact top-k on a GPU against its competitors there: in alternation in one process, beside the card's own ceilings.

python benchmarks/topk_gpu.py --minutes 20     # cells in order of importance; stops when the time is up

Writes topk_gpu.json beside this file after every cell: device, driver, clocks, copy bandwidth, bfloat16 GEMM rate, and for
each cell the median milliseconds of every contestant. Ours is exact; torch rounds as it likes (its score matrix in chunks of
queries, where it would not fit), so do cuVS and FAISS, which take part where they can be imported. `make gpu-check` runs it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from jmlr.topk.cuda import CudaIndex

HERE = Path(__file__).resolve().parent
DIM, REPEATS = 768, 7
SIZES, BATCHES, KS = (1_000_000, 10_000_000), (8, 512, 1, 4096, 64), (100, 10, 1000)
STORAGES = ("bfloat16", "int8", "float32")
MATRIX_BYTES = 4 << 30  # of a score matrix that torch makes at a time
Search = Callable[[torch.Tensor, int], Any]


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes on the device."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def median(run: Callable[[], object]) -> float:
    """Return the median of REPEATS runs after two to warm up."""
    for _ in range(2):
        run()
    return statistics.median(milliseconds(run) for _ in range(REPEATS))


def ceilings() -> dict[str, float]:
    """Measure bytes per second of a copy (read and written), and operations per second of a bfloat16 GEMM."""
    source = torch.randint(0, 255, (2 << 30,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * source.numel() / median(lambda: target.copy_(source)) * 1e3
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return {"copy_bytes_per_s": copied, "gemm_bfloat16_ops_per_s": 2 * 8192**3 / median(lambda: a @ b) * 1e3}


def torch_search(vectors: torch.Tensor) -> Search:
    """Return matmul and topk, for as many queries at a time as keep the score matrix within bounds."""
    step = max(1, MATRIX_BYTES // (len(vectors) * vectors.element_size()))

    def search(queries: torch.Tensor, k: int) -> list[Any]:
        parts = queries.to(vectors.dtype).split(step)
        return [torch.topk(part @ vectors.T, k) for part in parts]

    return search


def others(vectors: torch.Tensor) -> dict[str, Search]:
    """Return what cuVS and FAISS offer here; nothing where they are not installed."""
    found: dict[str, Search] = {}
    if importlib.util.find_spec("cuvs"):
        from cuvs.neighbors import brute_force

        index = brute_force.build(vectors, metric="inner_product")
        found["cuvs float32"] = lambda q, k: brute_force.search(index, q, k)
    if importlib.util.find_spec("faiss"):
        import faiss

        if hasattr(faiss, "StandardGpuResources"):
            flat = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), DIM)
            flat.add(vectors.cpu().numpy())
            found["faiss float32"] = lambda q, k: flat.search(q.cpu().numpy(), k)
    return found


def random_rows(rows: int, seed: int) -> torch.Tensor:
    """Return Gaussian float32 [rows, DIM], scaled to length one, made in place by pieces."""
    torch.manual_seed(seed)
    made = torch.empty((rows, DIM), device="cuda")
    for part in made.split(1 << 20):
        part.normal_()
        part /= part.norm(dim=1, keepdim=True)
    return made


def contestants(x: torch.Tensor) -> Iterator[tuple[str, Search]]:
    """Yield (name, search) one after the other, so that not all their memory is needed at once."""
    for storage in STORAGES:
        yield f"jmlr {storage}", CudaIndex.build(x, storage, copy=False).search
    yield "torch float32", torch_search(x)
    yield "torch bfloat16", torch_search(x.bfloat16())
    yield from others(x).items()


def times_of(x: torch.Tensor, queries: torch.Tensor, cells: list[tuple[int, int]], until: float) -> dict[str, Any]:
    """Return {"B k": {contestant: median ms}}; contestants that fit memory together run in alternation."""
    runs: dict[str, Search] = {}
    failed: dict[str, str] = {}
    made = contestants(x)
    while True:
        try:
            name, search = next(made)
        except StopIteration:
            break
        except torch.OutOfMemoryError:
            failed["memory"] = "the contestants after those listed did not fit"
            break
        runs[name] = search
    table: dict[str, Any] = {"left out": failed}
    for batch, k in cells:
        if time.monotonic() > until:
            break
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(REPEATS + 2):  # the first two warm up
            q = queries[turn * batch : (turn + 1) * batch]
            for name, search in runs.items():
                taken = milliseconds(partial(search, q, k))
                if turn >= 2:
                    spent[name].append(taken)
        table[f"B={batch} k={k}"] = {name: round(statistics.median(values), 4) for name, values in spent.items()}
        print(f"N={len(x)} B={batch} k={k}", table[f"B={batch} k={k}"], flush=True)
    return table


def card() -> dict[str, str]:
    """Return the device's name, driver and clocks as nvidia-smi gives them."""
    names = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "memory.total")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        values = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError):
        return {"name": torch.cuda.get_device_name()}
    return dict(zip(names, values, strict=True))


def main() -> None:
    """Measure what the time allows and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: PyTorch sees no CUDA device")
        return
    until = time.monotonic() + options.minutes * 60
    result: dict[str, Any] = {"device": card(), "torch": torch.__version__, "cuda": torch.version.cuda}
    result |= {"dim": DIM, "repeats": REPEATS, "ceilings": ceilings(), "milliseconds": {}}
    queries = random_rows(max(BATCHES) * (REPEATS + 2), 1)
    cells = [(batch, k) for k in KS for batch in BATCHES]
    for rows in options.rows:
        try:
            x = random_rows(rows, 2)
            result["milliseconds"][f"N={rows}"] = times_of(x, queries, cells, until)
        except torch.OutOfMemoryError as error:
            result["milliseconds"][f"N={rows}"] = {"left out": str(error).splitlines()[0]}
        x = None
        torch.cuda.empty_cache()
        (HERE / "topk_gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["ceilings"]))


if __name__ == "__main__":
    main()
