"""The joint step against its slow twin and against the released code's order of work: in alternation in one process.

python benchmarks/train_cpu.py                  # tiny models on the CPU, float32
python benchmarks/train_cpu.py --minutes 30     # shapes in order; stops when the time is up

Where CUDA is, a language model of Llama's 1B shape with random weights joins in, in bfloat16, with its model FLOPs utilisation. Writes
train_cpu.json beside this file after every shape, then the tables of docs/llm_rank.md. All contestants make the same optimiser step;
tests/unit/training compares twin and fast step in float64. Peak memory: one step's, above models and optimiser, in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tables.train import PHASES, REPEATS, table
from torch import nn

import jmlr.training.step as fast
from jmlr.corpus.prompt import Prompter
from jmlr.inference.questions import Question
from jmlr.losses.llm_rank import llm_rank, sample, scale
from jmlr.models import attention
from jmlr.models.adapter import fuse_lora
from jmlr.models.dense import DenseRetriever
from jmlr.models.forward import causal
from jmlr.models.llm import add_adapter
from jmlr.options import ReadingOptions, TrainOptions
from jmlr.runtime.devices import has_bf16
from jmlr.runtime.precision import Precision
from jmlr.training.optimiser import make_optimiser
from jmlr.training.reference import answer_loss, reference_step

PAGE = Path(__file__).resolve().parents[1] / "docs/llm_rank.md"
CONTESTANTS = ("fast", "fast bf16", "twin", "released")


@dataclass(frozen=True)
class Shape:
    """Sizes of models and data; lengths are drawn evenly from [low, high]."""

    name: str
    llm: tuple[int, int, int, int, int]  # width, inner width, layers, heads, key-value heads
    vocabulary: int
    retriever: tuple[int, int, int, int]  # width, inner width, layers, heads
    batch: int
    candidates: int
    samples: int
    passages: int
    passage_tokens: tuple[int, int]
    question_tokens: tuple[int, int]
    answer_tokens: tuple[int, int]
    precision: Precision = "float32"


SHAPES = (
    Shape("demo", (128, 256, 2, 4, 4), 2000, (96, 192, 1, 4), 16, 30, 10, 3, (20, 50), (20, 50), (2, 5)),
    Shape("7 M", (256, 688, 4, 4, 4), 16000, (128, 512, 2, 2), 8, 30, 10, 5, (60, 128), (40, 120), (2, 8)),
)
GPU_SHAPE = Shape(
    "1B", (2048, 8192, 16, 32, 8), 128256, (384, 1536, 6, 12), 8, 30, 10, 7, (100, 512), (100, 300), (2, 8), "bfloat16"
)


class Wordless(SimpleNamespace):
    """The tokenizer of prompts without words of their own."""

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        """Return no tokens."""
        return {"input_ids": [[] for _ in texts]}


class Texts:
    """Passages of random tokens, in the place of `jmlr.inference.questions.Passages`."""

    def __init__(self, shape: Shape, rng: np.random.Generator, count: int) -> None:
        self.kept = None
        tokenizer = Wordless(bos_token_id=1, eos_token_id=2)
        reading = ReadingOptions(answer_prompt="", llm_tokens=8192)
        self.prompter = Prompter(tokenizer, **reading.model_dump(exclude={"llm_precision"}))
        self._llm = [tokens(rng, shape.passage_tokens, shape.vocabulary) for _ in range(count)]
        self._retriever = [[t % 2000 for t in ids] for ids in self._llm]

    def for_llm(self, row: int) -> list[int]:
        """Return what the LLM reads."""
        return self._llm[row]

    def for_retriever(self, row: int) -> list[int]:
        """Return what the retriever encodes."""
        return self._retriever[row]


def tokens(rng: np.random.Generator, lengths: tuple[int, int], vocabulary: int) -> list[int]:
    """Return random token ids."""
    return rng.integers(3, vocabulary, rng.integers(lengths[0], lengths[1] + 1)).tolist()


@dataclass
class Bench:
    """Models, data and optimiser of one shape."""

    shape: Shape
    llm: Any
    retriever: DenseRetriever
    texts: Texts
    batch: list[Question]
    optimiser: torch.optim.Optimizer
    settings: fast.StepSettings

    @classmethod
    def make(cls, shape: Shape, where: str, contestant: str) -> Bench:
        """Make everything at random, from one seed."""
        from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

        attention.install()  # as whatever loads a model does
        torch.manual_seed(0)
        width, inner, layers, heads, kv = shape.llm
        config = LlamaConfig(
            vocab_size=shape.vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv, max_position_embeddings=8192, tie_word_embeddings=True,
        )  # fmt: skip
        llm = LlamaForCausalLM(config).to(where, getattr(torch, shape.precision))
        llm = add_adapter(llm, rank=8, alpha=16, dropout=0.0, targets=["all-linear"], modules=[])
        if contestant.startswith("fast"):
            fuse_lora(llm)
        width, inner, layers, heads = shape.retriever
        encoder = BertModel(BertConfig(
            vocab_size=2000, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ), add_pooling_layer=False)  # fmt: skip
        retriever = DenseRetriever(encoder, None, max_tokens=512).to(where)
        rng = np.random.default_rng(0)
        count = shape.batch * shape.candidates
        texts = Texts(shape, rng, count)
        rows = rng.permutation(count).reshape(shape.batch, shape.candidates).tolist()
        v, asked, answered = shape.vocabulary, shape.question_tokens, shape.answer_tokens
        scores, draw = [0.0] * shape.candidates, partial(tokens, rng)
        batch = [
            Question(n, draw((10, 40), 2000), draw(asked, v), [*draw(answered, v), 2], row, scores, frozenset())
            for n, row in enumerate(rows)
        ]
        options = {
            **TrainOptions(sampling_temperature=1.0).model_dump(),
            "target": "llm_rank",
            "samples": shape.samples,
            "passages": shape.passages,
            "llm_answer_tokens": 16,
            "forward_tokens": 16384 if shape.precision == "bfloat16" else 2048,  # parts that fit the cache of a CPU
            "train_precision": "bfloat16" if "bf16" in contestant else shape.precision,
            "passage_order": "best_last",
        }
        settings = fast.StepSettings.of(options)
        optimiser, _ = make_optimiser(
            llm, retriever, llm_learning_rate=0.0, retriever_learning_rate=0.0, weight_decay=0.0
        )  # rates of 0: the work of a step, and the same weights for all
        return cls(shape, llm.train(), retriever, texts, batch, optimiser, settings)

    def step(self, contestant: str) -> float:
        """Make one optimiser step and return the sum of both losses."""
        arguments = (self.llm, self.retriever, self.texts, self.batch, self.settings, 0, 0, True)
        if contestant.startswith("fast"):
            result = fast.joint_step(*arguments, backward=torch.Tensor.backward)
            total = result.loss_lm + result.loss_rank
        elif contestant == "twin":
            with self.precision():
                result = reference_step(*arguments)
                total = result.loss_lm + result.loss_rank
            total.backward()
        else:
            total = torch.stack([self.released(question) for question in self.batch]).sum()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(total.detach())

    def released(self, question: Question) -> torch.Tensor:
        """Compute one question as the released code does: one passage after another, whole logits, a backward pass for each question."""
        with self.precision():
            encoded = self.retriever.encode([self.texts.for_retriever(row) for row in question.candidates])
            scores = (self.retriever.encode([question.query]) @ encoded.T).float()
            scaled = scale(scores)
            noise = fast.noise([question], self.settings, 0, 0).to(scores.device)
            columns, picked = sample(scaled, self.settings.samples, self.settings.sampling_temperature, noise)
            self.llm.eval()
            with torch.no_grad():
                losses = [
                    answer_loss(self.llm, self.texts, question, [question.candidates[c]], self.settings)
                    for c in columns[0].tolist()
                ]
            self.llm.train()
            loss = llm_rank(scaled.gather(1, columns), torch.stack(losses)[None], picked)
            best = scores[0].argsort(descending=True, stable=True)[: self.settings.passages].flip(0).tolist()
            loss = loss + answer_loss(
                self.llm, self.texts, question, [question.candidates[c] for c in best], self.settings
            )
        loss = loss / len(self.batch)
        loss.backward()
        return loss.detach()

    def precision(self) -> torch.autocast:
        """Return the precision that the shape asks for."""
        return fast.autocast(next(self.llm.parameters()).device, self.shape.precision)

    def model_flops(self) -> dict[str, float]:
        """Return the operations that the method needs, by phase; padding and recomputation not counted.

        A multiply-add is two. Linear layers: 2 a weight and token forward, 2 more backward to their input, 2 more where they are
        trained; the head at the answers' positions alone; causal attention half of the square.
        """
        base, adapter, head = 0, 0, causal(self.llm).get_output_embeddings().weight.numel()
        for name, module in self.llm.named_modules():
            if isinstance(module, nn.Linear) and "lm_head" not in name:
                trained = module.weight.requires_grad
                adapter, base = adapter + trained * module.weight.numel(), base + (not trained) * module.weight.numel()
        encoder = sum(m.weight.numel() for m in self.retriever.modules() if isinstance(m, nn.Linear))
        width, layers = self.shape.llm[0], self.shape.llm[2]
        passages = np.mean([len(self.texts.for_llm(r)) for q in self.batch for r in q.candidates])
        judged = read = scored = 0.0
        attention = {1: 0.0, self.shape.passages: 0.0}
        head_tokens = 0
        for q in self.batch:
            own = len(q.prompt) + len(q.answer) + 1
            judged += self.shape.samples * (own + passages)
            read += own + self.shape.passages * passages
            scored += self.shape.candidates * passages
            head_tokens += len(q.answer)
            for k in attention:
                attention[k] += 2 * layers * width * (own + k * passages) ** 2
        samples, passages_read = self.shape.samples, self.shape.passages
        again = (samples + 2) / self.shape.candidates * scored
        return {
            "teacher_losses": 2 * (base + adapter) * judged + samples * (attention[1] + 2 * head * head_tokens),
            "read_and_answer": (4 * base + 6 * adapter) * read + 3 * attention[passages_read] + 4 * head * head_tokens,
            "score_candidates": 2 * encoder * scored,
            "score_again": 4 * encoder * again,
        }


@contextmanager
def phases(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of the fast step's phases; of loss_rank's backward pass and of the optimiser nothing is taken."""
    kept = {name: getattr(fast, name) for name in PHASES}

    def timed(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return kept[name](*arguments, **named)
            finally:
                synchronize()
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start

        return call

    for name in PHASES:
        setattr(fast, name, timed(name))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(fast, name, function)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(shape: Shape, where: str) -> dict[str, Any]:
    """Return the figures of one shape."""
    beside = shape.precision == "float32" and has_bf16(torch.device(where))
    names = [name for name in CONTESTANTS if name != "fast bf16" or beside]
    made = {name: Bench.make(shape, where, name) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, float] = {}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name in names:
            synchronize()
            start = time.perf_counter()
            losses[name] = made[name].step(name)
            synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    shares: dict[str, float] = {}
    with phases(shares):
        start = time.perf_counter()
        made["fast"].step("fast")
        synchronize()
        shares["loss_rank's backward pass, optimiser"] = time.perf_counter() - start - sum(shares.values())
    flops = {k: float(v) for k, v in made["fast"].model_flops().items()}
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "shape": asdict(shape),
        "device": torch.cuda.get_device_name() if where == "cuda" else processor(),
        "losses": losses,
        "median_s": medians,
        "questions_per_s": {name: shape.batch / s for name, s in medians.items()},
        "peak_bytes": {name: peak(shape, where, name) for name in names},
        "phase_s": shares,
        "model_flops": flops,
        "flops_per_s": sum(flops.values()) / medians["fast"],
        "ceiling_flops_per_s": ceiling(where, shape.precision),
    }


