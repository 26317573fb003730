"""What comes in: NumPy arrays, torch tensors on the CPU, anything with the array interface; checked, never misread."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from jmlr.topk import _topk

STORAGES = ("float32", "bfloat16", "int8")
MAX_DIM = 65536


def as_matrix(
    values: Any, name: str, dim: int | None = None, place: Callable[[int], str] = "row {}".format
) -> np.ndarray:
    """Return `values` as finite C-contiguous float32 [rows, D], without a copy where it already is that.

    `place` says where a row is, for messages. Floats of other widths are converted (a float64 that overflows float32 is refused as infinite); complex numbers,
    objects, strings and booleans are refused. Raises TypeError, or ValueError naming the shape or the first bad entry.
    """
    array = to_numpy(values, name)
    if array.ndim != 2:
        raise ValueError(f"{name}: shape {array.shape}; allowed: 2 dimensions, [rows, D]")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype}; allowed: floats and integers, converted to float32")
    if dim is not None and array.shape[1] != dim:
        raise ValueError(f"{name}: D = {array.shape[1]}, but the index has D = {dim}")
    if not 1 <= array.shape[1] <= MAX_DIM:
        raise ValueError(f"{name}: D = {array.shape[1]}; allowed: 1 to {MAX_DIM}")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if not matrix.flags.aligned:
        matrix = matrix.copy()
    bad = _topk.first_nonfinite(matrix)
    if bad is not None:
        row, column = bad
        raise ValueError(
            f"{name}: {array[row, column]} in {place(row)}, column {column}; allowed: finite float32 numbers"
        )
    return matrix


def as_ids(values: Any, rows: int, of: str = "row") -> np.ndarray:
    """Return `values` as int64 [rows]; raise unless they are distinct integers, none negative (-1 marks padding).

    `of` names, for messages, what has the ids.
    """
    array = to_numpy(values, "ids")
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids: dtype {array.dtype}; allowed: integers that fit int64")
    if array.shape != (rows,):
        raise ValueError(f"ids: shape {array.shape}; allowed: ({rows},), one for every {of}")
    if array.dtype == np.uint64 and rows and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"ids: {int(array.max())} does not fit int64")
    ids = np.ascontiguousarray(array, dtype=np.int64)
    if ids is array:
        ids = ids.copy()
    if rows and int(ids.min()) < 0:
        raise ValueError(f"ids: {int(ids.min())} in {of} {int(ids.argmin())}; allowed: 0 and above")
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"ids: {int(twice[0])} occurs more than once; allowed: distinct ids")
    return ids


def as_count(value: Any, name: str, least: int) -> int:
    """Return an integer >= `least`; raise TypeError or ValueError naming the argument."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: {value!r}; allowed: an integer")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {value!r}; allowed: an integer") from None
    if not least <= number <= 2**31 - 1:
        raise ValueError(f"{name}: {number}; allowed: {least} to {2**31 - 1}")
    return number


def as_storage(value: Any) -> str:
    """Return the storage's name; raise ValueError naming those allowed."""
    if value not in STORAGES:
        raise ValueError(f"storage: {value!r}; allowed: {', '.join(STORAGES)}")
    return str(value)


def thread_count(threads: int | None) -> int:
    """Return `threads`, else OMP_NUM_THREADS, else the cores that this process may use."""
    if threads is not None:
        return as_count(threads, "threads", 1)
    # "4,2" means nested levels: the first is ours
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if setting:
        if not setting.isdigit() or int(setting) < 1:
            raise ValueError(f"OMP_NUM_THREADS: {setting!r}; allowed: an integer from 1")
        return int(setting)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_gpu(values: Any) -> bool:
    """Say whether `values` lies in the memory of a CUDA device, by what it says of itself."""
    if type(values).__module__.partition(".")[0] == "torch":
        return values.device.type == "cuda"
    if hasattr(values, "__dlpack_device__"):
        return int(values.__dlpack_device__()[0]) in (2, 13)  # CUDA, CUDA managed
    return hasattr(values, "__cuda_array_interface__")


def to_numpy(values: Any, name: str) -> np.ndarray:
    """Return `values` as an array; raise unless it is in the memory of the CPU and every entry counts."""
    if type(values).__module__.partition(".")[0] == "torch":
        values = values.detach()
        if values.device.type != "cpu":
            raise TypeError(f"{name}: a tensor on {values.device}; allowed here: tensors on the CPU (`.cpu()`)")
        if values.dtype.is_floating_point and values.dtype.itemsize < 4:
            values = values.float()  # NumPy has no bfloat16
        values = values.resolve_conj().resolve_neg().numpy()
    elif hasattr(values, "__cuda_array_interface__"):
        raise TypeError(f"{name}: an array on a GPU; allowed here: arrays in the memory of the CPU")
    if np.ma.isMaskedArray(values):
        raise TypeError(f"{name}: a masked array; allowed: arrays in which every entry counts")
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: not a matrix ({error})") from None
