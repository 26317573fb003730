"""Allow-lists and exclusions: which rows (of MaxSim: passages) each query of a search may be answered with.

allow, exclude      for all queries                     for each query
a mask              bool [N]                            bool [B, N]
ids                 int [m], a set, a list of ints      int [B, m], -1 fills up; or B lists of ints

A row counts if it is allowed and not excluded. Ids that the index does not hold are passed over, so that one list serves
all shards. Masks are kept as a bit for each row and lists as they are: nothing of [B, N] is made unless it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jmlr.runtime.distinct import distinct
from jmlr.topk import _topk
from jmlr.topk.arrays import to_numpy


class RowLookup:
    """Finds rows by their ids: row numbers, or ids int64 [N], of which 8 bytes a row are kept if they do not ascend."""

    def __init__(self, rows: int, ids: np.ndarray | None) -> None:
        self._rows, self._ids = rows, ids
        self._order: np.ndarray | None = None
        self._sorted: np.ndarray | None = None

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64; -1 where no row has it."""
        if self._ids is None:
            return np.where((wanted >= 0) & (wanted < self._rows), wanted, -1)
        if self._sorted is None:
            self._sorted = self._ids
            if np.any(self._ids[1:] <= self._ids[:-1]):
                self._order = np.argsort(self._ids)
                self._sorted = self._ids[self._order]
        if not self._rows:
            return np.full(wanted.shape, -1, np.int64)
        place = np.minimum(np.searchsorted(self._sorted, wanted), self._rows - 1)
        rows = place if self._order is None else self._order[place]
        return np.where(self._sorted[place] == wanted, rows, -1)


class Rows(NamedTuple):
    """The rows of a scanner; an index may have those of several, and some that were removed."""

    held: int
    find: Callable[[np.ndarray], np.ndarray]  # ids to rows, -1 where no row has it
    total: int  # rows of the index: the length of a mask
    first: int = 0  # where this scanner's begin among them
    kept: Callable[[], np.ndarray | None] = lambda: (
        None
    )  # those of the scanner that were not removed, ascending; None: all
    bits: np.ndarray | None = None  # the same as bits, uint8 [(count + 7) // 8]


def select(rows: Rows, queries: int, allow: Any, exclude: Any) -> _topk.RowSelection | None:
    """Return what a scanner is to be told of `allow` and `exclude`, as above; None: all rows count.

    Raises TypeError or ValueError naming the argument, what was given and what is allowed.
    """
    if allow is None and exclude is None:
        return None if rows.bits is None else _topk.RowSelection(rows.held, queries, rows.bits, None, None, None, False)
    allowed, excluded = _Given(allow, "allow", rows, queries), _Given(exclude, "exclude", rows, queries)
    shared = _shared_bits(allowed, excluded, rows)
    bits = _bits_by_query(allowed, excluded)
    keys, only_listed = _keys(allowed, excluded)
    if bits is not None and keys is not None and not only_listed:
        query, row = np.divmod(keys, max(rows.held, 1))
        clear_bits(bits.reshape(-1), query * bits.shape[1] * 8 + row)
        keys = None
    if keys is None:
        return _topk.RowSelection(rows.held, queries, shared, bits, None, None, False)
    starts = np.searchsorted(keys, np.arange(queries + 1) * rows.held).astype(np.int64)
    return _topk.RowSelection(rows.held, queries, shared, bits, keys % max(rows.held, 1), starts, only_listed)


class _Given:
    """What one argument says, as one of: mask bool [N], masks bool [B, N], rows, or keys query * N + row, ascending."""

    def __init__(self, values: Any, name: str, rows: Rows, queries: int) -> None:
        self.mask: np.ndarray | None = None
        self.masks: np.ndarray | None = None
        self.rows: np.ndarray | None = None
        self.keys: np.ndarray | None = None
        if values is None:
            return
        array, whose = _parse(values, name, queries)
        if array.dtype == bool:
            shapes = (rows.total,), (queries, rows.total)
            if array.shape not in shapes:
                raise ValueError(
                    f"{name}: a mask of shape {array.shape}; allowed: {shapes[0]} for all queries, or {shapes[1]}"
                )
            placed = _placed(array, rows)
            self.mask, self.masks = (placed, None) if array.ndim == 1 else (None, placed)
            return
        found = rows.find(array)
        if whose is None:
            self.rows = found[found >= 0]
        else:
            self.keys = distinct(whose[found >= 0] * rows.held + found[found >= 0])


