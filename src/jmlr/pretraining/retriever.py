"""Unsupervised training of a retriever by the inverse cloze task (Lee et al. 2019, arXiv 1906.00300).

A sentence taken out of a passage must find the rest of it among the other passages of the batch. Random words around the
sentence make the encoder ignore words that say nothing, as those of a vignette do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from jmlr.models.one_encoder import OneEncoder
from jmlr.runtime.devices import autocast, no_subnormals
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import Progress
from jmlr.runtime.seeds import python_random, seed_torch
from jmlr.training.optimiser import learning_rate_factor, set_learning_rates

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """Split a passage at sentence ends."""
    return [s for s in SENTENCE_END.split(text) if s.strip()]


@no_subnormals()
def pretrain_retriever(
    retriever: OneEncoder,
    passages: Sequence[str],
    *,
    seed: int,
    steps: int,
    batch: int,
    max_tokens: int,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    noise_words: int,
    temperature: float,
    precision: Precision,
) -> dict[str, float]:
    """Train in place; return the mean contrastive loss of the last tenth."""
    pieces = [p for p in map(sentences, passages) if len(p) > 1]
    if len(pieces) < batch:
        raise UserError(f"pretrain: {len(pieces)} passages of two sentences or more, fewer than batch = {batch}")
    optimiser = torch.optim.AdamW(retriever.parameters(), lr=learning_rate, weight_decay=weight_decay)
    optimiser.param_groups[0]["peak"] = learning_rate
    words = plain_words(retriever)
    progress = Progress("pretrain retriever", steps)
    where = next(retriever.parameters()).device
    seed_torch(seed, "pretrain")
    retriever.train()
    tail: list[float] = []
    gold = torch.arange(batch, device=where)
    every = gold.expand(batch, batch)
    for step in range(steps):
        set_learning_rates(optimiser, learning_rate_factor(step, steps, warmup=warmup_steps, since=step, floor=0.05))
        rng = python_random(seed, "cloze", step)
        pairs = [_pair(rng, p, words, noise_words) for p in rng.sample(pieces, batch)]
        with autocast(where, precision):
            queries = retriever.encode(retriever.tokenize([q for q, _ in pairs], max_tokens, "query"), "query")
            found = retriever.encode(retriever.tokenize([p for _, p in pairs], max_tokens))
        scores = retriever.interact(queries, found, every) / temperature  # [B, B]
        loss = (F.cross_entropy(scores, gold) + F.cross_entropy(scores.T, gold)) / 2
        loss.backward()
        nn.utils.clip_grad_norm_(retriever.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        progress.step(1, {"loss": loss.item()})
        if step >= int(steps * 0.9):
            tail.append(loss.item())
    retriever.eval()
    return {"loss": sum(tail) / len(tail)}


def plain_words(retriever: OneEncoder) -> list[str]:
    """Return the tokenizer's whole words: what noise is drawn from."""
    special = set(retriever.tokenizer.all_special_tokens)
    return sorted(t for t in retriever.tokenizer.get_vocab() if t.isalnum() and t not in special)


def _pair(rng: random.Random, pieces: list[str], words: list[str], noise: int) -> tuple[str, str]:
    """Take one sentence out of a passage and put random words around it."""
    taken = rng.randrange(len(pieces))
    left, right = ([rng.choice(words) for _ in range(rng.randint(0, noise))] for _ in range(2))
    return " ".join([*left, pieces[taken], *right]), " ".join(p for i, p in enumerate(pieces) if i != taken)
