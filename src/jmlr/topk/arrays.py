"""What comes in: NumPy arrays, torch tensors on the CPU, anything with the array interface; checked, never misread."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jmlr.topk import _topk

STORAGES = ("float32", "bfloat16", "int8")
METRICS = ("inner_product", "cosine")
MAX_DIM = 65536
MAX_TOKENS = 65536  # of a query in MaxSim
COPIED_BYTES = 64 << 20  # at a time: Ctrl-C is heard in between


class OnGpu(Protocol):
    """What says of itself that it lies in the memory of a CUDA device."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


def as_matrix(
    values: Any,
    name: str,
    dim: int | None = None,
    place: Callable[[int], str] = "row {}".format,
    *,
    copy: bool = False,
    one: bool = False,
) -> np.ndarray:
    """Return `values` as finite C-contiguous float32 [rows, D], without a copy where it already is that.

    copy: return memory of our own always, which nobody changes after it was checked.
    one: [D] is allowed too, for [1, D].
    `place` says where a row is, for messages. Floats of other widths are converted (a float64 that overflows float32 is refused as infinite); complex numbers,
    objects, strings and booleans are refused. Raises TypeError, or ValueError naming the shape or the first bad entry.
    """
    array = to_numpy(values, name)
    if one and array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise ValueError(f"{name}: shape {array.shape}; allowed: 2 dimensions, [rows, D]{', or [D] for one' * one}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype}; allowed: floats and integers, converted to float32")
    if dim is not None and array.shape[1] != dim:
        raise ValueError(f"{name}: D = {array.shape[1]}, but the index has D = {dim}")
    if not 1 <= array.shape[1] <= MAX_DIM:
        raise ValueError(f"{name}: D = {array.shape[1]}; allowed: 1 to {MAX_DIM}")
    as_it_is = array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned
    matrix = array if as_it_is and not copy else _float32_copy(array)
    bad = _topk.first_nonfinite(matrix, thread_count(None))
    if bad is not None:
        row, column = bad
        raise ValueError(
            f"{name}: {array[row, column]} in {place(row)}, column {column}; allowed: finite float32 numbers"
        )
    return matrix


