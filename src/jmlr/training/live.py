"""Candidates that follow the retriever within a round: each step's queries are encoded and searched anew (option live_candidates).

    live = LiveCandidates.open(Path("results/demo/jmlr/seed0/r1/index"), 30, retriever)
    batch = live.renew(batch, settings)

The passages' vectors stay those of the round's index: encoding them all again is what the next round does. The index is mapped,
so the ranks of a node share it; a ColBERT's token vectors are searched by exact MaxSim, as `search` does. Where training has a GPU
and the index fits beside the models, it is searched there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from jmlr.inference.questions import Question
from jmlr.models.retriever import Retriever
from jmlr.runtime.errors import UserError
from jmlr.topk import Index, MaxSimIndex
from jmlr.topk.gpu_search import MAX_K, gpu_here, resident
from jmlr.topk.stored import open_stored
from jmlr.training.step import StepSettings, encode


@dataclass(frozen=True)
class LiveCandidates:
    """A round's index, searched by the retriever in training."""

    index: Any  # an Index or a MaxSimIndex, or either on the GPU that trains
    retriever: Retriever
    count: int

    @classmethod
    def open(cls, folder: Path, count: int, retriever: Retriever, passages: int) -> LiveCandidates:
        """Open the index of a round.

        Args:
            folder: output of `index`.
            count: candidates per question (C).
            retriever: the one in training.
            passages: how many there are in passages.parquet.

        Raises:
            UserError: the index is of another kind or depth than the retriever, of other passages, or damaged.
        """
        index = open_stored(folder / "index")
        if retriever.tokens != isinstance(index, MaxSimIndex):
            made = ("one vector for each passage", "one for each token")
            raise UserError(
                f"'{folder}' holds {made[not retriever.tokens]}, the retriever makes {made[retriever.tokens]}; "
                "index it with this retriever"
            )
        depth = retriever.depth
        if index.dim != depth:
            raise UserError(
                f"'{folder}' holds vectors of depth {index.dim}, the retriever makes {depth}; index it with this retriever"
            )
        if len(index) != passages:
            raise UserError(f"'{folder}' holds vectors of {len(index)} passages, passages.parquet {passages} passages")
        count, where = min(count, len(index)), gpu_here()
        held = resident(index, where) if where and count <= MAX_K else None  # else searched by the CPU
        return cls(held or index, retriever, count)

    @torch.no_grad()
    def renew(self, batch: Sequence[Question], settings: StepSettings) -> list[Question]:
        """Return the questions with the candidates, and their scores, that the index gives to the present queries."""
        if not batch:
            return []
        queries = encode(self.retriever, [q.query for q in batch], settings, "query").float()
        if isinstance(self.index, Index | MaxSimIndex):
            queries = queries.cpu()
        # a token that does not count is zero, and adds 0 to MaxSim
        scores, rows = self.index.search(queries, self.count)
        found = zip(batch, rows.tolist(), scores.tolist(), strict=True)
        return [replace(q, candidates=list(r), scores=list(s)) for q, r, s in found]