def ceiling(where: str, precision: Precision) -> float:
    """Return the floating-point operations per second of large matrix products on this device: the best of ten."""
    n = 8192 if where == "cuda" else 2048
    x = torch.randn(n, n, device=where, dtype=getattr(torch, precision))
    best = 0.0
    for _ in range(10):
        synchronize()
        start = time.perf_counter()
        x @ x
        synchronize()
        best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


def peak(shape: Shape, where: str, contestant: str) -> int:
    """Return the peak of memory of one step above what stands before it, measured in a process of its own."""
    words = [sys.executable, __file__, "--peak", shape.name, "--contestant", contestant, "--where", where]
    env = os.environ | {f"MALLOC_{what}_THRESHOLD_": "1048576" for what in ("MMAP", "TRIM")}  # what is freed goes back
    return int(subprocess.run(words, check=True, capture_output=True, text=True, env=env).stdout.split()[-1])


def peak_here(shape: Shape, where: str, contestant: str) -> int:
    """Return the same, measured in this process."""
    bench = Bench.make(shape, where, contestant)
    bench.step(contestant)
    gc.collect()
    if where == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        bench.step(contestant)
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # glibc: what the step before freed
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux)
    before = status("VmRSS")
    bench.step(contestant)
    return status("VmHWM") - before


