"""What can be known to fail before the first job runs: one line each, with the fix. What the data says: jmlr.checks.

check_cluster([Request("train", "gpu", gpus=4)], sinfo())         # a partition, GPUs, cores, memory or time that do not exist
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.runtime import environment
from jmlr.runtime.counting import count_of
from jmlr.runtime.duration import duration
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below
from jmlr.runtime.hub import check_hub
from jmlr.runtime.progress import say
from jmlr.runtime.validation import nearest


@dataclass(frozen=True)
class Request:
    """What a job asks for at its first attempt; several partitions are parted by commas."""

    rule: str
    partition: str = ""
    gpus: int = 0
    nodes: int = 1
    gpu_model: str = ""
    mem_mb: int = 0
    threads: int = 1
    runtime_min: int = 0

    def said(self) -> str:
        """Return the request as a line for people.

        >>> Request("train", "gpu", gpus=4, nodes=2, mem_mb=9000, threads=8, runtime_min=7200).said()
        "train: 4 GPUs (2 nodes), 8 threads, 9000 MB, 7200 min (120 h 00 min), partition 'gpu'"
        """
        gpus = count_of(self.gpus, f"{self.gpu_model} GPU".strip()) + f" ({self.nodes} nodes)" * (self.nodes > 1)
        parts = (
            [gpus] * bool(self.gpus) + [count_of(self.threads, "thread")] + [f"{self.mem_mb} MB"] * bool(self.mem_mb)
        )
        parts += [f"{self.runtime_min} min ({duration(60 * self.runtime_min)})"] * bool(self.runtime_min)
        return f"{self.rule}: {', '.join(parts)}" + f", partition '{self.partition}'" * bool(self.partition)


@dataclass(frozen=True)
class Nodes:
    """One kind of node of a partition."""

    partition: str
    default: bool
    count: int
    gpus: int
    gpu_models: frozenset[str]
    mem_mb: int
    limit_min: float
    cores: int


WHERE = "profiles/slurm/config.yaml"
SINFO = "%P|%D|%m|%G|%l|%c"  # partition, number of nodes, MB, GPUs, time limit, cores
_limits_min: dict[str, float] = {}  # rule -> what its partition allows, once the cluster was asked
_limits_mb: dict[str, float] = {}  # rule -> what the largest node that fits it has


def minutes(rule: str, first: int, attempt: int) -> int:
    """Return the minutes that an attempt asks for: `first` times the attempt, as far as the rule's partition allows.

    >>> minutes("encode", 240, 2)
    480
    """
    return _grown(first, attempt, _limits_min.get(rule, math.inf))


def megabytes(rule: str, first: int, attempt: int) -> int:
    """Return the MB that an attempt asks for: `first` times the attempt, as far as a node has them.

    More than any node has could never be submitted, and an attempt may have ended for other reasons: cancelled, preempted.

    >>> megabytes("encode", 1500, 2)
    3000
    """
    return _grown(first, attempt, _limits_mb.get(rule, math.inf))


def _grown(first: int, attempt: int, limit: float) -> int:
    return int(min(first * attempt, max(first, limit)))


def located(path: str, key: str, local: bool = False) -> str:
    """Return a path of the configuration with its environment variables put in; a local one must exist.

    A name on the hub has at most one slash, and its owner is no folder here; `model:` and `source:` name parts of the run. A
    name that ends with .gguf is a file.
    """
    full = environment.expand(path, f"config: {key}")
    if not full.startswith(("model:", "source:")):
        owner, slash, name = full.partition("/")
        named = full.startswith((".", "/")) or full.endswith(".gguf")
        local = local or named or "/" in name or bool(slash and os.path.isdir(owner))
    if local and not os.path.exists(full):
        raise UserError(
            f"config: {key}: there is no '{full}'" + (f" (from '{path}')" if full != path else "") + _meant(full, key)
        )
    return full


def _meant(path: str, key: str) -> str:
    """Return what to give instead of a path that can only be meant for elsewhere; "" where it may be a mere slip."""
    if re.match(r"\w+://", path):
        if key.startswith("sources."):
            return ": a URL; allowed: a path on this machine, or origin: url"
        hub = key.startswith("models.") or key.endswith("tokenizer")
        return ": a URL; allowed: a path on this machine" + ", or a name on the hub, OWNER/NAME" * hub
    found = re.fullmatch(r"([\w-][\w.-]*)(/[\w.-]+)/(.+\.gguf)", path)
    if found and not os.path.isdir(found[1]):
        fetch = f"hf download {found[1]}{found[2]} {found[3]} --local-dir models"
        return f": a GGUF file is read from this machine; if it is on the hub: `{fetch}`"
    return ""


def files_of(path: str, patterns: Iterable[str] = ()) -> list[str]:
    """Return the files of a local file or folder as inputs, so that Snakemake sees their content; none for a hub name."""
    return [str(p) for p in files_below(Path(path), patterns).values()] if os.path.exists(path) else []


def check_jobs(
    jobs: Iterable[Any], *, local: bool, models: Mapping[str, str] | None = None, overrides: Iterable[str] = ()
) -> None:
    """End the program with one line if cluster, machine or hub cannot give what Snakemake's jobs ask for.

    Args:
        jobs: those that will run
        local: on this machine, not on a cluster
        models: keys of the configuration -> folder or hub name
        overrides: what was given by --config, KEY=VALUE each
    """
    requests = {request_of(job.name, dict(job.resources.items()), job.threads) for job in jobs}
    try:
        check_hub(models or {}, {r.rule for r in requests})
        check_machine(requests) if local else check_cluster(requests, sinfo())
        if not local:
            os.environ.setdefault("SQUEUE_ALL", "1")  # the plugin's squeue else never sees jobs of a hidden partition
            say("\n".join(["first attempts ask for:", *sorted({f"  {r.said()}" for r in requests})]))
            if overrides:
                say(
                    "note: --config; a job that it does not reach unchanged ends with one line in .snakemake/slurm_logs"
                )
    except UserError as error:
        sys.exit(str(error))


def check_machine(requests: Iterable[Request]) -> None:
    """Raise UserError if a job that runs on this machine asks for more GPUs than it has; JMLR_DEVICE=cpu asks for none."""
    device = os.environ.get("JMLR_DEVICE", "")
    have = gpus_here()
    for request in requests:
        wanted = 0 if device.startswith("cpu") else max(request.gpus, int(device.startswith("cuda")))
        if wanted > have:
            reason = f"asks for {request.gpus} GPU(s)" if request.gpus else f"runs with JMLR_DEVICE={device}"
            raise UserError(
                f"{request.rule}: {reason}, but this machine has {have}; set JMLR_DEVICE=cpu to compute on the CPU, "
                "or run where there are GPUs"
            )


def gpus_here() -> int:
    """Return how many GPUs this machine shows, without loading anything that computes."""
    return len([p for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)])


def card_here() -> float:
    """Return the bytes of the largest GPU here that torch computes on, as its driver tells; 0 where there is none."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1", "NoDevFiles")
    if hidden or os.environ.get("JMLR_DEVICE", "").startswith("cpu") or not gpus_here():
        return 0.0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        if importlib.metadata.version("torch").endswith("+cpu"):
            return 0.0
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError, importlib.metadata.PackageNotFoundError):
        return 0.0
    return max((float(n) for n in done.stdout.split() if n.isdigit()), default=0.0) * 2**20


