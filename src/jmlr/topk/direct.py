"""`topk`: a search of vectors of which no index is kept; `kernel_names`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jmlr.topk import _topk
from jmlr.topk.arrays import as_matrix, as_metric, on_gpu
from jmlr.topk.index import Index
from jmlr.topk.segments import Segment, Segments, encoded

if TYPE_CHECKING:
    import torch


@overload
def topk(
    queries: torch.Tensor, vectors: Any, k: int, threads: int | None = ..., *, metric: str = ..., largest: bool = ...
) -> tuple[torch.Tensor, torch.Tensor]: ...
@overload
def topk(
    queries: np.ndarray | Sequence[Any],
    vectors: Any,
    k: int,
    threads: int | None = ...,
    *,
    metric: str = ...,
    largest: bool = ...,
) -> tuple[np.ndarray, np.ndarray]: ...
def topk(
    queries: Any,
    vectors: Any,
    k: int,
    threads: int | None = None,
    *,
    metric: str = "inner_product",
    largest: bool = True,
) -> tuple[Any, Any]:
    """Return what `Index.build(vectors, metric=metric).search(queries, k, largest=largest)` would; the vectors are not kept.

    Of inner products they are not copied either.
    """
    if on_gpu(vectors):
        from jmlr.topk.cuda import CudaIndex

        if metric != "inner_product" or not largest:
            raise ValueError("metric, largest: allowed on a GPU: inner products, the largest")
        return CudaIndex.build(vectors, copy=False).search(queries, k)
    matrix = as_matrix(vectors, "vectors", copy=as_metric(metric) == "cosine").view()  # the caller's stays writeable
    segment = Segment("float32", encoded(matrix, "float32", metric))
    return Index(Segments("float32", [segment]), metric, {}).search(queries, k, threads, largest=largest)


def kernel_names() -> dict[str, str]:
    """Return which instruction set scans each storage here, under JMLR_ISA if set; a bad name raises ValueError."""
    names = _topk.kernel_names(os.environ.get("JMLR_ISA", ""))
    return dict(zip(("float32", "bfloat16", "int8"), names, strict=True))
