"""What a joint step takes at the least: its own products and attention, replayed without anything between them.

python benchmarks/train_floor.py --batch 8

The step of SmolLM2's and MiniLM's shapes in bfloat16 runs once while every call of a matrix product or of attention, forward and backward,
is noted with its arguments; calls of like shapes are then repeated alone, and their medians added up. No order of the same work by the same
kernels can be faster. Writes train_floor.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from train_cpu import Bench, Shape, processor

KERNELS = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu")
REPEATS = 5


class Noted(TorchDispatchMode):
    """Counts the calls of kernels by their shapes, and keeps the arguments of the first of each."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[Any] = Counter()
        self.kept: dict[Any, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call, and make it."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name.removesuffix("_backward") in KERNELS:
            key = (name, tuple(_form(x) for x in tree_flatten((args, kwargs))[0]))
            self.times[key] += 1
            if key not in self.kept:
                copies = [x.clone() if isinstance(x, torch.Tensor) else x for x in args]
                self.kept[key] = func, [_like(c, x) for c, x in zip(copies, args, strict=True)], kwargs
        return func(*args, **kwargs)


def _form(x: Any) -> Any:
    return (tuple(x.shape), x.dtype, x.stride()) if isinstance(x, torch.Tensor) else x


def _like(copy: Any, x: Any) -> Any:
    """Return a copy that lies in memory as the original did."""
    if not isinstance(x, torch.Tensor) or copy.stride() == x.stride():
        return copy
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).copy_(x)


def main() -> None:
    """Measure step and kernels in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="questions of a step")
    parser.add_argument("--layers", type=int, default=30, help="layers of the LLM")
    arguments = parser.parse_args()
    shape = Shape(
        "SmolLM2", (576, 1536, arguments.layers, 9, 3), 49152, (384, 1536, 6, 12), arguments.batch, 20, 8, 2,
        (90, 112), (40, 96), (2, 8), "bfloat16",
    )  # fmt: skip
    bench = Bench.make(shape, "cpu", "fast")
    bench.step("fast")
    with Noted() as noted, torch.no_grad(), torch.enable_grad():
        bench.step("fast")
    steps, floors = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        bench.step("fast")
        steps.append(time.perf_counter() - start)
        floors.append(dict.fromkeys(sorted({key[0] for key in noted.times}), 0.0))
        for key, (func, args, kwargs) in noted.kept.items():
            taken = []
            for _ in range(3):
                start = time.perf_counter()
                func(*args, **kwargs)
                taken.append(time.perf_counter() - start)
            floors[-1][key[0]] += statistics.median(taken) * noted.times[key]
    step = statistics.median(steps)
    parts = {name: statistics.median(f[name] for f in floors) for name in floors[0]}
    floor = sum(parts.values())
    result = {
        "processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__, "batch": arguments.batch,
        "step_s": step, "kernels_s": parts, "floor_s": floor, "share": floor / step, "flops": sum(bench.model_flops().values()),
    }  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{result['processor']}, {result['threads']} threads: a step {step:.2f} s, its products and attention alone {floor:.2f} s ({floor / step:.0%})"
    )
    for name, seconds in sorted(parts.items(), key=lambda pair: -pair[1]):
        print(f"  {name}: {seconds:.2f} s in {sum(n for key, n in noted.times.items() if key[0] == name):,} calls")


if __name__ == "__main__":
    main()
