"""Exact inner-product top-k: the same ids and the same scores on every kernel, storage, batch and thread count.

    index = Index.build(vectors, storage="int8")      # vectors [N, D]
    scores, ids = index.search(queries, k=10)         # float32 [B, 10], int64 [B, 10]

    index = MaxSimIndex.build(tokens, offsets)        # ColBERT: tokens [M, D], passage p has offsets[p]:offsets[p + 1]
    scores, ids = index.search(query_tokens, k=10)    # query_tokens [B, T, D]

The contract, the bounds and the format on disk are explained in docs/topk.md.

Here: a library of its own, which needs NumPy alone; and, for the workflow, vectors as they are stored between stages.
May import: runtime.
"""

from jmlr.topk.direct import kernel_names, topk
from jmlr.topk.format import IndexFormatError
from jmlr.topk.index import Index
from jmlr.topk.maxsim import MaxSimIndex, maxsim_topk
from jmlr.topk.merging import merge

__all__ = ["Index", "IndexFormatError", "MaxSimIndex", "kernel_names", "maxsim_topk", "merge", "topk"]
