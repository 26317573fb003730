"""Datasets of the Hugging Face hub, as JSON Lines that keep every value as it was published.

    write_dataset(Path("fetched"), "openlifescienceai/medmcqa", "", "", "medmcqa")      # train.jsonl, validation.jsonl, ...

The library `datasets` finds and downloads the files of each split. How it reads text would change it: pandas takes the options
None, NA and null of a CSV file for nothing and the id 007 for a number, and Arrow takes the text 2024-01-02 of a JSON file for
a time. So CSV is read as text alone, and JSON by our own reader.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path, PurePosixPath
from typing import Any

from jmlr.corpus.records import read_records
from jmlr.runtime.errors import UserError

ROWS = 1000


def write_dataset(folder: Path, path: str, subset: str, revision: str, source: str) -> dict[str, int]:
    """Write one JSON Lines file for each split of a dataset; return their rows.

    Args:
        folder: where the files go
        path: id on the hub, or a local folder in the hub's form
        subset: name of a configuration; "": the default one
        revision: commit or tag; "": the newest
        source: its name in messages

    Raises:
        UserError: it cannot be had, or is licence-gated; in one line.
    """
    import datasets

    try:
        builder = datasets.load_dataset_builder(path, name=subset or None, revision=revision or None)
        return {
            split: _write(folder / f"{split}.jsonl", rows) for split, rows in _splits(builder, path, subset, revision)
        }
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError, ImportError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:300] or type(cause).__name__
        if "gated" in reason.lower() or any(code in reason for code in ("401 Client", "403 Client")):
            page = f"https://huggingface.co/datasets/{path}"
            fix = f"accept its terms at {page}, then `hf auth login` or set HF_TOKEN, and run again"
            raise UserError(f"source '{source}': dataset '{path}' is licence-gated: {fix}") from None
        if "scripts are no longer supported" in reason:
            reason += (
                "; allowed: plain files, which the hub keeps of many such datasets under revision: refs/convert/parquet"
            )
        named = {"dataset": path, "subset": subset, "revision": revision}
        what = ", ".join(f"{key} '{value}'" for key, value in named.items() if value)
        raise UserError(f"source '{source}': {what} cannot be loaded: {reason}") from None


def _splits(builder: Any, path: str, subset: str, revision: str) -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
    """Yield the name and the rows of each split."""
    import datasets
    from datasets.packaged_modules.csv.csv import CsvConfig
    from datasets.packaged_modules.json.json import JsonConfig

    if isinstance(builder.config, JsonConfig) and builder.config.field is None:
        for split, addresses in builder.config.data_files.items():
            yield str(split), _from_json([str(a) for a in addresses])
        return
    known: dict[str, Any] = {"path": path, "name": subset or None, "revision": revision or None}
    if isinstance(builder.config, CsvConfig):
        known["keep_default_na"] = False
        first = datasets.load_dataset(**known, nrows=1)
        columns = dict.fromkeys(c for table in first.values() for c in table.column_names)
        known["features"] = datasets.Features({c: datasets.Value("string") for c in columns})
    for split, table in datasets.load_dataset(**known).items():
        batches = table.with_format("arrow").iter(batch_size=ROWS)
        yield str(split), (row for batch in batches for row in batch.to_pylist())


def _from_json(addresses: list[str]) -> Iterator[dict[str, Any]]:
    import datasets

    local = datasets.DownloadManager().download(addresses)
    for address, path in zip(addresses, local, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            named = Path(folder) / PurePosixPath(address).name  # a file in the cache has another name
            named.symlink_to(Path(path).resolve())
            yield from (record.fields for record in read_records(named))


def _write(target: Path, rows: Iterable[dict[str, Any]]) -> int:
    with target.open("w", encoding="utf-8") as f:
        return sum(bool(f.write(json.dumps(_plain(row), ensure_ascii=False) + "\n")) for row in rows)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN is nothing, a time its ISO 8601 text; pictures and sounds are left out."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if value is None or isinstance(value, bytes):
        return None
    return value if isinstance(value, (str, int)) else str(value)
