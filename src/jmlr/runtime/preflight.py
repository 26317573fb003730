"""What can be known to fail before the first job runs: one line each, with the mend.

check_corpus("sources.notes", [Path("notes/a.jsonl")])            # a corpus without a passage
check_cluster([Request("train", "gpu", gpus=4)], sinfo())         # a partition, a GPU or memory that does not exist
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jmlr.runtime import environment
from jmlr.runtime.errors import UserError
from jmlr.runtime.validation import nearest


@dataclass(frozen=True)
class Request:
    """What a job asks for."""

    rule: str
    partition: str = ""
    gpus: int = 0
    nodes: int = 1
    gpu_model: str = ""
    mem_mb: int = 0


@dataclass(frozen=True)
class Nodes:
    """One kind of node of a partition."""

    partition: str
    default: bool
    count: int
    gpus: int
    gpu_models: frozenset[str]
    mem_mb: int


def located(path: str, key: str, local: bool = False) -> str:
    """Return a path of the configuration with its environment variables put in; a local one must exist."""
    full = environment.expand(path, f"config: {key}")
    if (local or os.path.isabs(full) or full.startswith(".")) and not os.path.exists(full):
        raise UserError(f"config: {key}: there is no '{full}'" + (f" (from '{path}')" if full != path else ""))
    return full


def files_of(path: str, patterns: Iterable[str] = ()) -> list[str]:
    """Return the files of a local file or folder as inputs, so that Snakemake sees their content; none for a hub name."""
    if os.path.isfile(path):
        return [path]
    patterns = list(patterns)
    names = (str(f.relative_to(path)) for f in Path(path).rglob("[!.]*") if f.is_file())
    return sorted(os.path.join(path, n) for n in names if not patterns or any(fnmatchcase(n, p) for p in patterns))


def check_corpus(key: str, files: Iterable[str], pattern: str) -> None:
    """Raise UserError unless a file of a local source that the pattern takes holds anything at all.

    What the fields, filters and cuts of `prepare` leave of it, `prepare` alone can say; it refuses an empty corpus too.
    """
    files = list(files)
    taken = [f for f in files if fnmatchcase(f, pattern) or fnmatchcase(f, f"*/{pattern}")]
    if not taken:
        raise UserError(
            f"config: {key}: no file '{pattern}' among {len(files)} of its source: zero passages; mend 'file'"
        )
    if not any(map(_holds_text, taken)):
        raise UserError(f"config: {key}: '{taken[0]}'{' and others' * (len(taken) > 1)}: empty: zero passages")


def _holds_text(file: str) -> bool:
    try:
        with gzip.open(file) if file.endswith(".gz") else open(file, "rb") as f:
            return any(block.strip() for block in iter(lambda: f.read(1 << 16), b""))
    except (OSError, EOFError) as error:
        raise UserError(f"'{file}' cannot be read: {error}") from None


def check_jobs(jobs: Iterable[Any], *, local: bool) -> None:
    """End the program with one line if neither cluster nor machine can give what Snakemake's jobs ask for."""
    requests = {request_of(job.name, dict(job.resources.items())) for job in jobs if not job.is_norun}
    try:
        check_machine(requests) if local else check_cluster(requests, sinfo())
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


def check_cluster(requests: Iterable[Request], nodes: Iterable[Nodes]) -> None:
    """Raise UserError if no nodes of the partition that a job names can ever give what it asks for."""
    nodes = list(nodes)
    names = {n.partition for n in nodes}
    where = "profiles/slurm/config.yaml"
    for request in requests:
        own = [n for n in nodes if (n.partition == request.partition if request.partition else n.default)]
        each, kind = -(-request.gpus // request.nodes), request.gpu_model
        asked = f"{request.rule}: {each} GPU(s)" + (f" of model '{kind}'" if kind else "") + " on a node"
        if request.partition and request.partition not in names:
            hint = nearest(request.partition, names)
            raise UserError(f"{request.rule}: no partition '{request.partition}'{hint}; set slurm_partition in {where}")
        if not own:
            raise UserError(f"{request.rule}: this cluster has no default partition; set slurm_partition in {where}")
        name = own[0].partition
        fit = [n for n in own if n.gpus >= each and (not each or not kind or kind in n.gpu_models)]
        if each and not fit:
            known = sorted({m for n in own for m in n.gpu_models})
            best = f"at most {max(n.gpus for n in own)}" + (f" (models: {', '.join(known)})" if known else "")
            raise UserError(
                f"{asked}, but partition '{name}' has {best}; set gpu, gpu_model or slurm_partition in {where}"
            )
        if request.nodes > sum(n.count for n in fit):
            raise UserError(
                f"{request.rule}: {request.nodes} nodes, but partition '{name}' has {sum(n.count for n in fit)}"
            )
        if request.mem_mb > max(n.mem_mb for n in fit):
            raise UserError(
                f"{request.rule}: {request.mem_mb} MB, but a node of partition '{name}' has {max(n.mem_mb for n in fit)}; "
                f"set mem_mb of the rule in {where}"
            )


def sinfo() -> list[Nodes]:
    """Return the cluster's nodes as `sinfo` tells them; raise UserError where there is no cluster to ask."""
    if not shutil.which("sinfo") or not shutil.which("sbatch"):
        raise UserError("--profile slurm: no sinfo and sbatch here; run it on the cluster's login node")
    command = ["sinfo", "--noheader", "--format=%P|%D|%m|%G"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise UserError(f"sinfo: {' '.join(done.stderr.split())}; the cluster does not answer")
    return [parse_nodes(line) for line in done.stdout.splitlines() if line.count("|") == 3]


def parse_nodes(line: str) -> Nodes:
    """Read one line of `sinfo --format='%P|%D|%m|%G'`.

    >>> parse_nodes("gpu*|4|512000|gpu:h100:8(S:0-1)").gpus
    8
    """
    partition, count, memory, gres = line.split("|")
    found = re.findall(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?:(\d+)", gres)
    models = frozenset(model for model, _ in found if model)
    gpus = sum(int(n) for _, n in found)
    return Nodes(partition.rstrip("*"), partition.endswith("*"), int(count), gpus, models, int(memory.rstrip("+")))


def request_of(rule: str, resources: Mapping[str, object]) -> Request:
    """Return what a job asks for, from Snakemake's resources."""

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
    )
