"""Shapes and adversarial tokens that exact MaxSim is tested with, on the CPU and on a GPU."""

import numpy as np

STORAGES = ("float32", "bfloat16", "int8")
# (N, longest passage, B, T, D, k): no passages, no queries, k of 0 and past N; passages of one token and longer than
# three tiles; T of one, of less and more than a panel; D that fills no vector
SHAPES = [(0, 1, 2, 3, 5, 4), (3, 4, 1, 1, 1, 7), (20, 9, 0, 4, 8, 3), (30, 5, 2, 40, 33, 0), (60, 1, 3, 17, 129, 5)]
SHAPES += [(40, 300, 2, 32, 16, 6), (150, 12, 9, 7, 31, 4), (200, 30, 3, 40, 24, 9), (90, 8, 2, 70, 128, 11)]
KINDS = ("all passages equal", "small integers", "one ulp apart", "negative maxima", "huge and tiny", "overflow")
KINDS += ("denormal", "zero tokens", "one token dominates", "equal passages of other lengths")


def same_bits(found, expected):
    assert found[0].dtype == np.float32
    assert found[1].dtype == np.int64
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()


def corpus(rng, passages, longest):
    lengths = rng.integers(1, longest + 1, passages)
    if passages > 2:
        lengths[:2] = 1, longest
    return np.concatenate([[0], np.cumsum(lengths)])


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def adversarial(rng, kind, offsets, dim):
    """Return (tokens [M, D], query_tokens [3, 5, D])."""
    x, q = normal(rng, offsets[-1], dim), np.abs(normal(rng, 3, 5, dim))
    if kind == "all passages equal":
        x[:] = x[0]
    elif kind == "small integers":
        x, q = np.round(x), np.round(q)
    elif kind == "one ulp apart":
        x[:] = np.abs(x[0])
        rows = np.arange(len(x))
        x[rows, rows % dim] = np.nextafter(x[0, rows % dim], np.float32(9))
    elif kind == "negative maxima":
        x = -np.abs(x)
    elif kind == "huge and tiny":
        x = (x.clip(-3, 3) * 10.0 ** rng.integers(-45, 38, (len(x), 1))).astype(np.float32)
    elif kind == "overflow":  # each product fits float32, but neither their sums nor the queries' tokens together
        x, q = (x.clip(-3, 3) * 1e18).astype(np.float32), (q.clip(0, 3) * 4e19).astype(np.float32)
    elif kind == "denormal":
        x, q = (x * 1e-41).astype(np.float32), q * np.float32(1e25)
    elif kind == "zero tokens":
        x[::2] = 0
    elif kind == "one token dominates":
        x[len(x) // 2] *= 1e6
    elif kind == "equal passages of other lengths":  # the same two tokens, repeated: all scores tie
        x[:] = np.where((np.arange(len(x)) % 2)[:, None], x[1], x[0])
    return x, q