def check_cluster(requests: Iterable[Request], nodes: Iterable[Nodes]) -> None:
    """Raise UserError if no partition that a job names can ever give what it asks for; remember how much a later attempt may ask for."""
    nodes = list(nodes)
    names = {n.partition for n in nodes}
    for request in requests:
        refused: list[str] = []
        able: list[list[Nodes]] = []
        for name in request.partition.split(","):
            if name and name not in names:
                raise UserError(
                    f"{request.rule}: no partition '{name}'{nearest(name, names)}; set slurm_partition in {WHERE}"
                )
            own = [n for n in nodes if (n.partition == name if name else n.default)]
            if not own:
                raise UserError(
                    f"{request.rule}: this cluster has no default partition; set slurm_partition in {WHERE}"
                )
            if reason := refusal(request, own):
                refused.append(reason)
            else:
                able.append(own)
        if not able:
            raise UserError(f"{refused[0]} in {WHERE}")
        _limits_min[request.rule] = max(own[0].limit_min for own in able)
        _limits_mb[request.rule] = max(n.mem_mb for own in able for n in fitting(request, own))


def gpus_each(request: Request) -> int:
    """Return how many GPUs a job asks for on each of its nodes."""
    return -(-request.gpus // request.nodes)


def fitting(request: Request, nodes: list[Nodes]) -> list[Nodes]:
    """Return the nodes that have the GPUs which a job asks for."""
    each, kind = gpus_each(request), request.gpu_model
    return [n for n in nodes if n.gpus >= each and (not each or not kind or kind in n.gpu_models)]


def refusal(request: Request, nodes: list[Nodes]) -> str:
    """Return why a partition of these nodes can never run a job, and what to set; "" if it can."""
    name, each, kind = nodes[0].partition, gpus_each(request), request.gpu_model
    fit = fitting(request, nodes)
    if not fit:
        known = sorted({m for n in nodes for m in n.gpu_models})
        best = f"at most {max(n.gpus for n in nodes)}" + (f" (models: {', '.join(known)})" if known else "")
        asked = f"{each} GPU(s)" + (f" of model '{kind}'" if kind else "") + " on a node"
        return f"{request.rule}: {asked}, but partition '{name}' has {best}; set gpu, gpu_model or slurm_partition"
    count, memory, cores = sum(n.count for n in fit), max(n.mem_mb for n in fit), max(n.cores for n in fit)
    limit = nodes[0].limit_min
    for wanted, most, what, key in (
        (request.nodes, count, "nodes, but partition '{}' has {}", "nodes"),
        (request.mem_mb, memory, "MB, but a node of partition '{}' has {}", "mem_mb of the rule"),
        (request.threads, cores, "threads, but a node of partition '{}' has {} cores", "set-threads"),
        (request.runtime_min, limit, "minutes, but partition '{}' allows {}", "runtime of the rule"),
    ):
        if wanted > most:
            return f"{request.rule}: {wanted} {what.format(name, most)}; set {key} or slurm_partition"
    return ""


def sinfo() -> list[Nodes]:
    """Return the cluster's nodes as `sinfo` tells them, hidden partitions included; raise UserError where there is no cluster to ask."""
    if not shutil.which("sinfo") or not shutil.which("sbatch"):
        raise UserError("--profile slurm: no sinfo and sbatch here; run it on the cluster's login node")
    command = ["sinfo", "--all", "--noheader", "--exact", f"--format={SINFO}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise UserError(f"sinfo: {' '.join(done.stderr.split())}; the cluster does not answer")
    return [parse_nodes(line) for line in done.stdout.splitlines() if line.count("|") == SINFO.count("|")]


def parse_nodes(line: str) -> Nodes:
    """Read one line of `sinfo`.

    >>> parse_nodes("gpu*|4|512000|gpu:h100:8(S:0-1)|2-00:00:00|64").gpus
    8
    """
    partition, count, memory, gres, limit, cores = line.split("|")
    found = re.findall(r"(?:^|,)gpu(?::(?!no_consume:)([^:,(]+))?(?::no_consume)?:(\d+)(?=[(,]|$)", gres)
    models = frozenset(model for model, _ in found if model)
    return Nodes(
        partition=partition.rstrip("*"), default=partition.endswith("*"), count=int(count),
        gpus=sum(int(n) for _, n in found), gpu_models=models, mem_mb=int(memory.rstrip("+")),
        limit_min=minutes_of(limit), cores=int(cores.rstrip("+")),
    )  # fmt: skip


def minutes_of(limit: str) -> float:
    """Return the whole minutes of a time as SLURM writes it; infinite where it writes no number.

    >>> minutes_of("1-12:00:00"), minutes_of("30:00"), minutes_of("infinite")
    (2160, 30, inf)
    """
    days, _, clock = limit.rpartition("-")
    parts = [days or "0", *["0", *clock.split(":")][-3:]]
    if not all(p.isdecimal() for p in parts):
        return math.inf
    return int(parts[0]) * 1440 + int(parts[1]) * 60 + int(parts[2])


def request_of(rule: str, resources: Mapping[str, object], threads: int = 1) -> Request:
    """Return what a job asks for, from Snakemake's resources and threads."""

    def number(name: str, default: int) -> int:
        value = resources.get(name, default)
        return value if isinstance(value, int) else default  # unknown before its input exists

    return Request(
        rule=rule,
        partition=str(resources.get("slurm_partition") or ""),
        gpus=number("gpu", 0),
        nodes=max(1, number("nodes", 1)),
        gpu_model=str(resources.get("gpu_model") or ""),
        mem_mb=number("mem_mb", 0),
        threads=threads,
        runtime_min=number("runtime", 0),
    )