def status(key: str) -> int:
    """Return a number of bytes that Linux keeps about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(key + ":")))


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def main() -> None:
    """Measure, write the figures, and put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further shape after so long")
    parser.add_argument("--peak", help="measure the peak of one contestant on this shape, and print it")
    parser.add_argument("--contestant", choices=CONTESTANTS, default="fast")
    parser.add_argument("--where", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(threads := len(os.sched_getaffinity(0)))
    if given.peak:
        print(peak_here(next(s for s in (*SHAPES, GPU_SHAPE) if s.name == given.peak), given.where, given.contestant))
        return
    end = time.monotonic() + 60 * given.minutes
    result: dict[str, Any] = {"threads": threads, "versions": {"torch": torch.__version__}, "cells": []}
    for shape in (*SHAPES, *([GPU_SHAPE] if torch.cuda.is_available() else [])):
        if result["cells"] and time.monotonic() > end:
            break
        result["cells"].append(measure(shape, "cuda" if shape is GPU_SHAPE else "cpu"))
        result["load"] = os.getloadavg()[0]
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    text = "\n".join(table(result))
    head, _, rest = PAGE.read_text().partition("<!-- train_cpu begin -->")
    tail = rest.partition("<!-- train_cpu end -->")[2]
    PAGE.write_text(f"{head}<!-- train_cpu begin -->\n{text}\n<!-- train_cpu end -->{tail}")
    print(text)


if __name__ == "__main__":
    main()
