"""Late interaction in two steps beside PyLate's index (PLAID), on the same token vectors: recall, time, build, disk.

make pylate && python benchmarks/maxsim_peer.py     # after config/runs/openstax.yaml; else --prepared, --encoder

Passages and questions are those of benchmarks/maxsim_two_steps.py: real ones first, then as many made ones as `--passages` asks for.
Recall is of the 30 best by exact MaxSim of the float32 vectors. Ours holds 8-bit codes alone, and reranks the best n of its first
stage; PLAID holds 4-bit residuals, PyLate's default, and probes p lists. It is PyLate's Stanford code, compiled at its first call
(one that is ended meanwhile leaves ~/.cache/torch_extensions/*/*/lock, for which all later ones wait without a word); with `--fast`
fast-plaid, PyLate's default, which needs a torch of its own (envs/pylate.txt). Each way of searching runs in a process of its own,
on all processors, after a search of other questions; the ways come in turns, `--rounds` times. A time is the median over the rounds
of the mean for a question: asked one at a time, and 64 in one call. Writes maxsim_peer.json beside this file, then the table of
docs/topk.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PLAID = HERE.parent / ".venv-pylate/bin/python"
BEST, BATCHES = 30, (1, 64)
RERANKED = (0, 250, 1000, 4000)
FULL = {
    8: 8192,
    32: 8192,
    128: 16384,
}  # lists probed: passages that PLAID scores in full; PyLate's default is the first

Search = Callable[[np.ndarray], list[list[int]]]  # queries [B, T, D] -> the ids of the best of each


def build_jmlr(folder: Path) -> None:
    """Write the index of codes and the first stage."""
    from jmlr.topk import MaxSimIndex
    from jmlr.topk.two_steps import build_first

    shard = (str(folder / "tokens.npy"), str(folder / "offsets.npy"))
    index = MaxSimIndex.from_shards([shard], folder / "jmlr/index", "int8", originals=False)
    build_first(index, folder / "jmlr/first", shards=[shard])


def plaid(folder: Path, side: str, probed: int, override: bool) -> Any:
    """Return PyLate's index."""
    from pylate.indexes import PLAID

    told = {"n_ivf_probe": probed, "n_full_scores": FULL[probed], "nbits": 4, "show_progress": False, "device": "cpu"}
    dim = np.load(folder / "queries.npy", mmap_mode="r").shape[2]
    return PLAID(str(folder / side), "index", override, side == "fast", embedding_size=dim, **told)


def build_plaid(folder: Path, side: str) -> None:
    """Write PyLate's index."""
    import torch

    tokens, offsets = np.load(folder / "tokens.npy", mmap_mode="c"), np.load(folder / "offsets.npy")
    passages = [torch.from_numpy(tokens[a:b]) for a, b in itertools.pairwise(offsets)]
    names = [str(i) for i in range(len(passages))]
    plaid(folder, side, min(FULL), True).add_documents(names, passages)


def open_jmlr(folder: Path, reranked: int) -> Search:
    """Return the search in two steps; of all passages where `reranked` is 0."""
    from jmlr.topk import Index, MaxSimIndex
    from jmlr.topk.two_steps import TwoSteps

    tokens = MaxSimIndex.open(folder / "jmlr/index", verify=False)
    two = TwoSteps(tokens, Index.open(folder / "jmlr/first", verify=False))
    return lambda q: list((two.search(q, BEST, reranked) if reranked else tokens.search(q, BEST))[1].tolist())


def open_plaid(folder: Path, side: str, probed: int) -> Search:
    """Return the search by PyLate's index."""
    import torch

    index = plaid(folder, side, probed, False)
    return lambda q: [[int(found["id"]) for found in f] for f in index(torch.from_numpy(q), k=BEST)]


def work(task: str, folder: Path, side: str, number: int) -> dict[str, Any]:
    """Build or search in this process; return what it took and found."""
    if task == "build":
        start = time.perf_counter()
        build_jmlr(folder) if side == "jmlr" else build_plaid(folder, side)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    queries = np.load(folder / "queries.npy")
    search = open_jmlr(folder, number) if side == "jmlr" else open_plaid(folder, side, number)
    took: dict[str, Any] = {}
    for batch in BATCHES:
        search(-queries[:batch])
        start = time.perf_counter()
        took["found"] = [f for at in range(0, len(queries), batch) for f in search(queries[at : at + batch])]
        took[str(batch)] = 1e3 * (time.perf_counter() - start) / len(queries)
    return took


