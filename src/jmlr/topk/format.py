"""An index on disk: a folder of .npy files that any NumPy reads, and `index.json`, which vouches for them.

index.json      format, version, rows, dim, storage, max_norm, (cosine alone) metric, provenance, per file its bytes and checksums
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
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_directory
from jmlr.topk import _topk
from jmlr.topk.arrays import METRICS

FORMAT = "jmlr-topk"
MAXSIM_FORMAT = "jmlr-maxsim"
VERSION = 1
COSINE_VERSION = 2  # with the field "metric": a program that knows version 1 alone would not normalise queries
CODES_VERSION = 3  # of a MaxSim index without the file `vectors`: its codes are the tokens
BLOCK_BYTES = 16 << 20  # one checksum each
VERIFY_AT_OPEN_BYTES = 32 << 20  # a smaller index is read whole when it is opened: a few milliseconds
HEADER_BYTES = 128
COLUMNS = {"float32": (), "bfloat16": ("codes", "residual"), "int8": ("codes", "residual", "scale")}
DTYPES = {"vectors": "<f4", "norm": "<f4", "codes": "|u1", "residual": "<f4", "scale": "<f4"} | dict.fromkeys(
    ("ids", "offsets"), "<i8"
)
FIELDS = {"rows": int, "dim": int, "storage": str, "max_norm": (int, float), "provenance": dict, "files": dict}
FILE_FIELDS = {"bytes": int, "dtype": str, "shape": list, "checksums": list}
BY_PASSAGE = ("norm", "residual", "ids", "offsets")  # columns of a MaxSim index that are not by token

Arrays = dict[str, np.ndarray]


class IndexFormatError(UserError, ValueError):
    """An index on disk that is damaged, incomplete, or not an index of this version; names the file and the fault."""


def write_index(
    directory: Path,
    storage: str,
    dim: int,
    blocks: Iterable[Arrays],
    provenance: Mapping[str, Any] | None = None,
    kind: str = FORMAT,
    metric: str = "inner_product",
) -> str:
    """Write blocks of rows, each a dict of columns, to a folder that appears once complete; return the manifest's checksum.

    A MaxSim index (`kind`) may have more rows of one column in a block than of another.
    """
    note = json.loads(json.dumps(dict(provenance or {})))  # what JSON cannot hold is refused before anything is written
    with _as_value_error(), fresh_directory(directory, _index_files) as folder:
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
        manifest: dict[str, Any] = {"format": kind, "version": VERSION}
        whole = "vectors" in writers
        manifest |= {} if whole else {"version": CODES_VERSION}
        manifest |= {"rows": writers["vectors" if whole else "codes"].rows, "dim": dim, "storage": storage}
        manifest |= {"passages": writers["offsets"].rows - 1} if kind == MAXSIM_FORMAT else {}
        manifest |= {} if metric == "inner_product" else {"version": COSINE_VERSION, "metric": metric}
        manifest |= {"max_norm": largest, "provenance": note, "files": {}}
        for name, writer in writers.items():
            manifest["files"][name] = writer.close()
        manifest["checksum"] = _digest(manifest)
        (folder / "index.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return str(manifest["checksum"])


class Block(NamedTuple):
    """Bytes of a column's file with one checksum. They are reached through the map that a search reads, not by name."""

    path: Path  # for messages
    data: np.ndarray  # uint8, the whole file
    number: int
    checksum: str
    dtype: np.dtype
    row_bytes: int


def read_index(directory: Path, verify: bool | None, kind: str = FORMAT) -> tuple[dict[str, Any], Arrays, list[Block]]:
    """Return (manifest, memory-mapped columns, blocks still to verify before they are used).

    The folder is opened once: whatever takes its place or moves it meanwhile, all files are of one index.
    verify: True reads and checks every byte now, False only shapes and sizes; None checks all of a small index, and the
    first and last block of a large one's files, and leaves the rest to the first search.
    """
    while True:
        folder = _open_folder(directory)
        try:
            return _read_folder(directory, folder, verify, kind)
        except FileNotFoundError as error:
            if _is_at(folder, directory):
                raise IndexFormatError(
                    f"{directory / error.filename}: missing; '{directory}' is no index, or its writing was cut off"
                ) from None
            # another index took the place of this one, which was removed while we read it
        finally:
            os.close(folder)


