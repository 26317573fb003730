"""What a training's options leave to the data and the device: how many steps, how long a warm-up, how much at a time.

>>> steps_in_all(TrainOptions(epochs=3.0, batch=8), questions=49, rounds=2)
19
>>> warmup_steps(TrainOptions(), steps=19), warmup_steps(TrainOptions(warmup_steps=10), steps=19)
(1, 10)
"""

from __future__ import annotations

import math

from jmlr.options import TrainOptions

CPU_TOKENS, GPU_TOKENS = 2048, 16384  # a part that fits the cache; one that fills a card (docs/llm_rank.md)
MOST_WARMUP = 100


def steps_in_all(options: TrainOptions, *, questions: int, rounds: int) -> int:
    """Return the optimiser steps of all rounds together: what `steps` says, else `epochs` passes over the questions."""
    if options.steps is not None:
        return options.steps
    return max(rounds, math.ceil(options.epochs * questions / options.batch))


def warmup_steps(options: TrainOptions, *, steps: int) -> int:
    """Return the steps in which a round of `steps` reaches its peak rates."""
    return min(MOST_WARMUP, steps // 10) if options.warmup_steps is None else options.warmup_steps


def tokens_at_once(kind: str) -> int:
    """Return the most tokens, padding included, that one forward pass should compute on a device of this kind, "cpu" or another."""
    return CPU_TOKENS if kind == "cpu" else GPU_TOKENS


def forward_tokens(options: TrainOptions, kind: str) -> int:
    """Return the same where a training may say otherwise."""
    return options.forward_tokens or tokens_at_once(kind)
