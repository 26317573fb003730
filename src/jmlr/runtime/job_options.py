"""What a stage is told by a file: `--options FILE`, which the workflow writes beside the log of each job.

write_options(jobs)     # logs/demo/prepare.options.yaml, ...
read_options(Path("logs/demo/prepare.options.yaml"))["repeated"]    # 'keep'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jmlr.runtime.files import fresh_file

if TYPE_CHECKING:
    from pydantic import BaseModel


def values(*models: BaseModel | Mapping[str, Any], without: Collection[str] = (), **more: Any) -> str:
    """Write options models in full, or what `jmlr.runtime.digest.counted` left of them, and more options by name where they have a value.

    `without`: fields that do not change what the stage makes, and so must not make it run again.

    >>> from jmlr.options import IndexOptions
    >>> print(values(IndexOptions(), seed=0, judge=None), end="")
    storage: float32
    originals: true
    seed: 0
    """
    import yaml

    dumps = (dict(m) if isinstance(m, Mapping) else m.model_dump(mode="json") for m in models)
    given = {k: v for dump in dumps for k, v in dump.items() if k not in without}
    given |= {k: v for k, v in more.items() if v is not None}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=120)


def write_options(jobs: Iterable[Any]) -> None:
    """Write the file of each of Snakemake's jobs: the text of its parameter `values` where its parameter `options` says."""
    for job in jobs:
        with fresh_file(Path(job.params.options)) as file:
            file.write_text(job.params.values, encoding="utf-8")


def read_options(file: Path) -> dict[str, Any]:
    """Return the options that a file holds, a YAML mapping; raise UserError in one line where it is none."""
    from jmlr.runtime.misread import read_mapping

    return read_mapping(file, "--options")
