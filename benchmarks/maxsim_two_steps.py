"""Late interaction in two steps beside the exhaustive search of the same tokens: recall, time, memory and bytes on disk.

python benchmarks/maxsim_two_steps.py                     # after config/runs/openstax.yaml; 12 GB of disk meanwhile
python benchmarks/maxsim_two_steps.py --passages 20000

Tokens are those of real passages (benchmarks/token_vectors.py, made into `--kept` at the first call), and as many more passages
as `--passages` asks for: the first nine tenths of one (`--share`) and the end of another, every token moved by half its length in a
random direction. With `--share 0.5` a passage has two subjects, and its mean tells of neither. Questions are real. The index holds
8-bit codes alone (`originals=False`), on disk; each way of searching is timed in a process of its own, on all processors, after a
search of another question, without the check of the files at the first search.
Reranked are as many passages as the recall asks for, by doubling from 250: what `search` does, with all questions as its sample.
Memory is what lies in the process at its end: anonymous, and pages of the mapped files. Prints a Markdown table for docs/log.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jmlr.topk import Index, MaxSimIndex
from jmlr.topk.two_steps import TwoSteps, build_first, recalls

BEST, BEGIN, AT_ONCE, MOVED = 30, 250, 2000, 0.5


def grown(
    tokens: np.ndarray, offsets: np.ndarray, passages: int, share: float = 0.9
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (tokens [m, D], offsets [n + 1]) of some passages at a time: the real ones, then made ones; the same at each call."""
    real = min(passages, len(offsets) - 1)
    cut = offsets[:-1] + np.ceil(share * np.diff(offsets)).astype(np.int64)
    yield np.array(tokens[: offsets[real]]), np.array(offsets[: real + 1])
    for begin in range(real, passages, AT_ONCE):
        rng = np.random.default_rng(begin)
        pairs = rng.integers(len(offsets) - 1, size=(min(AT_ONCE, passages - begin), 2))
        parts = [(tokens[offsets[a] : cut[a]], tokens[cut[b] : offsets[b + 1]]) for a, b in pairs]
        made = np.concatenate([part for pair in parts for part in pair])
        moved = rng.standard_normal(made.shape, dtype=np.float32)
        made = made + moved * (MOVED / np.linalg.norm(moved, axis=1, keepdims=True))
        lengths = [len(a) + len(b) for a, b in parts]
        yield made / np.linalg.norm(made, axis=1, keepdims=True), np.concatenate([[0], np.cumsum(lengths)])


def resident_mib() -> list[float]:
    """Return the anonymous memory of this process, and the mapped pages of files, in MiB."""
    text = Path("/proc/self/status").read_text()
    return [int(re.search(rf"{field}:\s+(\d+)", text)[1]) / 1024 for field in ("RssAnon", "RssFile")]  # type: ignore[index]


def searched(folder: Path, way: str) -> None:
    """Search in this process, and print what was found and what it took, as JSON."""
    queries = np.load(folder / "queries.npy")
    tokens = MaxSimIndex.open(folder / "index", verify=False)
    two = TwoSteps(tokens, Index.open(folder / "first", verify=False))
    other = -queries[:1]
    if way == "exhaustive":
        tokens.search(other, BEST)
        start = time.perf_counter()
        found, count = tokens.search(queries, BEST)[1], len(tokens)
    else:
        exact, count = np.load(folder / "exact.npy"), BEGIN
        while recalls(two.nominated(queries, count), exact).mean() < float(way) and count < two.most:
            count *= 2
        two.search(other, BEST, count)
        start = time.perf_counter()
        found = two.search(queries, BEST, count)[1]
    seconds = (time.perf_counter() - start) / len(queries)
    if way == "exhaustive":
        np.save(folder / "exact.npy", found)
    print(json.dumps({"found": found.tolist(), "reranked": count, "seconds": seconds, "mib": resident_mib()}))


def run(folder: Path, way: str) -> dict[str, Any]:
    """Search in a process of its own; return what it printed."""
    words = [sys.executable, __file__, "--searched", str(folder), way]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Build, search both ways, and print the table."""
    if "--searched" in sys.argv:
        searched(Path(sys.argv[2]), sys.argv[3])
        return
    from token_vectors import arguments, given_vectors  # not where a search is timed: it imports torch

    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.9, help="of one real passage in a made one")
    parser.add_argument("--recall", default="0.99")
    parser.add_argument("--folder", type=Path, help="where the index is made; default: a temporary one")
    given = parser.parse_args()
    tokens, offsets, queries = given_vectors(given)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        np.save(folder / "queries.npy", queries[: given.questions])
        start = time.perf_counter()
        index = MaxSimIndex.from_shards(
            grown(tokens, offsets, given.passages, given.share), folder / "index", "int8", originals=False
        )
        build_first(index, folder / "first")
        built = time.perf_counter() - start
        held = {part: sum(f.stat().st_size for f in (folder / part).iterdir()) for part in ("index", "first")}
        eight_bits = index.shape[0] * index.dim
        exact, two = run(folder, "exhaustive"), run(folder, given.recall)
    shares = recalls(np.array(two["found"]), np.array(exact["found"]))
    error = shares.std() / len(shares) ** 0.5
    print(f"{len(index):,} passages, {index.shape[0]:,} tokens, {len(shares)} questions of {queries.shape[1]} tokens, C = {BEST}; "
          f"{len(os.sched_getaffinity(0))} processors, load average {os.getloadavg()[0]:.1f}; built in {built:.0f} s\n")  # fmt: skip
    print("| search | reranked | recall@30 | ms a question | anonymous, MiB | mapped, MiB |\n" + "|---" * 6 + "|")
    for title, found, recall in (("exhaustive", exact, "1"), ("two steps", two, f"{shares.mean():.4f} ± {error:.4f}")):
        cells = [
            title,
            f"{found['reranked']:,}",
            recall,
            f"{1e3 * found['seconds']:.2f}",
            *(f"{m:.0f}" for m in found["mib"]),
        ]
        print(f"| {' | '.join(cells)} |")
    ratio, size = exact["seconds"] / two["seconds"], sum(held.values()) / eight_bits
    print(f"\n{ratio:.0f} times as fast; {sum(held.values()) / 1e9:.2f} GB on disk, {size:.3f} times 8 bits a coordinate "
          f"(the first stage {held['first'] / eight_bits:.3f}).")  # fmt: skip


if __name__ == "__main__":
    main()
