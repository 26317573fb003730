"""Exact top-k where it is easily slow: rows and queries that are hostile to a search, beside ordinary ones of the same size.

python benchmarks/topk_cliffs.py             # some minutes; --only copies --rows 20000 for a look

Each cliff and its ordinary twin are timed in alternation in one process; what counts is how many times longer the cliff
takes. Writes topk_cliffs.json beside this file, then the table of docs/topk.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from topk_cpu import processor

from jmlr.topk import Index, MaxSimIndex, kernel_names

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "topk.md"
STORAGES = ("float32", "bfloat16", "int8")
ROWS, DIM, K, BATCHES, REPEATS = 100_000, 256, 100, (1, 8, 64), 7
MANY = 20_000  # the k of searches for a large part of the rows
QUERY_TOKENS, PASSAGE_TOKENS = 32, 20
Matrix = np.ndarray
RNG = np.random.default_rng(0)


def same(_: Matrix) -> None:
    """Change nothing."""


class Cliff(NamedTuple):
    """What is done to ordinary rows [N, D] and queries [B, D], in place, and what is done to those it is compared with."""

    name: str
    rows: Callable[[Matrix], None]
    queries: Callable[[Matrix], None] = same
    twin: Callable[[Matrix], None] = same
    k: int = K


def raised(places: slice) -> Callable[[Matrix], None]:
    """Return what moves the rows at `places` towards the queries, which share a direction."""

    def lift(x: Matrix) -> None:
        x[places] += 0.5 * AXIS

    return lift


def strewn(x: Matrix) -> None:
    """Move as many rows, drawn by lot."""
    x[np.random.default_rng(1).choice(len(x), 2 * K, replace=False)] += 0.5 * AXIS


def mostly_zero(x: Matrix) -> None:
    """Leave every tenth row."""
    x[np.arange(len(x)) % 10 != 0] = 0


def ascending(x: Matrix) -> None:
    """Store the rows in the order of their scores."""
    x[:] = x[np.argsort(x @ AXIS)]


def descending(x: Matrix) -> None:
    """The other way round."""
    x[:] = x[np.argsort(-(x @ AXIS))]


def copies(share: float, of: int) -> Callable[[Matrix], None]:
    """Return what makes a share of the rows copies of a few, the best."""

    def copy(x: Matrix) -> None:
        best = x[np.argsort(-(x @ AXIS))[:of]]
        places = np.random.default_rng(2).choice(len(x), int(share * len(x)), replace=False)
        x[places] = best[np.arange(len(places)) % of]

    return copy


def setter(place: Any, change: Callable[[Matrix], Any]) -> Callable[[Matrix], None]:
    """Return what puts `change` of the rows at `place` in their place."""

    def put(x: Matrix) -> None:
        with np.errstate(under="ignore"):
            x[place] = change(x[place])

    return put


AXIS = RNG.standard_normal(DIM, dtype=np.float32)
AXIS /= np.linalg.norm(AXIS)
ALL = slice(None)
TINY = np.float32(1e-20)  # its square makes unit rows subnormal
MIDDLE = slice(1234, 1235)
LAST = slice(-1, None)


def sparse_subnormal(x: Matrix) -> None:
    """Make every fourth coordinate subnormal."""
    x[:, ::4] = np.float32(1e-40)


CLIFFS = [
    *(Cliff(f"best rows at every {n}th place", raised(slice(0, 2 * K * n, n)), twin=strewn) for n in (8, 16, 64)),
    Cliff("best rows at the start", raised(slice(0, 2 * K)), twin=strewn),
    Cliff("best rows at the end", raised(slice(-2 * K, None)), twin=strewn),
    Cliff("rows in ascending order of score", ascending),
    Cliff("rows in descending order of score", descending),
    Cliff("all rows equal, k = 20,000", copies(1.0, 1), k=MANY),
    Cliff("all rows equal", copies(1.0, 1)),
    Cliff("60 % of the rows copies of the best", copies(0.6, 1)),
    Cliff("60 % of the rows copies of the 50 best", copies(0.6, 50)),
    Cliff("one zero row", setter(MIDDLE, np.zeros_like)),
    Cliff("90 % zero rows", mostly_zero),
    Cliff("one row of norm 2^100", setter(MIDDLE, lambda r: r * np.float32(2**100))),
    Cliff("one row of norm 2^127", setter(MIDDLE, lambda r: r * np.float32(2**127))),
    Cliff("all rows of norm 2^110", setter(ALL, lambda r: r * np.float32(2**110))),
    Cliff("one query of norm 2^110", same, setter(LAST, lambda r: r * np.float32(2**110))),
    Cliff("one query of zeros", same, setter(LAST, np.zeros_like)),
    Cliff("subnormal rows", setter(ALL, lambda r: r * TINY * TINY)),
    Cliff("half of the rows subnormal", setter(slice(None, None, 2), lambda r: r * TINY * TINY)),
    Cliff("a quarter of the coordinates subnormal", sparse_subnormal),
    Cliff("subnormal queries", same, setter(ALL, lambda r: r * TINY * TINY)),
]  # fmt: skip


def ordinary(rng: np.random.Generator, rows: int) -> Matrix:
    """Return Gaussian rows of length one."""
    x = rng.standard_normal((rows, DIM), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def asked(rng: np.random.Generator, rows: int) -> Matrix:
    """Return queries of length one that lean towards one direction."""
    return (ordinary(rng, rows) + AXIS) / np.float32(2**0.5)


def dense(x: Matrix, storage: str, queries: Matrix, k: int, batch: int) -> Callable[[], object]:
    """Return a search for `batch` queries, the last of all among them."""
    index = Index.build(x, storage)
    return lambda: index.search(queries[-batch:], k)


def maxsim(x: Matrix, storage: str, queries: Matrix, k: int, batch: int) -> Callable[[], object]:
    """The same for passages and queries of some tokens each."""
    index = MaxSimIndex.build(x, np.arange(0, len(x) + 1, PASSAGE_TOKENS), storage)
    tokens = queries[-batch * QUERY_TOKENS :].reshape(batch, QUERY_TOKENS, DIM)
    return lambda: index.search(tokens, min(k, len(x) // PASSAGE_TOKENS // 5))


def times(slow: Callable[[], object], fast: Callable[[], object], repeats: int, cpu: bool) -> tuple[float, float]:
    """Return the median milliseconds of both, run in turn."""
    clock = time.process_time if cpu else time.perf_counter
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):  # the first warms up
        for run, into in zip((slow, fast), taken, strict=True):
            start = clock()
            run()
            if repeat:
                into.append(clock() - start)
    return 1e3 * statistics.median(taken[0]), 1e3 * statistics.median(taken[1])


def measure(cliff: Cliff, rows: int, repeats: int, batches: list[int], cpu: bool) -> list[dict[str, Any]]:
    """Return milliseconds of a cliff and its twin, for each storage and batch."""
    x, q = ordinary(np.random.default_rng(3), rows), asked(np.random.default_rng(4), max(batches) * QUERY_TOKENS)
    twin, twin_q = x.copy(), q.copy()
    cliff.twin(twin)
    cliff.rows(x)
    cliff.queries(q)
    found = []
    ways = [("dense", dense, batch) for batch in batches]
    ways += [("MaxSim", maxsim, 1)] if cliff.k == K else []
    for storage in STORAGES:
        for kind, search, batch in ways:
            cliff_ms, twin_ms = times(
                search(x, storage, q, cliff.k, batch), search(twin, storage, twin_q, cliff.k, batch), repeats, cpu
            )
            found.append(
                {
                    "cliff": cliff.name,
                    "kind": kind,
                    "storage": storage,
                    "batch": batch,
                    "cliff_ms": cliff_ms,
                    "twin_ms": twin_ms,
                }
            )
    return found


def text(result: dict[str, Any]) -> str:
    """Return the table of how many times longer a cliff takes."""
    columns = list(dict.fromkeys((c["kind"], c["batch"]) for c in result["cells"]))
    load = " to ".join(f"{value:.1f}" for value in result["load_before_after"])
    clock = ", CPU time of all threads" if result["cpu"] else ""
    lines = [
        f"{result['processor']}, {result['threads']} threads, load average {load} (ours included); N = {result['rows']:,}, D = {DIM}, k = {K} "
        f"unless said; MaxSim: passages of {PASSAGE_TOKENS} tokens, queries of {QUERY_TOKENS}. Times that the search takes longer than with "
        f"ordinary rows; medians of {result['repeats']} in alternation{clock}; float32 / bfloat16 / int8 storage:", "",
        "| rows or queries | " + " | ".join(f"{kind}, B = {batch}" for kind, batch in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for name in dict.fromkeys(c["cliff"] for c in result["cells"]):
        entries = []
        for column in columns:
            cells = [c for c in result["cells"] if (c["cliff"], c["kind"], c["batch"]) == (name, *column)]
            ratios = [f"{c['cliff_ms'] / c['twin_ms']:.1f}" for c in cells]
            entries.append(" / ".join(ratios) or "-")
        lines.append(f"| {name} | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the figures, and put them into the page unless only some were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="cliffs whose name holds this; nothing is written then")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--cpu", action="store_true", help="time of all threads, not the wall's: beside other work")
    args = parser.parse_args()
    before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "processor": processor(),
        "kernels": kernel_names(),
        "threads": len(os.sched_getaffinity(0)),
    }
    result |= {"rows": args.rows, "repeats": args.repeats, "cpu": args.cpu, "cells": []}
    for cliff in CLIFFS:
        if args.only not in cliff.name:
            continue
        cells = measure(cliff, args.rows, args.repeats, args.batches, args.cpu)
        result["cells"] += cells
        for kind, batch in dict.fromkeys((c["kind"], c["batch"]) for c in cells):
            mine = [c for c in cells if (c["kind"], c["batch"]) == (kind, batch)]
            shown = ", ".join(f"{c['storage']} {c['cliff_ms']:.1f} to {c['twin_ms']:.1f} ms" for c in mine)
            print(f"{cliff.name}, {kind}, B = {batch}: {shown}", flush=True)
    result["load_before_after"] = [before, os.getloadavg()[0]]
    if args.only:
        print(text(result))
        return
    (HERE / "topk_cliffs.json").write_text(json.dumps(result, indent=1) + "\n")
    head, _, rest = PAGE.read_text().partition("<!-- topk_cliffs begin -->")
    tail = rest.partition("<!-- topk_cliffs end -->")[2]
    PAGE.write_text(f"{head}<!-- topk_cliffs begin -->\n{text(result)}\n<!-- topk_cliffs end -->{tail}")


if __name__ == "__main__":
    main()