def on_line(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array without values that begins on a cache line, as wide loads like it; NumPy keeps to 16 bytes.

    Once read-only, it stays so, since the memory that it is a view of is.
    """
    return _topk.on_line(1, math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)


def _float32_copy(array: np.ndarray) -> np.ndarray:
    matrix = on_line(array.shape, np.dtype(np.float32))
    step = max(1, COPIED_BYTES // (4 * array.shape[1]))
    with np.errstate(over="ignore"), _topk.DefaultFloatingPoint():
        for at in range(0, len(array), step):
            matrix[at : at + step] = array[at : at + step]
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


def next_ids(highest: int, count: int) -> np.ndarray:
    """Return int64 [count], numbered on from the highest id that there is (-1: none); raise ValueError where int64 ends before."""
    if highest + count > np.iinfo(np.int64).max:
        raise ValueError(f"ids: {count} more than the highest, {highest}, do not fit int64; give ids of your own")
    return np.arange(1, count + 1) + highest


def as_id(value: object) -> int | None:
    """Return `value` if it may be an id, else None: an integer that int64 holds and that is not negative."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    number = operator.index(value)
    return number if 0 <= number < 2**63 else None


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


def as_metric(value: Any) -> str:
    """Return the metric's name; raise ValueError naming those allowed."""
    if value not in METRICS:
        raise ValueError(f"metric: {value!r}; allowed: {', '.join(METRICS)}")
    return str(value)


def as_thresholds(value: Any, count: int, largest: bool) -> np.ndarray:
    """Return float32 [B] that the same float32 scores reach as `value`, a number or one for each query, in float64.

    So a threshold between two float32 is rounded away from what it rules out. Raises TypeError or ValueError.
    """
    given = to_numpy(value, "threshold")
    if given.dtype.kind not in "fiu":
        raise TypeError(f"threshold: dtype {given.dtype}; allowed: a number, or one for every query")
    if given.shape not in ((), (count,)):
        raise ValueError(f"threshold: shape {given.shape}; allowed: a number, or ({count},), one for every query")
    wanted = np.broadcast_to(given.astype(np.float64), (count,))
    if np.isnan(wanted).any():
        raise ValueError("threshold: nan; allowed: numbers, and infinity of either sign")
    with np.errstate(over="ignore"), _topk.DefaultFloatingPoint():
        rounded = wanted.astype(np.float32)
        short = rounded < wanted if largest else rounded > wanted
        further = np.nextafter(rounded, np.float32(np.inf if largest else -np.inf))
        return np.where(short, further, rounded)


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


def is_tensor(values: Any) -> bool:
    """Say whether `values` is a torch tensor; without importing torch, for then it is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_given(like: Any, *arrays: np.ndarray) -> tuple[Any, ...]:
    """Return the arrays as tensors over the same memory if `like` is a tensor (on the CPU), else as they are."""
    return tuple(map(sys.modules["torch"].from_numpy, arrays)) if is_tensor(like) else arrays


def on_gpu(values: Any) -> bool:
    """Say whether `values` lies in the memory of a CUDA device, by what it says of itself."""
    if is_tensor(values):
        return values.device.type == "cuda"
    if hasattr(values, "__dlpack_device__"):
        return int(values.__dlpack_device__()[0]) in (2, 13)  # CUDA, CUDA managed
    return hasattr(values, "__cuda_array_interface__")


def to_numpy(values: Any, name: str) -> np.ndarray:
    """Return `values` as an array; raise unless it is in the memory of the CPU and every entry counts."""
    if isinstance(values, (list, tuple)):  # of arrays: each may be one that NumPy would misread
        values = [to_numpy(value, name) if hasattr(value, "__array__") else value for value in values]
    if is_tensor(values):
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


def _as_integers(values: Any, name: str) -> np.ndarray:
    array = to_numpy(values, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: dtype {array.dtype}; allowed: integers")
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}; allowed: 1 dimension")
    return np.array(array, dtype=np.int64, order="C")  # a copy: later writes must not change it


def as_offsets(values: Any, tokens: int, name: str = "offsets") -> np.ndarray:
    """Return int64 [N + 1] that say which of `tokens` rows each passage has; raise ValueError or TypeError otherwise."""
    offsets = _as_integers(values, name)
    if not len(offsets):
        raise ValueError(f"{name}: empty; allowed: [N + 1] integers from 0 to the number of tokens")
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise ValueError(f"{name}: from {offsets[0]} to {offsets[-1]}; allowed: from 0 to {tokens}, the tokens' number")
    fall = np.flatnonzero(offsets[1:] <= offsets[:-1])
    if len(fall):
        p = int(fall[0])
        fault = "has no tokens" if offsets[p] == offsets[p + 1] else f"ends at {offsets[p + 1]}, before its start"
        raise ValueError(f"{name}: passage {p}, from {offsets[p]}, {fault}; allowed: one token or more in each")
    return offsets


def query_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (B, T, D) of queries' tokens [B, T, D], or [T, D] for one; raise ValueError otherwise."""
    if len(shape) not in (2, 3):
        raise ValueError(f"query_tokens: shape {shape}; allowed: [B, T, D], or [T, D] for one query")
    count, most, dim = shape if len(shape) == 3 else (1, *shape)
    if not 1 <= most <= MAX_TOKENS:
        raise ValueError(f"query_tokens: T = {most}; allowed: 1 to {MAX_TOKENS} tokens in a query")
    return count, most, dim


def as_lengths(values: Any, count: int, most: int) -> np.ndarray:
    """Return how many tokens each of `count` queries has, int64 [B]: all `most` where `values` is None."""
    if values is None:
        return np.full(count, most, np.int64)
    held = _as_integers(values, "query_lengths")
    if len(held) != count:
        raise ValueError(f"query_lengths: {len(held)}; allowed: {count}, one for every query")
    wrong = np.flatnonzero((held < 1) | (held > most))
    if len(wrong):
        raise ValueError(f"query_lengths: {held[wrong[0]]} for query {wrong[0]}; allowed: 1 to T = {most}")
    return held