def run(python: Path | str, *words: object) -> dict[str, Any]:
    """Work in a process of its own; return what it printed last."""
    tools = {**os.environ, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"}  # ninja stands beside PyLate's Python
    line = [python, __file__, "--work", *map(str, words)]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, env=tools)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def write(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write what both sides read, and the exact best; return what it is."""
    from maxsim_two_steps import grown
    from numpy.lib.format import open_memmap
    from token_vectors import given_vectors, machine

    from jmlr.topk import MaxSimIndex

    tokens, offsets, queries = given_vectors(given)
    lengths = [np.diff(part) for _, part in grown(tokens, offsets, given.passages)]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    held, at = open_memmap(folder / "tokens.npy", "w+", np.float32, (int(bounds[-1]), tokens.shape[1])), 0
    for part, _ in grown(tokens, offsets, given.passages):
        held[at : at + len(part)] = part
        at += len(part)
    held.flush()
    queries = np.ascontiguousarray(queries[: given.questions])
    np.save(folder / "offsets.npy", bounds)
    np.save(folder / "queries.npy", queries)
    shard = (str(folder / "tokens.npy"), str(folder / "offsets.npy"))
    exact = MaxSimIndex.from_shards([shard], folder / "exact", "bfloat16").search(queries, BEST)[1]
    return {"machine": machine(), "load": os.getloadavg()[0], "passages": len(bounds) - 1, "tokens": int(bounds[-1]),
            "real": min(given.passages, len(offsets) - 1), "dim": tokens.shape[1], "questions": len(queries), "rounds": given.rounds,
            "exact": exact.tolist()}  # fmt: skip


def measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Build and search both ways, in turns."""
    peer = "fast" if given.fast else "plaid"
    python = {"jmlr": Path(sys.executable), peer: given.plaid}
    ways = [("jmlr", n) for n in RERANKED] + [(peer, n) for n in FULL]
    result = write(folder, given)
    exact = result.pop("exact")
    result["built"] = {}
    for side in python:
        result["built"][side] = run(python[side], "build", folder, side, 0)
        result["built"][side]["disk_bytes"] = sum(f.stat().st_size for f in (folder / side).rglob("*") if f.is_file())
        print(f"{side}: {result['built'][side]}", flush=True)
    taken: dict[tuple[str, int], list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(given.rounds):
        for side, number in ways:
            taken[side, number].append(run(python[side], "search", folder, side, number))
    result["ways"] = []
    for (side, number), took in taken.items():
        shares = np.array([len(set(e) & set(f)) / BEST for e, f in zip(exact, took[0]["found"], strict=True)])
        way = {
            "side": side,
            "number": number,
            "recall": shares.mean(),
            "error": shares.std(ddof=1) / len(shares) ** 0.5,
        }
        way |= {f"ms_{batch}": [t[str(batch)] for t in took] for batch in BATCHES}
        result["ways"].append(way)
        print(json.dumps(way), flush=True)
    return result


def text(result: dict[str, Any]) -> str:
    """Return the figures as the page shows them."""
    titles = {
        "jmlr": "two steps, {:,} reranked",
        "plaid": "PLAID, {} lists probed",
        "fast": "fast-plaid, {} lists probed",
    }
    lines = [
        f"{result['machine']}, load average {result['load']:.1f}; {result['passages']:,} passages ({result['real']:,} of them real), "
        f"{result['tokens']:,} tokens of {result['dim']} dimensions, n = {result['questions']} questions, rounds: {result['rounds']}",
        f"\n| search | recall@{BEST} | ms a question, one at a time | 64 at once |\n|---|---|---|---|",
    ]
    for way in result["ways"]:
        name = titles[way["side"]].format(way["number"]) if way["number"] else "exhaustive, of the same 8-bit codes"
        times = " | ".join(f"{statistics.median(way[f'ms_{b}']):.2f}" for b in BATCHES)
        lines.append(f"| {name} | {way['recall']:.4f} ± {way['error']:.4f} | {times} |")
    lines.append("\n| index | built in, s | peak memory, GB | disk, GB |\n|---|---|---|---|")
    names = {"jmlr": "8-bit codes and the first stage", "plaid": "PLAID, 4 bits", "fast": "fast-plaid, 4 bits"}
    for name, b in ((names[side], b) for side, b in result["built"].items()):
        lines.append(f"| {name} | {b['seconds']:.1f} | {b['peak_bytes'] / 1e9:.2f} | {b['disk_bytes'] / 1e9:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the figures, and put them into the page."""
    if "--work" in sys.argv:
        task, folder, side, number = sys.argv[2:]
        print(json.dumps(work(task, Path(folder), side, int(number))))
        return
    from token_vectors import arguments, put

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.set_defaults(questions=128)
    parser.add_argument("--passages", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plaid", type=Path, default=PLAID, help="a Python that has PyLate")
    parser.add_argument("--fast", action="store_true", help="its fast-plaid in place of its Stanford code")
    parser.add_argument("--folder", type=Path, help="where indexes are made; default: a temporary one")
    given = parser.parse_args()
    if not given.plaid.is_file():
        raise SystemExit(f"--plaid '{given.plaid}' is not there: `make pylate` makes it, or give a Python with PyLate")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        result = measured(Path(name), given)
    (HERE / "maxsim_peer.json").write_text(json.dumps(result, indent=1) + "\n")
    put("maxsim_peer", text(result))


if __name__ == "__main__":
    main()
