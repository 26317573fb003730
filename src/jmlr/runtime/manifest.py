"""What every stage writes beside its output: how it came to be, and what it cost.

`manifest.json` holds the stage, its options, the digests of inputs and outputs, the code digest, the seed, versions,
hardware, seconds, CPU seconds, GPU hours, energy where the hardware tells it, the tokens and FLOPs of every model, the peak of
memory in bytes, and what was warned of (`progress.warn`). Where a stage went on after a kill, time, tokens and FLOPs are those
of all attempts up to their last saved state; energy and memory are the last attempt's. What lies in the run's folder is named
from there, so that a run can be moved; `belonging` finds it. It never holds clinical text.

    with stage_output(out, "encode", inputs={"retriever": retriever}, options=[options]) as (folder, notes):
        ...
        notes["texts"] = 13_221        # figures worth keeping; merged into the manifest
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from jmlr.runtime import meter
from jmlr.runtime.digest import chosen, counted, stage_digest, stage_parts
from jmlr.runtime.energy import EnergyMeter
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import DISTRIBUTION
from jmlr.runtime.files import MANIFEST, SAMPLED, files_below, fresh_directory, sampled_sha256, sha256
from jmlr.runtime.progress import say

PACKAGES = (
    DISTRIBUTION,
    "numpy",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "datasets",
    "pyarrow",
    "bm25s",
    "PyStemmer",
    "snakemake",
)
NAME = MANIFEST
BESIDE = "tensorboard"  # figures for people, which a finished training leaves in its output: no manifest lists them


@contextmanager
def stage_output(
    out: Path,
    stage: str,
    *,
    inputs: Mapping[str, Path | Sequence[Path] | None],
    options: Sequence[Any] = (),
    variants: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (a fresh folder, a dictionary for notes); on success write the manifest and put the folder in place of `out`.

    `variants` is what decides beside the options which code the stage reaches: see `jmlr.runtime.digest.chosen`.
    Raises UserError if `out` holds what this stage did not write.
    """
    begun = datetime.now(UTC)
    notes: dict[str, Any] = {}
    held = {k: _held(v) for k, v in inputs.items() if v}
    meter.reset()
    energy = EnergyMeter()
    with fresh_directory(out, lambda folder: written_by(stage, folder)) as folder:
        yield folder, notes
        spent = meter.spent()
        files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
        content = {
            "stage": stage,
            "options": {k: v for o in options for k, v in o.model_dump(mode="json").items()},
            "seed": seed,
            "inputs": {k: {name: digest() for name, digest in v.items()} for k, v in held.items()},
            "outputs": {name: sha256(p) for name, p in files.items()},
            "samples": {name: sampled_sha256(p) for name, p in files.items() if p.stat().st_size > SAMPLED},
            "code": stage_digest(stage, *options, **(variants or {})),
            "definitions": {
                "chosen": chosen(*options, **(variants or {})),
                "digests": stage_parts(stage, *options, **(variants or {})),
            },
            "versions": {"python": platform.python_version(), **{p: v for p in PACKAGES if (v := _version(p))}},
            "hardware": _hardware(),
            "begun": begun.isoformat(timespec="seconds"),
            "seconds": round(spent["seconds"], 3),
            "cpu_seconds": round(spent["cpu_seconds"], 3),
            "gpu_hours": round(spent["seconds"] / 3600 * _gpus(), 6),
            "energy": energy.read(),
            "models": spent["models"],
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            * (1 if sys.platform == "darwin" else 1024),
            "warnings": spent["warnings"],
            "notes": notes,
        }
        content = _from_run(content, out)
        (folder / NAME).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _from_run(content: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return a manifest with every path into the run's folder, `results/{run}`, told from there; `out` lies in it or in none."""
    run = run_of(out)
    if run is None:
        return content
    heads = [f"{p}/" for p in (str(run), os.path.abspath(run), os.path.realpath(run))]

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {told(k): told(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [told(v) for v in value]
        head = next((h for h in heads if isinstance(value, str) and value.startswith(h)), "")
        return value[len(head) :] if head else value

    return {str(k): told(v) for k, v in content.items()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a stage's output folder; raise UserError where it is damaged."""
    try:
        found = json.loads((folder / NAME).read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{folder / NAME}: not a stage's manifest")
    return found


def check_written(path: Path) -> None:
    """Raise UserError where a file of a stage's output is missing, or is not the one that the manifest beside it lists.

    A file of up to 1 MiB is read whole, a larger one as `sampled_sha256` does: opening takes no longer for a larger corpus. So of a
    larger one is found: another size, another beginning, and for an Arrow or Parquet file, whose end says where its parts begin,
    whatever moves those. Not found is a change between the pieces that moves nothing, such as two texts of one length that are
    exchanged; nor any at all where an earlier version wrote the manifest, or there is none. `verify_outputs` reads all.
    """
    told = read_manifest(path.parent) if (path.parent / NAME).is_file() else {}
    listed = told.get("outputs", {})
    if not path.is_file():
        raise UserError(
            f"there is no '{path}'{f', which {NAME} beside it lists' if path.name in listed else ''}; {anew(path.parent)}"
        )
    known = told.get("samples", {}).get(path.name, listed.get(path.name))
    if path.stat().st_size > SAMPLED and "samples" not in told:
        return
    if isinstance(known, str) and known != sampled_sha256(path):
        raise UserError(f"'{path}' is not the one that {NAME} beside it lists; {anew(path.parent)}")


def anew(output: Path, run: Path | None = None) -> str:
    """Return how a stage's output is made anew, in words: a plain `snakemake` makes nothing that only finished outputs need.

    run: the run that it belongs to, where its path does not say so.

    >>> anew(Path("results/own/prepare"))[:85]
    'make it with `snakemake --cores all --configfile FILE --force -- results/own/prepare`'
    """
    run, place = run or run_of(output), output.resolve()
    if run is None or not place.is_relative_to(run.resolve()):
        return "run the stage that makes it"
    own, file = in_checkout(run)
    target = Path("results", Path(os.path.abspath(run)).name, place.relative_to(run.resolve()))
    return f"make it with `snakemake --cores all{own} --force -- {target}` in the checkout{file}"


def in_checkout(run: Path) -> tuple[str, str]:
    """Return what the `snakemake` of a run is given, and what that means; the demo's is given nothing."""
    return (" --configfile FILE", " (FILE: the run's own)") if Path(os.path.abspath(run)).name != "demo" else ("", "")


def verify_outputs(folder: Path, what: str, names: Sequence[str]) -> None:
    """Raise UserError, calling it `what`, if one of these files in a stage's output folder is not as the stage wrote it."""
    listed = read_manifest(folder).get("outputs", {})
    for name in names:
        if (folder / name).exists() and listed.get(name) != sha256(folder / name):
            raise UserError(
                f"{what}: '{folder / name}' is damaged: its SHA-256 is not the one in {NAME} beside it; {anew(folder)}"
            )


def list_outputs(stage: str, folder: Path, holds: str) -> None:
    """Write a manifest of what a folder `holds`, in words, names and sizes, by which `written_by` knows it; it is no stage's output of a run."""
    sizes = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    told = {"stage": stage, "holds": holds, "outputs": sizes}
    (folder / NAME).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def written_by(stage: str, folder: Path) -> set[str]:
    """Return the files that a stage wrote to a folder, by the manifest there; none if it is not this stage's."""
    try:
        found = json.loads((folder / NAME).read_text())
        if found["stage"] != stage:
            return set()
        beside = (str(p.relative_to(folder)) for p in (folder / BESIDE).rglob("*"))
        return {NAME, *found["outputs"], *beside}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def fingerprint(folder: Path) -> dict[str, str | int]:
    """Tell what is in a folder without reading it: a stage's output by its manifest, another one by its files' sizes."""
    if (folder / NAME).is_file():
        return dict(read_manifest(folder)["outputs"])
    return {name: p.stat().st_size for name, p in files_below(folder).items()}


def state_key(
    stage: str,
    *,
    inputs: Mapping[str, Path | Sequence[Path] | None],
    options: Sequence[Any],
    variants: Mapping[str, Any] | None = None,
    **others: object,
) -> str:
    """Digest what a saved state must agree with: code, options, what the inputs hold, and whatever else is given."""
    held = {k: {str(p): fingerprint(p) for p in ([v] if isinstance(v, Path) else v)} for k, v in inputs.items() if v}
    known = [
        stage_digest(stage, *options, **(variants or {})),
        counted(stage, *options, **(variants or {})),
        held,
        others,
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def tell_private(command: str, out: Path, run: Path, what: str = "holds texts of") -> None:
    """Say that what a command wrote holds texts of the run's private sources, or what else it has of them, where there are any."""
    fetched = [p.parent for p in sorted(run.glob(f"fetch/*/{NAME}"))]
    if private := [f.name for f in fetched if read_manifest(f).get("options", {}).get("private")]:
        say(f"{command}: {out} {what} {', '.join(private)}, which must not leave this machine (private)")


def run_of(folder: Path) -> Path | None:
    """Return the folder of the run that a stage's output belongs to; None for one that was made by hand elsewhere.

    >>> run_of(Path("results/demo/jmlr/seed0/r1/train"))
    PosixPath('results/demo')
    """
    return next((p for p in folder.parents if p.parent.name == "results"), None)


def belonging(run: Path, name: str) -> str:
    """Return where a folder that a run's manifest names lies now: the run may have moved, and the caller be anywhere.

    Manifests name what belongs to the run from its folder (earlier ones as `results/{run}/...`), and other relative paths from
    the folder above `results`. A name on the hub stays as it is.

    Raises:
        UserError: an absolute path, as of a model of one's own, leads nowhere on this machine, and `models/` in the run's folder has
            nothing of its name.
    """
    if not name:
        return name
    parts, home = Path(name).parts, run.resolve()
    earlier = parts[2:] if parts[0] == "results" and len(parts) > 2 else parts
    brought = home / "models" / Path(name).name
    for place in (home / name, home.joinpath(*earlier), home.parent.parent / name, brought):
        if place.exists():
            return str(place)
    if Path(name).is_absolute():
        raise UserError(
            f"'{run}' was made with '{name}', which is not here; allowed: the same path, or the folder or a link to it at '{brought}'"
        )
    return name


def _held(paths: Path | Sequence[Path]) -> dict[str, Callable[[], str]]:
    """Return what digests each input: a stage's folder by the outputs its manifest lists, any other file by its content."""
    found: dict[str, Callable[[], str]] = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        if (path / NAME).is_file():
            found.update({str(path / k): partial(str, v) for k, v in read_manifest(path)["outputs"].items()})
        elif path.exists():
            found.update({str(p): partial(sha256, p) for p in files_below(path).values()})
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> int:
    """Return how many GPUs this stage holds: those seen here, or one for each process where several nodes compute."""
    torch = sys.modules.get("torch")  # a stage without torch uses no GPU
    if torch is None or not torch.cuda.is_available():
        return 0
    dist = torch.distributed
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else torch.cuda.device_count()


def _hardware() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "ranks": int(os.environ.get("WORLD_SIZE", "1")),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch is not None and _gpus()
        else [],
    }
