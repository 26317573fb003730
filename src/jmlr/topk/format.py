"""An index on disk: a folder of .npy files that any NumPy reads, and `index.json`, which vouches for them.

index.json      format, version, rows, dim, storage, max_norm, provenance, per file its bytes and checksums
vectors.npy     float32 [N, D]         the originals, which decide
norm.npy        float32 [N]            at least the Euclidean norm of each row
codes.npy       uint8 [N, stride]      what a bfloat16 or int8 scan reads
residual.npy    float32 [N]            at least the norm of what each row's code lost
scale.npy       float32 [N]            int8 only
ids.npy         int64 [N]              only if the user gave ids

A MaxSim index (format "jmlr-maxsim") has M rows of tokens for N passages: vectors, codes and scale are by token; norm,
residual (of a passage's worst token) and ids by passage; and offsets.npy, int64 [N + 1], says whose the tokens are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jmlr.runtime.files import fresh_directory
from jmlr.topk import _topk

FORMAT = "jmlr-topk"
MAXSIM_FORMAT = "jmlr-maxsim"
VERSION = 1
BLOCK_BYTES = 16 << 20  # one checksum each
VERIFY_AT_OPEN_BYTES = 32 << 20  # a smaller index is read whole when it is opened: a few milliseconds
HEADER_BYTES = 128
COLUMNS = {"float32": (), "bfloat16": ("codes", "residual"), "int8": ("codes", "residual", "scale")}
DTYPES = {"vectors": "<f4", "norm": "<f4", "codes": "|u1", "residual": "<f4", "scale": "<f4"} | dict.fromkeys(
    ("ids", "offsets"), "<i8"
)
BY_PASSAGE = ("norm", "residual", "ids", "offsets")  # columns of a MaxSim index that are not by token

Arrays = dict[str, np.ndarray]


class IndexFormatError(ValueError):
    """An index on disk that is damaged, incomplete, or not an index of this version; names the file and the fault."""


def write_index(
    directory: Path,
    storage: str,
    dim: int,
    blocks: Iterable[Arrays],
    provenance: Mapping[str, Any] | None = None,
    passages: int | None = None,
) -> None:
    """Write blocks of rows, each a dict of columns, to a folder that appears once complete; with `passages`, of MaxSim."""
    if directory.exists() and not (directory.is_dir() and _replaceable(directory)):
        raise ValueError(f"{directory}: exists and is not an index; allowed: a new path, or an index to replace")
    note = json.loads(json.dumps(dict(provenance or {})))  # what JSON cannot hold is refused before anything is written
    with fresh_directory(directory) as folder:
        writers: dict[str, _ColumnWriter] = {}
        largest = 0.0
        for block in blocks:
            for name, array in block.items():
                if name not in writers:
                    writers[name] = _ColumnWriter(folder / f"{name}.npy", DTYPES[name], array)
                writers[name].append(array)
            if "norm" in block:
                with _topk.DefaultFloatingPoint():
                    largest = max(largest, float(block["norm"].max(initial=0.0)))
        manifest: dict[str, Any] = {"format": FORMAT if passages is None else MAXSIM_FORMAT, "version": VERSION}
        manifest |= {"rows": writers["vectors"].rows, "dim": dim, "storage": storage}
        manifest |= {} if passages is None else {"passages": passages}
        manifest |= {"max_norm": largest, "provenance": note, "files": {}}
        for name, writer in writers.items():
            manifest["files"][name] = writer.close()
        manifest["checksum"] = _digest(manifest)
        (folder / "index.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read_index(
    directory: Path, verify: bool | None, kind: str = FORMAT
) -> tuple[dict[str, Any], Arrays, list[tuple[Path, int, str]]]:
    """Return (manifest, memory-mapped columns, blocks (file, number, checksum) still to verify before they are used).

    verify: True reads and checks every byte now, False only shapes and sizes; None checks all of a small index, and the
    first and last block of a large one's files, and leaves the rest to the first search.
    """
    manifest = _read_manifest(directory, kind)
    columns: Arrays = {}
    pending: list[tuple[Path, int, str]] = []
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    for name, entry in manifest["files"].items():
        path = directory / f"{name}.npy"
        columns[name] = _map_column(path, name, entry, manifest)
        blocks = [(path, number, value) for number, value in enumerate(entry["checksums"])]
        if verify is None and total > VERIFY_AT_OPEN_BYTES and len(blocks) > 2:
            pending += blocks[1:-1]
            blocks = [blocks[0], blocks[-1]]
        if verify is not False:
            verify_blocks(blocks)
    return manifest, columns, pending


def verify_blocks(blocks: list[tuple[Path, int, str]]) -> None:
    """Raise IndexFormatError naming the file and the bytes if a block does not match its checksum."""
    maps = {path: np.memmap(path, np.uint8, "r") for path in {path for path, _, _ in blocks}}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda block: _block_checksum(maps[block[0]], block[1]), blocks)
        for (path, number, value), actual in zip(blocks, found, strict=True):
            if actual != value:
                first = number * BLOCK_BYTES
                last = min(first + BLOCK_BYTES, len(maps[path])) - 1
                raise IndexFormatError(f"{path}: damaged between bytes {first} and {last} (checksum does not match)")


def touches(block: tuple[Path, int, str], columns: Arrays, first: int, last: int) -> bool:
    """Tell whether a block (file, number, checksum) holds bytes of rows first..last-1 of the file's column."""
    path, number, _ = block
    begin, end = number * BLOCK_BYTES - HEADER_BYTES, (number + 1) * BLOCK_BYTES - HEADER_BYTES
    row_bytes = columns[path.stem].strides[0]
    return begin < last * row_bytes and end > first * row_bytes