def _placed(mask: np.ndarray, rows: Rows) -> np.ndarray:
    """Return a mask over the rows of the index as one over those of the scanner, False for those that were removed."""
    kept = rows.kept()
    if kept is None:
        return mask[..., rows.first : rows.first + rows.held]
    placed = np.zeros((*mask.shape[:-1], rows.held), bool)
    placed[..., kept] = mask[..., rows.first : rows.first + len(kept)]
    return placed


def _parse(values: Any, name: str, queries: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (a mask, None), (ids int64 [m] for all queries, None), or (ids int64 [m], the query of each)."""
    if isinstance(values, (set, frozenset, range)):
        values = list(values)
    if isinstance(values, (list, tuple)) and any(_is_list(value) for value in values):
        lists = [_checked(list(v) if isinstance(v, (set, frozenset, range)) else v, name, (1,)) for v in values]
        if all(part.dtype == bool for part in lists) and len({len(part) for part in lists}) == 1:
            return np.stack(lists), None
        if any(part.dtype == bool for part in lists):
            raise TypeError(f"{name}: masks of several lengths, or masks and ids; allowed: either, of one length")
        if len(lists) != queries:
            raise ValueError(f"{name}: {len(lists)} lists of ids; allowed: {queries}, one for every query")
        return np.concatenate(lists), np.repeat(np.arange(queries), [len(part) for part in lists])
    array = _checked(values, name, (1, 2))
    if array.dtype == bool or array.ndim == 1:
        return array, None
    if len(array) != queries:
        raise ValueError(f"{name}: ids of shape {array.shape}; allowed: ({queries}, m), a row for every query")
    return array.reshape(-1), np.repeat(np.arange(queries), array.shape[1])


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) > 0


def _checked(values: Any, name: str, dimensions: tuple[int, ...]) -> np.ndarray:
    array = to_numpy(values, name)
    if not array.size and array.dtype == np.float64:
        array = array.astype(np.int64)  # of an empty list
    if array.ndim not in dimensions:
        raise ValueError(f"{name}: shape {array.shape}; allowed: masks or ids, for all queries or for each")
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name}: dtype {array.dtype}; allowed: booleans (a mask) or integers (ids)")
    if array.dtype == np.uint64:  # what int64 cannot hold is nobody's id
        return np.where(array > np.iinfo(np.int64).max, -1, array.astype(np.int64))
    return array if array.dtype == bool else array.astype(np.int64)


def _shared_bits(allowed: _Given, excluded: _Given, rows: Rows) -> np.ndarray | None:
    """Return what counts for all queries, as bits; None: every row does."""
    bits = rows.bits
    if all(part is None for part in (allowed.mask, allowed.rows, excluded.mask, excluded.rows)):
        return bits
    bits = np.full((rows.held + 7) // 8, 255, np.uint8) if bits is None else bits.copy()
    if allowed.mask is not None:
        bits &= np.packbits(allowed.mask, bitorder="little")
    if allowed.rows is not None:
        named = np.full_like(bits, 255)
        clear_bits(named, allowed.rows)
        bits &= ~named
    if excluded.mask is not None:
        bits &= ~np.packbits(excluded.mask, bitorder="little")
    if excluded.rows is not None:
        clear_bits(bits, excluded.rows)
    return bits


def clear_bits(bits: np.ndarray, places: np.ndarray) -> None:
    """Set some bits to 0; bit p is bit p % 8 of byte p // 8."""
    np.bitwise_and.at(bits, places // 8, ~np.left_shift(1, places % 8).astype(np.uint8))


def _bits_by_query(allowed: _Given, excluded: _Given) -> np.ndarray | None:
    """Return the masks of single queries as bits, uint8 [B, (N + 7) // 8]; None where lists say it all."""
    if allowed.masks is None and (excluded.masks is None or allowed.keys is not None):
        return None
    held = None if allowed.masks is None else np.packbits(allowed.masks, axis=1, bitorder="little")
    if excluded.masks is None:
        return held
    rest = ~np.packbits(excluded.masks, axis=1, bitorder="little")
    return rest if held is None else held & rest


def _keys(allowed: _Given, excluded: _Given) -> tuple[np.ndarray | None, bool]:
    """Return (keys query * N + row, whether they are what is allowed): one list for a query, of what is left of both."""
    if allowed.keys is None:
        return excluded.keys, False
    keys = allowed.keys
    if excluded.keys is not None:
        keys = np.setdiff1d(keys, excluded.keys, assume_unique=True)
    if excluded.masks is not None:
        keys = keys[~excluded.masks.reshape(-1)[keys]]
    return keys, True
