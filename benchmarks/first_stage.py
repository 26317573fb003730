"""First stages of late interaction: what share of the best passages by exact MaxSim is among the first n of each.

python benchmarks/first_stage.py    # after config/runs/openstax.yaml; else --prepared, --encoder

Token vectors of real passages and questions (benchmarks/token_vectors.py), made into the folder `--kept` at the first call.
Prints a Markdown table for docs/log.md: inner products that a passage costs, and the shares at several n with the standard error
of their mean over the questions. Everything is computed in full, in float32: it tells what a first stage finds, not its speed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator

import numpy as np
from token_vectors import arguments, given_vectors

from jmlr.topk import MaxSimIndex
from jmlr.topk.two_steps import lift_of, means, passage_vectors

BEST, FIRST = 30, (30, 100, 300, 1000, 3000)
CLUSTERS, ITERATIONS, CENTROIDS, SAMPLE = (2, 4, 8), 5, 1024, 50_000

Array = np.ndarray
Score = Callable[[Array], Array]  # a question's tokens [T, D] -> a score for each passage [N]


def maxsim_of(vectors: Array, offsets: Array) -> Score:
    """Return MaxSim over a passage's vectors."""
    return lambda q: np.maximum.reduceat(q @ vectors.T, offsets[:-1], axis=1).sum(0)


def best_of(vectors: Array, offsets: Array) -> Score:
    """Return the largest inner product of the sum of the question's tokens with a passage's vectors."""
    return lambda q: np.maximum.reduceat(q.sum(0) @ vectors.T, offsets[:-1])


def product_with(vectors: Array) -> Score:
    """Return the inner product of the sum of the question's tokens with a passage's one vector."""
    return lambda q: vectors @ q.sum(0)


def unit(x: Array) -> Array:
    """Return rows scaled to length 1."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def clusters(x: Array, count: int) -> Array:
    """Return the means [<= count, D] of a passage's tokens, by k-means on the sphere from evenly spread tokens."""
    centres = x[np.unique(np.linspace(0, len(x) - 1, count).astype(int))]
    for _ in range(ITERATIONS):
        own = (x @ centres.T).argmax(1)
        centres = unit(np.stack([x[own == c].sum(0) if (own == c).any() else centres[c] for c in range(len(centres))]))
    held = [x[own == c].mean(0) for c in range(len(centres)) if (own == c).any()]
    return np.stack(held)


def coded(tokens: Array, offsets: Array) -> Score:
    """Return MaxSim over the centroids of a passage's tokens, of some of all: PLAID's first stage (Santhanam et al. 2022)."""
    rng = np.random.default_rng(0)
    drawn = tokens[np.sort(rng.choice(len(tokens), min(SAMPLE, len(tokens)), replace=False))]
    centres = drawn[rng.choice(len(drawn), CENTROIDS, replace=False)]
    for _ in range(ITERATIONS):
        own = (drawn @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, own, drawn)
        centres = unit(np.where((np.bincount(own, minlength=CENTROIDS) > 0)[:, None], sums, centres))
    steps = range(0, len(tokens), SAMPLE)
    codes = np.concatenate([(tokens[at : at + SAMPLE] @ centres.T).argmax(1) for at in steps])
    return lambda q: np.maximum.reduceat((q @ centres.T)[:, codes], offsets[:-1], axis=1).sum(0)


def learned(tokens: Array, offsets: Array, mean: Array) -> Array:
    """Return the passages' means times W [D, D], by ridge regression of MaxSim on them; the questions are passages' own tokens."""
    rng = np.random.default_rng(0)
    exact, rows, wanted = maxsim_of(tokens, offsets), [], []
    for passage in rng.choice(len(mean), min(100, len(mean)), replace=False):
        own = tokens[offsets[passage] : offsets[passage + 1]]
        q = own[rng.choice(len(own), 32)]
        scores = exact(q)
        near = np.argsort(-scores)[1:200:8]
        rows.append(np.einsum("d,ne->nde", q.mean(0), mean[near] - mean[near].mean(0)).reshape(len(near), -1))
        wanted.append((scores[near] - scores[near].mean()) / len(q))
    x, y = np.concatenate(rows), np.concatenate(wanted)
    start = np.eye(mean.shape[1], dtype=np.float32).reshape(-1)
    start *= float((x @ start) @ y) / float((x @ start) @ (x @ start))
    left = np.linalg.solve(
        x @ x.T + 0.03 * np.trace(x @ x.T) / len(x) * np.eye(len(x), dtype=np.float32), y - x @ start
    )
    w = (start + x.T @ left).reshape(mean.shape[1], -1)
    return mean @ w.T