class _ColumnWriter:
    """Appends rows to an .npy file whose length is known only at the end."""

    def __init__(self, path: Path, dtype: str, like: np.ndarray) -> None:
        self._path, self._dtype, self._tail = path, np.dtype(dtype), like.shape[1:]
        self.rows = 0
        self._file = path.open("wb")
        self._file.write(b"\0" * HEADER_BYTES)

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.rows += len(rows)

    def close(self) -> dict[str, Any]:
        self._file.seek(0)
        self._file.write(_header(self._dtype, (self.rows, *self._tail)))
        self._file.close()
        data = np.memmap(self._path, np.uint8, "r")
        checksums = [_block_checksum(data, number) for number in range(-(-len(data) // BLOCK_BYTES))]
        shape = [self.rows, *self._tail]
        return {"bytes": len(data), "dtype": self._dtype.str, "shape": shape, "checksums": checksums}


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape}).encode("latin1")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _block_checksum(data: np.ndarray, number: int) -> str:
    return f"{_topk.checksum(data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]):016x}"


def _digest(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _replaceable(directory: Path) -> bool:
    return (directory / "index.json").is_file() or not any(directory.iterdir())


def _read_manifest(directory: Path, kind: str) -> dict[str, Any]:
    path = directory / "index.json"
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise IndexFormatError(f"{path}: missing; '{directory}' is no index, or its writing was cut off") from None
    except NotADirectoryError:
        raise IndexFormatError(f"{directory}: a file; an index is a folder") from None
    except ValueError as error:
        raise IndexFormatError(f"{path}: not JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != kind:
        raise IndexFormatError(f"{path}: not the manifest of a {kind} index")
    if manifest.get("version") != VERSION:
        raise IndexFormatError(f"{path}: version {manifest.get('version')!r}; this program reads version {VERSION}")
    if manifest.get("checksum") != _digest(manifest):
        raise IndexFormatError(f"{path}: damaged (checksum does not match)")
    needed = {"vectors", "norm", *COLUMNS.get(manifest["storage"], ("storage",))}
    missing = needed.union(["offsets"] if kind == MAXSIM_FORMAT else []) - set(manifest["files"])
    if missing:
        raise IndexFormatError(f"{path}: no {', '.join(sorted(missing))} for storage {manifest['storage']!r}")
    return manifest


def _length(name: str, manifest: dict[str, Any]) -> int:
    if "passages" in manifest and name in BY_PASSAGE:
        return int(manifest["passages"]) + (name == "offsets")
    return int(manifest["rows"])


def _map_column(path: Path, name: str, entry: dict[str, Any], manifest: dict[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(DTYPES[name]), tuple(entry["shape"])
    if (
        entry["dtype"] != dtype.str
        or shape[0] != _length(name, manifest)
        or (name == "vectors" and shape[1:] != (manifest["dim"],))
    ):
        raise IndexFormatError(f"{path}: {entry['dtype']} {shape} does not fit the manifest")
    if not path.is_file():
        raise IndexFormatError(f"{path}: missing")
    size = path.stat().st_size
    if size != entry["bytes"] or size != HEADER_BYTES + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        fault = "truncated" if size < entry["bytes"] else "of the wrong length"
        raise IndexFormatError(f"{path}: {fault}: {size} bytes, expected {entry['bytes']}")
    with path.open("rb") as file:
        if file.read(HEADER_BYTES) != _header(dtype, shape):
            raise IndexFormatError(f"{path}: header is not that of a {dtype.str} array of shape {shape}")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset=HEADER_BYTES, shape=shape)
