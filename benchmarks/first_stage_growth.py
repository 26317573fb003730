"""How many passages the first stage of late interaction must name, as a corpus of real ones grows.

python benchmarks/first_stage_growth.py     # after config/runs/openstax.yaml; else --prepared, --encoder

Of random parts of the corpus, each twice the one before, and of all: how many passages `jmlr.topk.two_steps` must rerank until they
hold nine tenths, 95 and 99 of a hundred of the 30 best by exact MaxSim, over all questions together. Vectors are those of
benchmarks/token_vectors.py. Prints a Markdown table for docs/log.md, and the exponent of the growth.
"""

from __future__ import annotations

import argparse

import numpy as np
from token_vectors import arguments, given_vectors, machine

from jmlr.topk import MaxSimIndex
from jmlr.topk.two_steps import lift_of, passage_vectors, query_vectors

BEST, SMALLEST, SHARES = 30, 1000, (0.9, 0.95, 0.99)


def needed(tokens: np.ndarray, offsets: np.ndarray, queries: np.ndarray) -> list[int]:
    """Return for each of SHARES how many passages hold so much of the BEST: tokens [M, D], offsets [N + 1], queries [B, T, D]."""
    index = MaxSimIndex.build(tokens, offsets, "bfloat16")
    best = index.search(queries, BEST)[1]
    named = query_vectors(queries.reshape(-1, queries.shape[2]), np.full(len(queries), queries.shape[1]))
    scores = named @ passage_vectors(tokens, offsets, lift_of(index)).T
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    held = np.sort(np.take_along_axis(places, best, axis=1), axis=None)
    return [int(held[int(np.ceil(share * len(held))) - 1]) + 1 for share in SHARES]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    given = parser.parse_args()
    tokens, offsets, queries = given_vectors(given)
    queries = queries[: given.questions]
    order = np.random.default_rng(0).permutation(len(offsets) - 1)
    sizes = [SMALLEST << i for i in range(20) if SMALLEST << i < len(order)] + [len(order)]
    print(
        f"{machine()}; {len(queries)} questions, C = {BEST}\n\n| passages | {' | '.join(map(str, SHARES))} |\n|---|---|---|---|"
    )
    found = []
    for size in sizes:
        parts = [tokens[offsets[row] : offsets[row + 1]] for row in np.sort(order[:size])]
        bounds = np.cumsum([0, *map(len, parts)])
        found.append(needed(np.concatenate(parts), bounds, queries))
        print(f"| {size:,} | {' | '.join(f'{n:,}' for n in found[-1])} |", flush=True)
    slopes = np.polyfit(np.log(sizes), np.log(found), 1)[0]
    print(f"\ngrows as the number of passages to the power of {', '.join(f'{s:.2f}' for s in slopes)}")


if __name__ == "__main__":
    main()
