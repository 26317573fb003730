"""`jmlr why`: which functions, classes and constants have changed since the outputs of a run were made, so that stages run again.

Every manifest holds a digest of each definition that its stage reached with the options chosen (`jmlr.runtime.digest`); here
they are held against those of the code as it is.

Example:
    jmlr why results/demo
"""

from __future__ import annotations

from pathlib import Path

from jmlr.runtime.digest import PACKAGE, parts_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import NAME, read_manifest
from jmlr.runtime.reach import Source


def why(folder: Path, /) -> None:
    """Say which code has changed since a run's outputs were made; what a configuration or an input changes, `snakemake -n` says.

    Args:
        folder: of a run, or of one output

    Example:
        jmlr why results/demo
    """
    made = sorted(p.parent for p in existing(folder, "FOLDER").rglob(NAME))
    if not made:
        raise UserError(f"'{folder}' holds no {NAME}: give a run's folder, or that of an output, e.g. results/demo")
    source = Source(PACKAGE)
    found: dict[tuple[str, ...], list[str]] = {}
    for output in made:
        found.setdefault(_changes(output, source), []).append(str(output.relative_to(folder)))
    for changes, outputs in found.items():
        if changes:
            print(f"{', '.join(outputs)}:")
            print("\n".join(f"    {change}" for change in changes))
    same = len(found.get((), []))
    print(f"{same} of {len(made)} outputs were made by the code as it is")


def _changes(output: Path, source: Source) -> tuple[str, ...]:
    """Return a line for each definition that an output's stage reached when it ran and reaches otherwise now."""
    manifest = read_manifest(output)
    known = manifest.get("definitions")
    if known is None:
        return (f"stage {manifest['stage']}: made before manifests held definitions",)
    now = {k: v[:8] for k, v in parts_of(manifest["stage"], source, known["chosen"]).items()}
    before = known["digests"]
    lines = [f"{_said(k)}: changed" for k in now if k in before and now[k] != before[k]]
    lines += [f"{_said(k)}: reached now" for k in now if k not in before]
    lines += [f"{_said(k)}: reached no more" for k in before if k not in now]
    return tuple(lines)


def _said(node: str) -> str:
    """Write a definition as people would.

    >>> _said("jmlr.losses.llm_rank:llm_rank"), _said("jmlr.losses.llm_rank:"), _said("report/page.css")
    ('llm_rank in jmlr.losses.llm_rank', 'what jmlr.losses.llm_rank does when imported', 'report/page.css')
    """
    module, colon, name = node.partition(":")
    if not colon:
        return node
    return f"{name} in {module}" if name else f"what {module} does when imported"
