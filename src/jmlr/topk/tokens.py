"""Token vectors as an index of them keeps them, and as a search takes those of queries.

columns = checked("int8", tokens, offsets, ids)               # tokens [M, D], offsets [N + 1]
packed, starts = as_queries(query_tokens, lengths, dim)       # [B, T, D] -> [sum of lengths, D], [B + 1]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import as_ids, as_lengths, as_matrix, as_offsets, as_storage, query_shape, thread_count, to_numpy
from jmlr.topk.format import Arrays


def decoded(codes: np.ndarray, scale: np.ndarray, dim: int) -> np.ndarray:
    """Return what int8 codes [m, stride] say where there are no originals, float32 [m, D]: digit times scale, rounded once."""
    with _topk.DefaultFloatingPoint(), np.errstate(over="ignore"):
        tokens: np.ndarray = (codes[:, :dim].astype(np.float32) - 128) * scale[:, None]
    return tokens


def check_storage(storage: str, originals: bool) -> None:
    """Raise ValueError unless there is such a storage, and it can do without originals if it is to."""
    as_storage(storage)
    if not originals and storage != "int8":
        raise ValueError(f"originals=False with storage={storage!r}; allowed: int8")


def checked(storage: str, tokens: np.ndarray, offsets: Any, ids: Any, originals: bool = True) -> Arrays:
    """Return the columns of an index of tokens [M, D], after a check of offsets and ids; TypeError, ValueError."""
    bounds = as_offsets(offsets, len(tokens))
    names = None if ids is None else as_ids(ids, len(bounds) - 1, "passage")
    return encoded_tokens(storage, tokens, bounds, names, originals)


def encoded_tokens(
    storage: str, tokens: np.ndarray, bounds: np.ndarray, ids: np.ndarray | None, originals: bool = True
) -> Arrays:
    """Return the columns of an index by name (docs/topk.md, "On disk") of tokens [M, D], bounds [N + 1] and ids [N] or None."""
    codes, scale, residual, norm = _topk.encode(storage, tokens, thread_count(None))
    if not originals:
        assert codes is not None and scale is not None  # noqa: PT018
        with _topk.DefaultFloatingPoint():
            rounded = decoded(codes, scale, tokens.shape[1])
            if not np.isfinite(rounded).all():
                raise ValueError("tokens: too large to be rounded to 8 bits; allowed: originals=True")
            norm = _topk.encode("float32", rounded, thread_count(None))[3]
            # a product rounded to float32 is off by 2^-24 of itself at most, or by 2^-150 where it is subnormal
            wide = norm.astype(np.float64) * 2.0**-23 + tokens.shape[1] * 2.0**-149
            residual = np.nextafter(wide.astype(np.float32), np.float32(np.inf))
    if len(bounds) > 1:  # the bound of a passage's maximum is that of its worst token
        with _topk.DefaultFloatingPoint():
            norm = np.maximum.reduceat(norm, bounds[:-1])
            residual = None if residual is None else np.maximum.reduceat(residual, bounds[:-1])
    columns = {
        "vectors": tokens if originals else None,
        "codes": codes,
        "scale": scale,
        "residual": residual,
        "norm": norm,
    }
    columns |= {"offsets": bounds, "ids": ids}
    return {name: array for name, array in columns.items() if array is not None}


def as_queries(values: Any, lengths: Any, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the queries' tokens one after another, [sum of lengths, D], and where each query starts, [B + 1]."""
    array = to_numpy(values, "query_tokens")
    count, most, width = query_shape(array.shape)
    held = as_lengths(lengths, count, most)
    packed = array.reshape(count * most, width)
    if lengths is not None:
        packed = packed[(np.arange(most) < held[:, None]).reshape(-1)]
    starts = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)

    def place(row: int) -> str:
        query = int(np.searchsorted(starts, row, side="right")) - 1
        return f"query {query}, token {row - starts[query]}"

    return as_matrix(packed, "query_tokens", dim, place, copy=True), starts
