"""What it takes to open the passages: the whole table, as was done before, and by row, as `jmlr.corpus.stored_passages` does.

python benchmarks/passages.py                                   # writes benchmarks/passages.json; 3 GB of disk meanwhile
python benchmarks/passages.py --sizes 5000 100000 --rounds 1

Passages of about 1 KB, made up. Each way runs in a process of its own, the two in turns: `encode` reads a shard of 1,000 rows,
`train` and `judge` (or `answer`) 5,000 rows drawn at random. `train` also finds the rows of 1,000 gold passages, before by the
ids of all, and `search` gives 5,000 found rows their ids.

Memory is told twice, as it grows by these calls: anonymous, which a process holds alone and the system cannot take back; and
resident, which has the pages of mapped files besides, and is what clusters go by. Files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jmlr.corpus.passages import SCHEMA
from jmlr.corpus.stored_passages import NAME, PassageRows, StoredPassages
from jmlr.corpus.tables import parquet_writer, read_table

HERE = Path(__file__).resolve().parent
SHARD, READ, GOLD, BATCH = 1000, 5000, 1000, 8192
BYTES = ("Anonymous", "Rss")


def make(folder: Path, count: int) -> None:
    """Write the passages of a prepared folder, in both forms."""
    rng = random.Random(0)
    words = [f"word{i}" for i in range(5000)]
    known = [" ".join(rng.choices(words, k=15)).capitalize() + "." for _ in range(20_000)]
    folder.mkdir(parents=True)
    with parquet_writer(folder / "passages.parquet", SCHEMA) as table, PassageRows(folder / NAME) as rows:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            texts = [" ".join([*rng.choices(known, k=8), f"The number of this passage is {n}."]) for n in numbers]
            columns = [pa.array(numbers, pa.int32()), [f"made-{n:09}" for n in numbers], [f"Title {n % 1000}" for n in numbers],
                       texts, ["made"] * len(texts), [""] * len(texts)]  # fmt: skip
            batch = pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=SCHEMA)
            table.write_batch(batch)
            rows.add(batch)


def drawn(count: int, number: int) -> list[int]:
    """Return some rows."""
    return random.Random(1).sample(range(count), min(number, count))


def encode_before(folder: Path, count: int) -> Any:
    """Read the whole table, and take a shard of it."""
    table = read_table(folder / "passages.parquet")
    return table, [(r["title"], r["text"]) for r in table.slice(count // 2, SHARD).to_pylist()]


def encode_now(folder: Path, count: int) -> Any:
    """Read a shard."""
    passages = StoredPassages.open(folder)
    return passages, list(passages.run(count // 2, min(count // 2 + SHARD, count)))


def train_before(folder: Path, count: int) -> Any:
    """Read the whole table, look through all ids for the gold, and take rows."""
    table = read_table(folder / "passages.parquet")
    ids = read_table(folder / "passages.parquet", ["id"])["id"]
    wanted = pa.array([f"made-{n:09}" for n in drawn(count, GOLD)])
    gold = pc.indices_nonzero(pc.is_in(ids, value_set=wanted)).to_pylist()
    return table, gold, [(table["title"][n].as_py(), table["text"][n].as_py()) for n in drawn(count, READ)]


def train_now(folder: Path, count: int) -> Any:
    """Take rows; those of the gold stand with the questions."""
    passages = StoredPassages.open(folder)
    return passages, passages.pairs(drawn(count, READ))


def answer_before(folder: Path, count: int) -> Any:
    """Read the whole table, and take rows."""
    table = read_table(folder / "passages.parquet")
    return table, [(table["title"][n].as_py(), table["text"][n].as_py()) for n in drawn(count, READ)]


answer_now = train_now


def search_before(folder: Path, count: int) -> Any:
    """Read all ids, and name the rows that were found."""
    names = pq.read_table(folder / "passages.parquet", columns=["id"])["id"].to_numpy(zero_copy_only=False)
    return names, [names[n] for n in drawn(count, READ)]


def search_now(folder: Path, count: int) -> Any:
    """Name the rows that were found."""
    passages = StoredPassages.open(folder)
    return passages, [name for (name,) in passages.take(drawn(count, READ), ("id",))]


WAYS: dict[str, tuple[Callable[[Path, int], Any], Callable[[Path, int], Any]]] = {
    "encode": (encode_before, encode_now),
    "train": (train_before, train_now),
    "answer": (answer_before, answer_now),
    "search": (search_before, search_now),
}


def memory() -> dict[str, int]:
    """Return what this process holds, in bytes."""
    told = Path("/proc/self/smaps_rollup").read_text()
    return {name: 1024 * int(found[1]) for name in BYTES if (found := re.search(rf"^{name}:\s+(\d+)", told, re.M))}


def measured(way: Callable[[Path, int], Any], folder: Path, count: int) -> dict[str, float]:
    """Run a way in this process: by how much its memory grows, and how long it takes."""
    way(folder.parent / "warm", 100)  # what is imported and set up once
    before, begun = memory(), time.perf_counter()
    held = way(folder, count)
    seconds, after = time.perf_counter() - begun, memory()
    assert held
    return {**{name: after[name] - before[name] for name in BYTES}, "seconds": seconds}


def elsewhere(stage: str, number: int, folder: Path, count: int) -> dict[str, float]:
    """Run a way in a process of its own."""
    words = [sys.executable, __file__, "--one", stage, str(number), str(folder), str(count)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def lines(figures: dict[str, dict[str, Any]], sizes: list[int]) -> Iterator[str]:
    """Yield a Markdown table: before, now, and what came down by how much."""
    small, large = min(sizes), max(sizes)
    yield f"| stage | passages | anonymous, MB | resident, MB | seconds | a passage more, bytes ({small:,} to {large:,}) |"
    yield "|---|--:|--:|--:|--:|--:|"
    for stage, by in figures.items():
        for size in sizes:
            before, now = (by[kind][str(size)] for kind in ("before", "now"))
            told = [f"{before[name] / 1e6:,.1f} : {now[name] / 1e6:,.1f}" for name in BYTES]
            times = f"{before['seconds']:.3f} : {now['seconds']:.3f}"
            ratio = f" ({before['seconds'] / now['seconds']:,.1f} times)"
            slope = " : ".join(f"{by[kind]['bytes_a_passage']:,.2f}" for kind in ("before", "now"))
            yield f"| {stage} | {size:,} | {told[0]} | {told[1]} | {times}{ratio} | {slope if size == large else ''} |"


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000, 2_000_000], help="numbers of passages")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--folder", type=Path, help="where the passages go; some 1.5 GB for a million")
    parser.add_argument("--out", type=Path, default=HERE / "passages.json")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        stage, number, folder, count = given.one
        print(json.dumps(measured(WAYS[stage][int(number)], Path(folder), int(count))))
        return
    sizes, kinds = sorted(given.sizes), ("before", "now")
    figures: dict[str, dict[str, Any]] = {stage: {kind: {} for kind in kinds} for stage in WAYS}
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        make(Path(made) / "warm", 100)
        for size in sizes:
            make(Path(made) / str(size), size)
            for stage in WAYS:
                runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
                for _ in range(given.rounds):
                    for number, kind in enumerate(kinds):
                        runs[kind].append(elsewhere(stage, number, Path(made) / str(size), size))
                for kind, found in runs.items():
                    figures[stage][kind][str(size)] = {k: statistics.median(r[k] for r in found) for k in found[0]}
    for by in (b for stage in figures.values() for b in stage.values()):
        grown = by[str(sizes[-1])]["Rss"] - by[str(sizes[0])]["Rss"]
        by["bytes_a_passage"] = round(grown / max(1, sizes[-1] - sizes[0]), 2)
    told = {"sizes": sizes, "rounds": given.rounds, "pyarrow": pa.__version__, "machine": platform.machine()}
    given.out.write_text(json.dumps({**told, "figures": figures}, indent=1) + "\n")
    print("\n".join(lines(figures, sizes)))


if __name__ == "__main__":
    main()
