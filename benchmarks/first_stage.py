"""First stages of late interaction: what share of the best passages by exact MaxSim is among the first n of each.

python benchmarks/first_stage.py    # after config/runs/openstax.yaml; else --prepared, --encoder

Token vectors of real passages and questions (benchmarks/token_vectors.py), made into the folder `--kept` at the first call. One
question of three is judged; what learns from questions learns from the others. Writes first_stage.json beside this file, then the
table of docs/topk.md: bytes that a passage takes in float32, milliseconds that NumPy takes for a question (median, in one process
after another way's), and the shares at several n with the standard error of their mean over the questions.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from token_vectors import arguments, given_vectors, machine, put

from jmlr.topk import MaxSimIndex
from jmlr.topk.two_steps import lift_of, means, passage_vectors

HERE = Path(__file__).resolve().parent
BEST, FIRST, JUDGED = 30, (30, 100, 300, 1000), 3
CLUSTERS, ITERATIONS, CENTROIDS, SAMPLE = (2, 4), 5, 1024, 50_000
ENCODINGS = (
    (20, 3, 8),
    (20, 5, 8),
)  # of MUVERA: repetitions, bits, dimensions of a bucket (Dhulipala et al. 2024, figure 3)
NEAR, STEPS, RATE, TEMPERATURE = 200, 40, 0.04, 0.02  # of learned poolings

Array = np.ndarray
Score = Callable[[Array], Array]  # a question's tokens [T, D] -> a score for each passage [N]
Way = tuple[str, float, Score]  # name, bytes a passage, score


def maxsim_of(vectors: Array, offsets: Array) -> Score:
    """Return MaxSim over a passage's vectors."""
    return lambda q: np.maximum.reduceat(q @ vectors.T, offsets[:-1], axis=1).sum(0)


def best_of(vectors: Array, offsets: Array) -> Score:
    """Return the largest inner product of the sum of the question's tokens with a passage's vectors."""
    return lambda q: np.maximum.reduceat(vectors @ q.sum(0), offsets[:-1])


