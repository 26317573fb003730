"""Exact inner-product top-k: the same ids and the same scores on every kernel, storage, batch and thread count.

    index = Index.build(vectors, storage="int8")      # vectors [N, D]
    scores, ids = index.search(queries, k=10)         # float32 [B, 10], int64 [B, 10]

The contract, the bounds and the format on disk are explained in docs/topk.md.
"""

from jmlr.topk.format import IndexFormatError
from jmlr.topk.index import Index, kernel_names, merge, topk

__all__ = ["Index", "IndexFormatError", "kernel_names", "merge", "topk"]
