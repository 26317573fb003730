"""What an installed wheel must do where NumPy alone is beside it: the reference's bits, from every storage, in memory and from disk.

python tests/wheel/alone.py        # with the Python of an environment that holds the wheel and NumPy
"""

import sys
import tempfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import numpy as np

from jmlr.topk import Index, MaxSimIndex, maxsim_topk, merge, topk
from jmlr.topk.reference import maxsim, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
K = 20


def dense(folder: Path):
    """Yield (what, found, expected) for an index of vectors, whole and in two shards."""
    random = np.random.default_rng(1)
    vectors = np.round(random.standard_normal((700, 40)), 1).astype(np.float32)  # rounded: ties are to be broken
    queries = np.round(random.standard_normal((9, 40)), 1).astype(np.float32)
    expected = topk_reference(queries, vectors, K)
    yield "topk", topk(queries, vectors, K), expected
    for storage in STORAGES:
        index = Index.build(vectors, storage)
        yield f"build, {storage}", index.search(queries, K), expected
        index.save(folder / storage)
        yield f"save and open, {storage}", Index.open(folder / storage, verify=True).search(queries, K), expected
        streamed = Index.from_shards([vectors[:300], vectors[300:]], folder / f"streamed-{storage}", storage)
        yield f"from_shards, {storage}", streamed.search(queries, K), expected
        parts = [index.rows(0, 300).search(queries, K), index.rows(300, 700).search(queries, K)]
        yield f"merge, {storage}", merge(parts, K), expected


def late(folder: Path):
    """Yield the same for an index of token vectors."""
    random = np.random.default_rng(2)
    offsets = np.concatenate([[0], np.cumsum(random.integers(1, 9, 90))])
    tokens = np.round(random.standard_normal((offsets[-1], 24)), 1).astype(np.float32)
    queries = np.round(random.standard_normal((4, 5, 24)), 1).astype(np.float32)
    expected = maxsim(queries, tokens, offsets, K)
    yield "maxsim_topk", maxsim_topk(queries, tokens, offsets, K), expected
    for storage in STORAGES:
        index = MaxSimIndex.build(tokens, offsets, storage)
        yield f"MaxSim, build, {storage}", index.search(queries, K), expected
        index.save(folder / f"late-{storage}")
        opened = MaxSimIndex.open(folder / f"late-{storage}", verify=True)
        yield f"MaxSim, save and open, {storage}", opened.search(queries, K), expected


def main() -> int:
    """Return the exit code: 0 if all bits are the reference's and nothing but NumPy was imported."""
    with tempfile.TemporaryDirectory() as folder:
        cases = [*dense(Path(folder)), *late(Path(folder))]
    wrong = [
        what
        for what, (scores, ids), (best, names) in cases
        if scores.tobytes() != best.tobytes() or not np.array_equal(ids, names)
    ]
    imported = {name.partition(".")[0] for name in sys.modules}
    of = packages_distributions()
    others = sorted({d for name in imported for d in of.get(name, ())} - {"jmlr-replication", "numpy"})
    installed = sorted(d.metadata["Name"] for d in distributions())
    print(f"{len(cases)} cases, {len(wrong)} wrong {wrong}; imported besides NumPy: {others}; installed: {installed}")
    return bool(wrong or others)


if __name__ == "__main__":
    sys.exit(main())