def format_of(directory: Path) -> str | None:
    """Return which format the folder's index.json says it is of; None where it says nothing that can be read."""
    try:
        return str(json.loads((directory / "index.json").read_bytes())["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def opening(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the search refuses of the columns into IndexFormatError."""
    try:
        yield
    except ValueError as error:
        raise IndexFormatError(f"{os.fspath(directory)}: {error}") from None


def _open_folder(directory: Path) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise IndexFormatError(f"{directory / 'index.json'}: missing; there is no folder '{directory}'") from None
    except NotADirectoryError:
        raise IndexFormatError(f"{directory}: a file; an index is a folder") from None


def _is_at(folder: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(folder), os.stat(directory))
    except FileNotFoundError:
        return False


def _open_in(folder: int, name: str) -> IO[bytes]:
    return open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=folder))


def _read_folder(
    directory: Path, folder: int, verify: bool | None, kind: str
) -> tuple[dict[str, Any], Arrays, list[Block]]:
    manifest = _read_manifest(directory / "index.json", folder, kind)
    columns: Arrays = {}
    pending: list[Block] = []
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    for name, entry in manifest["files"].items():
        path = directory / f"{name}.npy"
        data, columns[name] = _map_column(path, folder, name, entry, manifest)
        row_bytes = columns[name].strides[0]
        blocks = [
            Block(path, data, n, sum_, columns[name].dtype, row_bytes) for n, sum_ in enumerate(entry["checksums"])
        ]
        # offsets are read whole at once, and say which bytes of other files a part of the index has
        if verify is None and total > VERIFY_AT_OPEN_BYTES and len(blocks) > 2 and name != "offsets":
            pending += blocks[1:-1]
            blocks = [blocks[0], blocks[-1]]
        if verify is not False:
            verify_blocks(blocks)
    return manifest, columns, pending


def verify_blocks(blocks: list[Block]) -> None:
    """Raise IndexFormatError naming the file and the bytes if a block does not match its checksum, or no build made it."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for block, fault in zip(blocks, pool.map(_fault, blocks), strict=True):
            if fault:
                first = block.number * BLOCK_BYTES
                last = min(first + BLOCK_BYTES, len(block.data)) - 1
                raise IndexFormatError(f"{block.path}: {fault[0]} between bytes {first} and {last} ({fault[1]})")


def verify_columns(pending: list[Block], *names: str) -> list[Block]:
    """Verify the blocks of some columns, by default of all; return those still to verify. Raises IndexFormatError."""
    named = [block for block in pending if not names or block.path.stem in names]
    verify_blocks(named)
    return [block for block in pending if names and block.path.stem not in names]


def _fault(block: Block) -> tuple[str, str] | None:
    held = block.data[block.number * BLOCK_BYTES : (block.number + 1) * BLOCK_BYTES]
    if _checksum(held) != block.checksum:
        return "damaged", "checksum does not match"
    begin = max(block.number * BLOCK_BYTES, HEADER_BYTES)
    values = block.data[begin : (block.number + 1) * BLOCK_BYTES].view(block.dtype)
    if block.path.stem == "vectors":
        return None if np.isfinite(values).all() else ("NaN or infinity", "no build lets them in")
    return None if (values >= 0).all() else ("NaN or negative numbers", "no build makes them")


def touches(block: Block, first: int, last: int) -> bool:
    """Tell whether a block holds bytes of rows first..last-1 of its column."""
    begin = block.number * BLOCK_BYTES - HEADER_BYTES
    return begin < last * block.row_bytes and begin + BLOCK_BYTES > first * block.row_bytes


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
        shape = [self.rows, *self._tail]
        size = self._path.stat().st_size
        return {"bytes": size, "dtype": self._dtype.str, "shape": shape, "checksums": list(_checksums(self._path))}


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape}).encode("latin1")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _checksums(path: Path) -> Iterator[str]:
    """Yield the checksum of each block of a file, which is read and not mapped: mapped, all of it would count as memory."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield _checksum(np.frombuffer(block, np.uint8))


def _checksum(block: np.ndarray) -> str:
    return f"{_topk.checksum(block):016x}"


