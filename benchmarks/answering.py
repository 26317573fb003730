"""Questions a second by option log-likelihood: prompts read again or once, adapters by peft or fused.

python benchmarks/answering.py                  # one thread; writes benchmarks/answering.json

1. A random Llama of 4 layers, prompts of 3 passages of up to 160 tokens and a question of up to 128, 4 options of 2 to 8 tokens:
   every option reads its prompt again, or the prompt is read once for all.
2. A random Llama of SmolLM2-135M's shape in bfloat16 with a LoRA adapter, passages of up to 112 tokens (config/runs/openstax.yaml):
   the adapter computed by peft, which casts every input to float32 for it, or as `jmlr.models.adapter` does.

The ways answer the same questions in the same run, in turns, on one thread. What is told: questions per second of CPU time, which
other work on the machine hardly disturbs (the median of the rounds), whether all answers are the same, and the largest difference
of a score.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jmlr.models.adapter import fuse_for_answering
from jmlr.models.forward import answer_token_losses
from jmlr.models.llm import add_adapter
from jmlr.models.prefix import by_length, option_losses

HERE = Path(__file__).resolve().parent
QUESTIONS, BATCH, ROUNDS, VOCABULARY = 64, 32, 3, 6000


def cases(passage: int = 160, question: int = 128) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Return prompts and their options as random tokens; passages and questions have up to so many."""
    rng = random.Random(0)

    def tokens(n: int) -> list[int]:
        return [rng.randrange(4, VOCABULARY) for _ in range(n)]

    prompts = [
        tokens(
            sum(rng.randint(passage * 9 // 16, passage) for _ in range(3)) + rng.randint(question * 5 // 16, question)
        )
        for _ in range(QUESTIONS)
    ]
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


def adapted(fused: bool) -> LlamaForCausalLM:
    """Return a model of SmolLM2-135M's shape with an adapter that says something."""
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                         vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True)  # fmt: skip
    llm = LlamaForCausalLM(config).to(torch.bfloat16)
    llm = add_adapter(llm, rank=8, alpha=16, dropout=0.0, targets=["all-linear"], modules=[]).eval()
    for name, p in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.01)
    if fused:
        fuse_for_answering(llm)
    return llm


def adapters() -> dict[str, Any]:
    """Measure the second table."""
    prompts, options = cases(passage=112, question=48)
    prompts, options = prompts[:BATCH], options[:BATCH]
    models = {"peft": adapted(fused=False), "fused": adapted(fused=True)}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    scores = {}
    for repeat in range(ROUNDS + 1):  # the first warms up
        for name, llm in models.items():
            begun = time.process_time()
            scores[name] = once(llm, prompts, options)
            if repeat:
                seconds[name].append(time.process_time() - begun)
    rate = {name: BATCH / statistics.median(s) for name, s in seconds.items()}
    best = {name: [max(range(4), key=s.__getitem__) for s in held] for name, held in scores.items()}
    same = sum(a == b for a, b in zip(best["peft"], best["fused"], strict=True))
    ratio = round(rate["fused"] / rate["peft"], 2)
    print(f"adapter by peft: {rate['peft']:.2f} questions per CPU second; fused: {rate['fused']:.2f} ({ratio} times)")
    print(f"same answers: {same} of {BATCH}; bfloat16 rounds the two differently")
    return {"questions": BATCH, "questions_per_cpu_s": {k: round(v, 2) for k, v in rate.items()}, "speedup": ratio, "same_answers": same,
            "cpu_seconds": {k: [round(x, 2) for x in v] for k, v in seconds.items()}}  # fmt: skip


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
        "adapter": adapters(), "machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__,
    }  # fmt: skip
    (HERE / "answering.json").write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"every option reads the prompt: {rate['again']:.1f} questions per CPU second; once for all: {rate['once']:.1f} ({found['speedup']} times)"
    )
    print(f"same answers: {found['same_answers']}; largest difference of a score: {apart:.1e} nats")


if __name__ == "__main__":
    main()