def one_vector(name: str, vectors: Array, of_question: Callable[[Array], Array] = lambda q: q.sum(0)) -> Way:
    """Return the way that scores by the inner product of a question's vector with a passage's."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    return name, 4 * vectors.shape[1], lambda q: vectors @ of_question(q).astype(np.float32)


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


def encodings(tokens: Array, offsets: Array, shape: tuple[int, int, int]) -> tuple[Array, Callable[[Array], Array]]:
    """Return MUVERA's fixed dimensional encodings of passages [N, F], and the function that makes a question's [F].

    Random hyperplanes put tokens into buckets. A bucket holds the mean of a passage's tokens, or where it has none, that of
    them whose bucket differs in the fewest bits; and the sum of a question's. Random signs shorten what a bucket holds.
    """
    repetitions, bits, depth = shape
    rng, buckets, made, drawn = np.random.default_rng(0), 2 ** shape[1], [], []
    apart = np.array([[(a ^ b).bit_count() for b in range(buckets)] for a in range(buckets)])
    passages = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    for _ in range(repetitions):
        planes = rng.standard_normal((tokens.shape[1], bits)).astype(np.float32)
        signs = rng.choice((-1, 1), (tokens.shape[1], depth)).astype(np.float32) / np.float32(depth**0.5)
        drawn.append((planes, signs))
        own, short = (tokens @ planes > 0) @ (1 << np.arange(bits)), tokens @ signs
        place = passages * buckets + own
        member = csr_matrix(
            (np.ones(len(own), np.float32), (place, np.arange(len(own)))), ((len(offsets) - 1) * buckets, len(own))
        )
        count = np.bincount(place, minlength=member.shape[0])
        held = member @ short / np.maximum(count, 1)[:, None]
        nearest = np.minimum.reduceat(apart[own] * len(own) + np.arange(len(own))[:, None], offsets[:-1]) % len(own)
        made.append(np.where((count > 0)[:, None], held, short[nearest.reshape(-1)]).reshape(len(offsets) - 1, -1))

    def of_question(q: Array) -> Array:
        told = []
        for planes, signs in drawn:
            held = np.zeros((buckets, depth), np.float32)
            np.add.at(held, (q @ planes > 0) @ (1 << np.arange(bits)), q @ signs)
            told.append(held.reshape(-1))
        return np.concatenate(told)

    return np.concatenate(made, axis=1).astype(np.float32), of_question


def regressed(index: MaxSimIndex, tokens: Array, offsets: Array, mean: Array) -> Array:
    """Return the passages' means times W [D, D], by ridge regression of MaxSim on them; the questions are passages' own tokens."""
    rng, rows, wanted = np.random.default_rng(0), [], []
    for passage in rng.choice(len(mean), min(100, len(mean)), replace=False):
        own = tokens[offsets[passage] : offsets[passage + 1]]
        q = own[rng.choice(len(own), 32)]
        scores, near = (found[0, 1::8] for found in index.search(q[None], min(NEAR, len(mean))))
        rows.append(np.einsum("d,ne->nde", q.mean(0), mean[near] - mean[near].mean(0)).reshape(len(near), -1))
        wanted.append((scores - scores.mean()) / len(q))
    x, y = np.concatenate(rows), np.concatenate(wanted)
    start = np.eye(mean.shape[1], dtype=np.float32).reshape(-1)
    start *= float((x @ start) @ y) / float((x @ start) @ (x @ start))
    ridge = 0.03 * np.trace(x @ x.T) / len(x) * np.eye(len(x), dtype=np.float32)
    w = (start + x.T @ np.linalg.solve(x @ x.T + ridge, y - x @ start)).reshape(mean.shape[1], -1)
    return mean @ w.T


def trained(
    index: MaxSimIndex, tokens: Array, offsets: Array, lift: Sequence[float], questions: Array, weighted: bool
) -> Way:
    """Return a pooling that is trained on other questions: (W q, 1) · (x, v · traits), to the distribution of exact MaxSim.

    q is the mean of the question's tokens; x that of the passage's, or where `weighted`, of its tokens times softmax(a · token).
    W [D, D] begins as 1, a as 0, v as `lift`: as `jmlr.topk.two_steps`. The loss is the cross-entropy to softmax(MaxSim / (T
    temperature)) of the best, over all passages. One question of four is not trained on: where its loss is lowest, training ends.
    """
    scores, near = (torch.from_numpy(found) for found in index.search(questions, min(NEAR, len(offsets) - 1)))
    goal = torch.softmax(scores / questions.shape[1] / TEMPERATURE, dim=1)
    x, asked, fixed = (
        torch.from_numpy(tokens),
        torch.from_numpy(questions).mean(1),
        torch.from_numpy(means(tokens, offsets)),
    )
    known, passage = (
        torch.from_numpy(traits(tokens, offsets)),
        torch.from_numpy(np.repeat(np.arange(len(fixed)), np.diff(offsets))),
    )
    w, a, v, scale = (
        torch.eye(x.shape[1]),
        torch.zeros(x.shape[1]),
        torch.tensor(lift, dtype=torch.float32),
        torch.tensor(1 / TEMPERATURE).log(),
    )
    learning: list[dict[str, Any]] = [
        {"params": [w], "lr": RATE / 20},
        {"params": [v, scale, a][: 2 + weighted], "lr": RATE},
    ]
    optimiser = torch.optim.Adam([{**g, "params": [p.requires_grad_() for p in g["params"]]} for g in learning])
    held_out, kept = torch.arange(len(asked)) % 4 == 0, (np.inf, fixed, w)
    for _ in range(STEPS):
        pooled = fixed
        if weighted:
            weight = torch.exp(x @ a)
            weight = weight / torch.zeros(len(known)).index_add(0, passage, weight)[passage]
            pooled = torch.zeros_like(fixed).index_add(0, passage, x * weight[:, None])
        vectors = torch.cat([pooled, (known @ v)[:, None]], 1)
        found = torch.cat([asked @ w.T, torch.ones(len(asked), 1)], 1) @ vectors.T * scale.exp()
        loss = -(goal * torch.log_softmax(found, 1).gather(1, near)).sum(1)
        if (unseen := loss[held_out].mean().item()) < kept[0]:
            kept = (unseen, vectors.detach(), w.detach().clone())
        optimiser.zero_grad()
        loss[~held_out].mean().backward()
        optimiser.step()
    name = f"{'weighted ' if weighted else ''}mean and a number more, W q; trained on {len(questions)} other questions"
    return one_vector(name, kept[1].numpy(), lambda q: np.append(kept[2].numpy() @ q.mean(0), 1))


def traits(tokens: Array, offsets: Array) -> Array:
    """Return float32 [N, 2]: how far a passage's tokens lie from their mean, and the logarithm of their number."""
    apart = means(tokens**2, offsets) - means(tokens, offsets) ** 2
    return np.column_stack([np.sqrt(np.maximum(apart.sum(1), 0)), np.log(np.diff(offsets))]).astype(np.float32)