def ways(tokens: Array, offsets: Array) -> Iterator[tuple[str, float, Score]]:
    """Yield (name, inner products for each passage and question, score)."""
    mean = means(tokens, offsets)
    middle = mean.mean(0)
    yield "mean", 1, product_with(mean)
    yield "mean, of length 1", 1, product_with(unit(mean))
    yield "mean of centred tokens, of length 1", 1, product_with(unit(mean - middle))
    for beta in (1, 2):
        weight = np.linalg.norm(tokens - tokens.mean(0), axis=1, keepdims=True) ** beta
        yield f"tokens weighted by distance from all, power {beta}", 1, product_with(means(tokens * weight, offsets))
    for alpha in (0.25, 0.5):
        values, axes = np.linalg.eigh(np.cov(mean.T))
        whitened = (mean - middle) @ axes * np.maximum(values, values.max() * 1e-3) ** -alpha @ axes.T
        yield f"mean, whitened by power {alpha}", 1, product_with(whitened.astype(np.float32))
    yield (
        "mean; question tokens weighted by distance from their mean",
        1,
        lambda q: mean @ (q * np.linalg.norm(q - q.mean(0), axis=1, keepdims=True)).sum(0),
    )
    yield (
        "mean; question tokens centred by all passages', each of length 1",
        1,
        lambda q: mean @ unit(q - middle).sum(0),
    )
    yield "mean times W, learned", 1, product_with(learned(tokens, offsets, mean))
    lift = lift_of(MaxSimIndex.build(tokens, offsets))
    first = passage_vectors(tokens, offsets, lift)
    yield (
        f"mean and a number more, weights {lift[0]:g} and {lift[1]:g}: `jmlr.topk.two_steps`",
        1,
        lambda q: first[:, :-1] @ q.mean(0) + first[:, -1],
    )
    for count in CLUSTERS:
        held = [clusters(tokens[a:b], count) for a, b in itertools.pairwise(offsets)]
        vectors, cuts = np.concatenate(held), np.concatenate([[0], np.cumsum([len(h) for h in held])])
        yield f"{count} means: largest product with the sum", count, best_of(vectors, cuts)
        yield f"{count} means: MaxSim over them", 32 * count, maxsim_of(vectors, cuts)
    yield f"MaxSim over {CENTROIDS} centroids (PLAID)", 0, coded(tokens, offsets)


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.add_argument("--passages", type=int, default=6531)
    given = parser.parse_args()
    tokens, offsets, queries = given_vectors(given, given.passages)
    tokens = np.asarray(tokens)
    exact = [np.argsort(-maxsim_of(tokens, offsets)(q), kind="stable")[:BEST] for q in queries]
    print(
        f"{len(offsets) - 1:,} passages, {len(tokens):,} tokens, {len(queries)} questions of {queries.shape[1]} tokens\n"
    )
    print(f"| first stage | products | {' | '.join(f'first {n:,}' for n in FIRST)} |\n|{'---|' * (2 + len(FIRST))}")
    for name, products, score in ways(tokens, offsets):
        found = np.array([
            [np.isin(best, order[:n]).mean() for n in FIRST]
            for best, order in zip(exact, (np.argsort(-score(q), kind="stable") for q in queries), strict=True)
        ])  # fmt: skip
        error = found.std(0) / len(found) ** 0.5
        cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(found.mean(0), error, strict=True)]
        print(f"| {name} | {products or '-'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
