"""A MaxSim index on disk: its bytes, the memory of building it, and the time until it can be searched.

python benchmarks/maxsim_disk.py [--passages 10000] [--repeats 5]

Prints a Markdown table for docs/log.md. "whole": `build` and `save`; "stream": `from_shards` over 8 pairs of .npy files. Memory is
the peak of resident memory above that of a process which has imported everything, in a process of its own. Opening is told beside
reading all tokens and coding them anew, on files in the page cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jmlr.topk import MaxSimIndex

DIM, SHARDS = 128, 8
STORAGES = ("float32", "bfloat16", "int8")


def make(folder: Path, passages: int) -> None:
    """Write tokens of length 1, 60 to 140 a passage, in shards."""
    rng = np.random.default_rng(0)
    for number in range(SHARDS):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(60, 141, passages // SHARDS))])
        tokens = rng.standard_normal((offsets[-1], DIM), dtype=np.float32)
        np.save(folder / f"t{number}.npy", tokens / np.linalg.norm(tokens, axis=1, keepdims=True))
        np.save(folder / f"o{number}.npy", offsets)


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the paths of the shards."""
    return [(folder / f"t{i}.npy", folder / f"o{i}.npy") for i in range(SHARDS)]


def whole(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all tokens and offsets in memory."""
    tokens = np.concatenate([np.load(t) for t, _ in pairs(folder)])
    lengths = np.concatenate([np.diff(np.load(o)) for _, o in pairs(folder)])
    return tokens, np.concatenate([[0], np.cumsum(lengths)])


def resident_mib(field: str) -> float:
    """Return a figure of /proc/self/status in MiB: VmRSS is now, VmHWM the peak."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def built(folder: Path, storage: str, how: str) -> None:
    """Build an index in this process, and print its peak of memory in MiB and the seconds."""
    before, start = resident_mib("VmRSS"), time.perf_counter()
    target = folder / "index"
    if how == "stream":
        MaxSimIndex.from_shards(pairs(folder), target, storage)
    else:
        index = MaxSimIndex.build(*whole(folder), storage)
        assert isinstance(index, MaxSimIndex)
        index.save(target)
    print(resident_mib("VmHWM") - before, time.perf_counter() - start)


def seconds(work: object, repeats: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def row(folder: Path, storage: str, repeats: int) -> str:
    """Measure one kind of index."""
    figures = {}
    for how in ("whole", "stream"):
        words = [sys.executable, __file__, "--built", how, "--storage", storage, "--folder", str(folder)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        figures[how] = [float(x) for x in done.stdout.split()]
    size = sum(p.stat().st_size for p in (folder / "index").iterdir())
    tokens = sum(t.stat().st_size for t, _ in pairs(folder))
    opened = seconds(lambda: MaxSimIndex.open(folder / "index"), repeats)
    anew = seconds(lambda: MaxSimIndex.build(*whole(folder), storage), repeats)
    (memory, _), (streamed, _) = figures["whole"], figures["stream"]
    cells = [storage, f"{size / tokens:.2f}", f"{memory:.0f} : {streamed:.0f}"]
    cells += [
        f"{memory / streamed:.1f}",
        f"{figures['whole'][1] / figures['stream'][1]:.2f}",
        f"{opened * 1e3:.0f} ms",
        f"{anew / opened:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure all kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--built", choices=("whole", "stream"))
    parser.add_argument("--storage", default="float32")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.built:
        built(given.folder, given.storage, given.built)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.passages)
        load = os.getloadavg()[0]
        print(
            f"{platform.processor() or platform.machine()}, load average {load:.1f}; N = {given.passages:,}, D = {DIM}\n"
        )
        print(
            "| index | bytes to those of float32 tokens | MiB: whole : stream | ratio | time whole / stream | open | reading and coding anew / open |"
        )
        print("|" + "---|" * 7)
        for storage in STORAGES:
            print(row(folder, storage, given.repeats), flush=True)


if __name__ == "__main__":
    main()
