"""Where computation runs, and in which precision. What is asked for and missing raises; what is chosen by itself is said once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import say


def device() -> torch.device:
    """Return the device named by JMLR_DEVICE, else the first GPU, else the CPU."""
    # oneDNN and torch keep a compiled kernel for each shape they meet, by default the last 1,024: a gigabyte where every
    # batch has another length. 256 hold the shapes that come again (jmlr.models.parts).
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "256")
    wanted = os.environ.get("JMLR_DEVICE", "")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"JMLR_DEVICE={wanted}: torch {torch.__version__} sees no CUDA device here; unset it to use the CPU"
        )
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # a scheduler says so which GPUs a job has
    if not wanted and given not in ("", "-1", "NoDevFiles") and not torch.cuda.is_available():
        raise UserError(
            f"this job was given GPUs (CUDA_VISIBLE_DEVICES={given}), but torch {torch.__version__} sees none; install a torch "
            "with CUDA, or set JMLR_DEVICE=cpu to compute on the CPU"
        )
    chosen = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not wanted and chosen.type == "cuda":
        say(f"device: {torch.cuda.get_device_name(chosen)}")
    return chosen


@functools.cache
def has_bf16(where: torch.device) -> bool:
    """Tell whether the hardware multiplies bfloat16 matrices fast (GPU sm_80 and later; CPU AVX-512 BF16 or AMX)."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(where: torch.device, precision: Precision) -> torch.autocast:
    """Return the context of a computation: bfloat16's where it is asked for and the hardware has it, else one that does nothing.

    That bfloat16 was asked for and is not there is said once.
    """
    wanted = precision == "bfloat16"
    if wanted and not has_bf16(where):
        _say_float32(where.type)
    return torch.autocast(where.type, torch.bfloat16, enabled=wanted and has_bf16(where))


@functools.cache
def _say_float32(kind: str) -> None:
    say(f"device: this {kind} has no fast bfloat16; computing in float32")


@contextmanager
def no_subnormals() -> Iterator[None]:
    """Take subnormal numbers for zero on this thread and those it starts: a trained attention has many, and CPUs are slow with them.

    At the end the thread does again what it did before.
    """
    before = (torch.tensor(1e-39) * 1.0).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
