"""Several processes for one training, or one answering: who they are, and what they tell each other.

    torchrun --nproc-per-node=2 -m jmlr train ...          # one node
    srun --ntasks-per-node=2 jmlr train ...                # SLURM starts every rank itself

    with joined() as ranks:                                # a single process joins nothing, and all below costs nothing
        add_up(gradients)

What is read from the environment, and nothing else:

* RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, as torchrun sets them. torchrun may be started by SLURM, once on every
  node: `srun --ntasks-per-node=1 torchrun --nnodes=$SLURM_NNODES --nproc-per-node=G --rdzv-backend=c10d
  --rdzv-endpoint=HOST:PORT -m jmlr train ...`.
* Without RANK, and where `srun` started more than one task of this step: SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID,
  SLURM_STEP_NODELIST (its first node becomes MASTER_ADDR) and SLURM_JOB_ID (MASTER_PORT = 20000 + id % 20000); a MASTER_ADDR or
  MASTER_PORT that is set stands. A batch script's own SLURM_NTASKS is not looked at: there only one task has started yet.

Rank r of a node computes on its r-th visible GPU (NCCL), or on the CPU (gloo). The scratch folder must be on a file system that
all nodes see. Signals: every rank that gets SIGTERM, SIGINT or SIGUSR1 makes all ranks stop after the same step, once rank 0 has saved
the state. `srun` passes signals to all ranks. torchrun passes SIGTERM on and kills its ranks 30 s later; it dies of SIGUSR1
unless TORCHELASTIC_SIGNALS_TO_HANDLE names it (`SIGTERM,SIGINT,SIGUSR1,SIGHUP`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from jmlr.runtime import progress
from jmlr.runtime.errors import UserError

K = TypeVar("K")
V = TypeVar("V")
BUCKET_NUMBERS = 1 << 24  # gradients are exchanged in flat pieces of about this many numbers


@dataclass(frozen=True)
class Ranks:
    """This process among those of the job: its number, their count, its number on its node."""

    rank: int = 0
    size: int = 1
    local: int = 0


def from_environment(env: Mapping[str, str]) -> tuple[Ranks, dict[str, str]]:
    """Return who this process is, and MASTER_ADDR and MASTER_PORT; see the module's description.

    Raises:
        UserError: a variable is missing or no number.
    """
    if "RANK" in env:
        ranks = Ranks(*(_number(env, k) for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        place = {k: env.get(k, "") for k in ("MASTER_ADDR", "MASTER_PORT")}
    elif int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        ranks = Ranks(*(_number(env, k) for k in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")))
        port = 20000 + _number(env, "SLURM_JOB_ID") % 20000
        place = {
            "MASTER_ADDR": env.get("MASTER_ADDR") or first_host(env.get("SLURM_STEP_NODELIST", "")),
            "MASTER_PORT": env.get("MASTER_PORT") or str(port),
        }
    else:
        return Ranks(), {}
    missing = [k for k, v in place.items() if not v]
    if missing and ranks.size > 1:
        raise UserError(f"{ranks.size} ranks, but {missing[0]} is not set; start them with torchrun or srun")
    return ranks, place


def _number(env: Mapping[str, str], key: str) -> int:
    value = env.get(key, "")
    if not value.isdigit():
        raise UserError(
            f"{key}='{value}': a number is needed to find the other ranks; start them with torchrun or srun"
        )
    return int(value)


def first_host(nodes: str) -> str:
    """Return the first host of SLURM's compressed list.

    >>> first_host("gpu[07-09,12],login")
    'gpu07'
    """
    found = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else ""


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other ranks for the length of a block; a single process goes through unchanged, as does who has joined already."""
    if current().size > 1:
        yield current()
        return
    ranks, place = from_environment(os.environ)
    if ranks.size == 1:
        yield ranks
        return
    os.environ.update(place)
    gpu = torch.cuda.is_available() and not os.environ.get("JMLR_DEVICE", "").startswith("cpu")
    if gpu:
        if ranks.local >= torch.cuda.device_count():
            raise UserError(
                f"rank {ranks.rank} is number {ranks.local} of its node, which shows {torch.cuda.device_count()} GPUs; "
                "start one rank for each GPU"
            )
        torch.cuda.set_device(ranks.local)
    dist.init_process_group("nccl" if gpu else "gloo", rank=ranks.rank, world_size=ranks.size)
    progress.mute(ranks.rank > 0)
    try:
        yield ranks
        dist.barrier()
    finally:
        progress.mute(False)
        dist.destroy_process_group()


def current() -> Ranks:
    """Return who this process is in the joined group; a lone one is rank 0 of 1."""
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def wait_for_all() -> None:
    """Wait until every rank is here."""
    if current().size > 1:
        dist.barrier()


def add_up(tensor: Tensor) -> Tensor:
    """Add up a tensor over all ranks, in place."""
    if current().size > 1:
        dist.all_reduce(tensor)
    return tensor


def any_rank(where: torch.device, *told: bool) -> list[bool]:
    """Return of each thing whether any rank says so; a lone process says it itself."""
    if current().size == 1:
        return list(told)
    return [n > 0 for n in add_up(torch.tensor(told, dtype=torch.int32, device=where)).tolist()]


def add_up_gradients(parameters: Iterable[Tensor]) -> None:
    """Add up the gradients of all ranks, in place; a parameter that has none anywhere keeps none.

    A plain sum, instead of a wrapper around each model: the two losses reach different models, some steps have one loss only, and what
    is trained is small beside what is computed. Ranks may hold gradients of different parameters; the others count as zero. A
    parameter that is cut over the ranks is left out: its backward pass has added up.
    """
    if current().size == 1:
        return
    trained = [p for p in parameters if p.requires_grad and not hasattr(p, "full_tensor")]
    if not trained:
        return
    has = add_up(torch.tensor([p.grad is not None for p in trained], dtype=torch.int32, device=trained[0].device))
    moved = [p for p, n in zip(trained, has.tolist(), strict=True) if n]
    for piece in _pieces(moved):
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in piece])
        add_up(flat)
        for p, g in zip(piece, flat.split([p.numel() for p in piece]), strict=True):
            p.grad = g.view_as(p).clone()


def _pieces(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Group parameters of one type into pieces of a bounded size, in order."""
    piece: list[Tensor] = []
    for p in parameters:
        if piece and (p.dtype != piece[0].dtype or sum(q.numel() for q in piece) + p.numel() > BUCKET_NUMBERS):
            yield piece
            piece = []
        piece.append(p)
    if piece:
        yield piece


def from_all(own: dict[K, V]) -> dict[K, V]:
    """Return what all ranks found, of which each has another part; a lone process has all."""
    if current().size == 1:
        return own
    found: list[dict[K, V]] = [{} for _ in range(current().size)]
    dist.all_gather_object(found, own)
    return {k: v for part in found for k, v in part.items()}


def same_everywhere(number: int, what: str, hint: str) -> int:
    """Return a number that all ranks must agree on.

    Raises:
        UserError: they do not.
    """
    if current().size > 1:
        found: list[int] = [0] * current().size
        dist.all_gather_object(found, number)
        if len(set(found)) > 1:
            raise UserError(f"the ranks do not agree on {what}: {found}; {hint}")
    return number
