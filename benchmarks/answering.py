"""Questions a second by option log-likelihood: every option reads its prompt again, or the prompt is read once for all.

python benchmarks/answering.py                  # one thread; writes benchmarks/answering.json

A random Llama of the size of config/runs/openstax.yaml, prompts of the lengths found there (3 passages of up to 160 tokens, a
question of up to 128), 4 options of 2 to 8 tokens. Both ways answer the same questions in the same run, in turns, on one
thread. What is told: questions per second of CPU time, which other work on the machine hardly disturbs (the median of the
rounds), whether all answers are the same, and the largest difference of a score.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jmlr.models.forward import answer_token_losses
from jmlr.models.prefix import by_length, option_losses

HERE = Path(__file__).resolve().parent
QUESTIONS, BATCH, ROUNDS, VOCABULARY = 64, 32, 3, 6000


def cases() -> tuple[list[list[int]], list[list[list[int]]]]:
    """Return prompts and their options as random tokens."""
    rng = random.Random(0)

    def tokens(n: int) -> list[int]:
        return [rng.randrange(4, VOCABULARY) for _ in range(n)]

    prompts = [tokens(sum(rng.randint(90, 160) for _ in range(3)) + rng.randint(40, 128)) for _ in range(QUESTIONS)]
    return prompts, [[tokens(rng.randint(2, 8)) for _ in range(4)] for _ in range(QUESTIONS)]


@torch.inference_mode()
def again(llm: LlamaForCausalLM, prompts: list[list[int]], options: list[list[list[int]]]) -> list[list[float]]:
    """Score as it was done before: in the order of the questions, every option behind its whole prompt."""
    scores: list[list[float]] = []
    for begin in range(0, len(prompts), BATCH):
        batch = range(begin, min(begin + BATCH, len(prompts)))
        flat = [(prompts[i], o) for i in batch for o in options[i]]
        losses, rows = answer_token_losses(llm, [p for p, _ in flat], [o for _, o in flat])
        totals = iter(torch.zeros(len(flat)).index_add(0, rows, losses).tolist())
        scores += [[-next(totals) for _ in options[i]] for i in batch]
    return scores


def once(llm: LlamaForCausalLM, prompts: list[list[int]], options: list[list[list[int]]]) -> list[list[float]]:
    """Score as it is done now."""
    scores: list[list[float]] = [[] for _ in prompts]
    for numbers in by_length(prompts, BATCH):
        found = option_losses(llm, [prompts[i] for i in numbers], [options[i] for i in numbers])
        for i, losses in zip(numbers, found, strict=True):
            scores[i] = [-total for total, _ in losses]
    return scores


def main() -> None:
    """Measure, print, keep."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
                         vocab_size=VOCABULARY, max_position_embeddings=1024, tie_word_embeddings=True)  # fmt: skip
    llm = LlamaForCausalLM(config).eval()
    prompts, options = cases()
    ways, seconds, scores = {"again": again, "once": once}, {"again": [], "once": []}, {}
    for way in ways.values():
        way(llm, prompts[:8], options[:8])  # warm
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.process_time()
            scores[name] = way(llm, prompts, options)
            seconds[name].append(time.process_time() - begun)
    rate = {name: QUESTIONS / statistics.median(s) for name, s in seconds.items()}
    best = {name: [max(range(4), key=s.__getitem__) for s in held] for name, held in scores.items()}
    apart = max(
        abs(x - y) for a, b in zip(scores["again"], scores["once"], strict=True) for x, y in zip(a, b, strict=True)
    )
    told = {k: [round(x, 2) for x in v] for k, v in seconds.items()}
    found = {
        "questions": QUESTIONS, "questions_per_cpu_s": {k: round(v, 2) for k, v in rate.items()}, "speedup": round(rate["once"] / rate["again"], 2),
        "same_answers": best["again"] == best["once"], "largest_difference_nats": apart, "cpu_seconds": told,
        "machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__,
    }  # fmt: skip
    (HERE / "answering.json").write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"every option reads the prompt: {rate['again']:.1f} questions per CPU second; once for all: {rate['once']:.1f} ({found['speedup']} times)"
    )
    print(f"same answers: {found['same_answers']}; largest difference of a score: {apart:.1e} nats")


if __name__ == "__main__":
    main()