def ways(index: MaxSimIndex, tokens: Array, offsets: Array, others: Array) -> Iterator[Way]:
    """Yield the ways to compare; `others` [b, T, D] are questions that are not judged."""
    mean = means(tokens, offsets)
    middle = tokens.mean(0)
    yield one_vector("mean", mean)
    yield one_vector("mean, of length 1", unit(mean))
    yield one_vector("mean of tokens centred by all passages'", mean - middle)
    yield one_vector("the same, of length 1", unit(mean - middle))
    yield one_vector(
        "the same; the question's tokens centred too, each of length 1",
        unit(mean - middle),
        lambda q: unit(q - middle).sum(0),
    )
    weight = np.linalg.norm(tokens - middle, axis=1, keepdims=True)
    yield one_vector("mean of tokens weighted by distance from all passages'", means(tokens * weight, offsets))
    values, axes = np.linalg.eigh(np.cov(mean.T))
    white = (mean - middle) @ axes * np.maximum(values, values.max() * 1e-3) ** -0.25 @ axes.T
    yield one_vector("mean, whitened by power 0.25", white)
    yield one_vector("mean times W, W regressed on passages' own tokens", regressed(index, tokens, offsets, mean))
    lift = lift_of(index)
    first = passage_vectors(tokens, offsets, lift)
    yield one_vector("mean and a number more: `jmlr.topk.two_steps`", first, lambda q: np.append(q.mean(0), 1))
    for weighted in (False, True):
        yield trained(index, tokens, offsets, lift, others, weighted)
    for count in CLUSTERS:
        held = [clusters(tokens[a:b], count) for a, b in itertools.pairwise(offsets)]
        vectors, cuts = np.concatenate(held), np.concatenate([[0], np.cumsum([len(h) for h in held])])
        taken = 4 * tokens.shape[1] * len(vectors) / len(mean)
        yield one_vector(f"{count} means by k-means: their sum", means(vectors, cuts))
        yield f"{count} means: largest product with the question's mean", taken, best_of(vectors, cuts)
        yield f"{count} means: MaxSim over them", taken, maxsim_of(vectors, cuts)
    yield f"MaxSim over {CENTROIDS} centroids (PLAID)", 2 * len(tokens) / len(mean), coded(tokens, offsets)
    for shape in ENCODINGS:
        made, of_question = encodings(tokens, offsets, shape)
        yield one_vector(
            f"MUVERA, {made.shape[1]:,} dimensions: {shape[0]} x 2^{shape[1]} x {shape[2]}", made, of_question
        )


def measured(way: Way, queries: Array, exact: Array) -> dict[str, Any]:
    """Return what a way finds, and takes."""
    name, taken, score = way
    score(queries[0])
    seconds, found = [], []
    for q, best in zip(queries, exact, strict=True):
        start = time.perf_counter()
        scores = score(q)
        seconds.append(time.perf_counter() - start)
        order = np.argsort(-scores, kind="stable")
        found.append([np.isin(best, order[:n]).mean() for n in FIRST])
    shares = np.array(found)
    error = shares.std(0, ddof=1) / len(shares) ** 0.5
    return {
        "name": name,
        "bytes": taken,
        "ms": 1e3 * statistics.median(seconds),
        "mean": shares.mean(0).tolist(),
        "error": error.tolist(),
    }


def text(result: dict[str, Any]) -> str:
    """Return the figures as the page shows them."""
    lines = [
        f"{result['machine']}, load average {result['load']:.1f}; {result['passages']:,} passages, "
        f"{result['tokens']:,} tokens, n = {result['questions']} questions; the exact {BEST} best:\n",
        f"| first stage | bytes a passage | ms | {' | '.join(f'first {n:,}' for n in FIRST)} |\n|{'---|' * (3 + len(FIRST))}",
    ]
    for way in result["ways"]:
        shares = " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(way["mean"], way["error"], strict=True))
        lines.append(f"| {way['name']} | {way['bytes']:,.0f} | {way['ms']:.2f} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, write the figures, and put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.set_defaults(questions=600)
    parser.add_argument("--passages", type=int, default=6531)
    given = parser.parse_args()
    tokens, offsets, queries = given_vectors(given, given.passages)
    tokens = np.array(tokens)
    judged = np.arange(len(queries)) % JUDGED == 0
    torch.manual_seed(0)
    index = MaxSimIndex.build(tokens, offsets, "bfloat16")
    exact = index.search(queries[judged], BEST)[1]
    result: dict[str, Any] = {"machine": machine(), "load": os.getloadavg()[0], "passages": len(offsets) - 1}
    result |= {"tokens": len(tokens), "questions": int(judged.sum()), "ways": []}
    for way in ways(index, tokens, offsets, queries[~judged]):
        result["ways"].append(measured(way, queries[judged], exact))
        print(json.dumps(result["ways"][-1]), flush=True)
    (HERE / "first_stage.json").write_text(json.dumps(result, indent=1) + "\n")
    put("first_stage", text(result))


if __name__ == "__main__":
    main()