def _digest(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _index_files(directory: Path) -> list[str]:
    """Return the names of an index's files; none unless there is an index in the folder, damaged or not."""
    ours = format_of(directory) in (FORMAT, MAXSIM_FORMAT)
    return ["index.json", *(f"{name}.npy" for name in DTYPES)] if ours else []


@contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except IndexFormatError:
        raise
    except UserError as error:  # of this library's callers a ValueError is expected
        raise ValueError(str(error)) from None


def _read_manifest(path: Path, folder: int, kind: str) -> dict[str, Any]:
    with _open_in(folder, path.name) as file:
        text = file.read()
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise IndexFormatError(f"{path}: not JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != kind:
        raise IndexFormatError(f"{path}: not the manifest of a {kind} index")
    if manifest.get("version") not in (VERSION, COSINE_VERSION, CODES_VERSION):
        raise IndexFormatError(
            f"{path}: version {manifest.get('version')!r}; this program reads versions {VERSION} to {CODES_VERSION}"
        )
    if manifest.get("checksum") != _digest(manifest):
        raise IndexFormatError(f"{path}: damaged (checksum does not match)")
    manifest.setdefault("metric", "inner_product")
    if manifest["metric"] not in METRICS:
        raise IndexFormatError(f"{path}: metric: {manifest['metric']!r}; allowed: {', '.join(METRICS)}")
    _check_fields(path, manifest, FIELDS | ({"passages": int} if kind == MAXSIM_FORMAT else {}))
    coded = manifest["version"] == CODES_VERSION and kind == MAXSIM_FORMAT and manifest["storage"] == "int8"
    needed = {"norm", *([] if coded else ["vectors"]), *COLUMNS.get(manifest["storage"], ("storage",))}
    missing = needed.union(["offsets"] if kind == MAXSIM_FORMAT else []) - set(manifest["files"])
    if missing:
        raise IndexFormatError(f"{path}: no {', '.join(sorted(missing))} for storage {manifest['storage']!r}")
    for name, entry in manifest["files"].items():
        if name not in DTYPES or not isinstance(entry, dict):
            raise IndexFormatError(
                f"{path}: files: {name!r}; allowed: {', '.join(DTYPES)}, each with its bytes and shape"
            )
        _check_fields(path, entry, FILE_FIELDS, f"files: {name}: ")
    return manifest


def _check_fields(path: Path, found: dict[str, Any], wanted: dict[str, Any], where: str = "") -> None:
    """Raise IndexFormatError unless each field is there and of its type; integers are 0 and above."""
    for field, kind in wanted.items():
        value = found.get(field)
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is int and value < 0):
            raise IndexFormatError(f"{path}: {where}{field}: {value!r} is not what a build writes")


def _shape(name: str, manifest: dict[str, Any]) -> list[int]:
    """Return the shape that a column of this index must have."""
    rows = manifest["passages"] if "passages" in manifest and name in BY_PASSAGE else manifest["rows"]
    if name == "vectors":
        return [rows, manifest["dim"]]
    if name == "codes":
        return [rows, -(-manifest["dim"] * (2 if manifest["storage"] == "bfloat16" else 1) // 64) * 64]
    return [rows + (name == "offsets")]


def _map_column(
    path: Path, folder: int, name: str, entry: dict[str, Any], manifest: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (the bytes of the whole file, the column in them), mapped."""
    dtype, shape = np.dtype(DTYPES[name]), _shape(name, manifest)
    size = HEADER_BYTES + math.prod(shape) * dtype.itemsize
    described = (dtype.str, shape, size, -(-size // BLOCK_BYTES))
    if (entry["dtype"], entry["shape"], entry["bytes"], len(entry["checksums"])) != described:
        raise IndexFormatError(f"{path}: {entry['dtype']} {entry['shape']} does not fit the manifest")
    with _open_in(folder, path.name) as file:
        there = os.fstat(file.fileno()).st_size
        if there != size:
            fault = "truncated" if there < size else "of the wrong length"
            raise IndexFormatError(f"{path}: {fault}: {there} bytes, expected {size}")
        data = np.memmap(file, np.uint8, "r")
    if bytes(data[:HEADER_BYTES]) != _header(dtype, tuple(shape)):
        raise IndexFormatError(f"{path}: header is not that of a {dtype.str} array of shape {tuple(shape)}")
    return data, data[HEADER_BYTES:].view(dtype).reshape(shape)
