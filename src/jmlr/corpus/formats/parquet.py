"""Parquet, a small batch at a time; NaN, as pandas writes for what is missing, is nothing.

pyarrow keeps every column chunk that it has read until the file is closed, unless `pre_buffer=False`, and holds a whole
chunk at once, unless `buffer_size` is given.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any

from jmlr.corpus.formats.json_values import infinite
from jmlr.corpus.formats.opened import BROKEN, Input, damaged
from jmlr.corpus.quotes import quoted
from jmlr.runtime.errors import UserError

ROWS, BUFFER = 256, 1 << 20


def read(file: Input) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, fields) of each row; from an archive or compressed, the file is unpacked to a temporary one first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as copy:
        if file.path is None:
            _unpack(file, copy)
        number = 0
        try:
            with pq.ParquetFile(file.path or copy, pre_buffer=False, buffer_size=BUFFER) as table:
                schema = table.schema_arrow
                _check_names(schema, file.where)
                numbers = [f.name for f in schema if _has(f.type, pa.types.is_floating)]
                maps = any(_has(f.type, pa.types.is_map) for f in schema)
                for batch in table.iter_batches(batch_size=ROWS):
                    for fields in batch.to_pylist(**({"maps_as_pydicts": "strict"} if maps else {})):
                        number += 1
                        for name in numbers:
                            fields[name] = _finite(fields[name], f"{file.where}: row {number}", name)
                        yield f"row {number}", fields
        except KeyError as error:  # of a map
            raise UserError(f"{file.where}: after row {number}: a key stands twice in one map") from error
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file.where}: no whole Parquet file ({str(error).splitlines()[0]})") from None


def _unpack(file: Input, copy: IO[bytes]) -> None:
    try:
        shutil.copyfileobj(file.stream, copy)
    except BROKEN as error:
        raise damaged(file.where, error) from None
    copy.seek(0)


def _check_names(schema: Any, where: str) -> None:
    """Raise UserError if two columns, or two fields of a struct, have one name."""
    for name, count in Counter(f.name for f in schema).items():
        if count > 1:
            raise UserError(f"{where}: {count} columns are named {quoted(name)}; allowed: each name once")
    for field in schema:
        for inner in _inner(field.type):
            _check_names(inner, f"{where}: {quoted(field.name)}")


def _inner(type: Any) -> list[list[Any]]:
    """Return the fields of a struct, or of each struct below a list."""
    import pyarrow as pa

    fields = [type.field(i) for i in range(type.num_fields)]
    if pa.types.is_struct(type):
        return [fields]
    return [found for field in fields for found in _inner(field.type)]


def _has(type: Any, of: Callable[[Any], bool]) -> bool:
    """Tell whether a type is of a kind, or holds one that is."""
    return of(type) or any(_has(type.field(i).type, of) for i in range(type.num_fields))


def _finite(value: Any, where: str, name: str) -> Any:
    """Return a value with None in place of NaN; raise UserError for infinity."""
    if isinstance(value, float):
        if math.isinf(value):
            raise UserError(f"{where}: {infinite({name: value})}")
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {k: _finite(v, where, f"{name}.{k}") for k, v in value.items()}
    return [_finite(v, where, f"{name}.{i}") for i, v in enumerate(value)] if isinstance(value, list) else value
