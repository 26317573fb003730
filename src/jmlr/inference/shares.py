"""Which questions a rank answers where several share them, and how all their answers come together.

    for numbers in shares(llm, prompts, batch, done):     # batches of this rank; of a lone process all
        own.update(...)
    answers = put_together(llm, own)                 # those of all ranks, by number

The batches are those of one process, dealt in turn: answers have its bits as far as the hardware gives them, and the ranks read
prompts of like length at the same time. Ranks with a whole model each wait for the others after every batch, so that none waits
longer at the end than the processes' library allows; those of a model that is cut meet at every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import nn

from jmlr.models.prefix import by_length
from jmlr.models.sharded import finish, is_sharded
from jmlr.runtime.distributed import current, from_all, wait_for_all

T = TypeVar("T")


def shares(
    llm: nn.Module, prompts: Sequence[Sequence[int]], batch: int, done: Callable[[int], None]
) -> Iterator[list[int]]:
    """Yield the numbers of the prompts of each of this rank's batches, the longest first.

    Args:
        llm: that answers, whole or cut over the ranks.
        prompts: of all questions, the same on every rank.
        batch: prompts at a time; fewer where a rank would else have none.
        done: called after each batch with the number of prompts that all ranks had in this turn.
    """
    ranks = current()
    batches = by_length(prompts, max(1, min(batch, -(-len(prompts) // ranks.size))))
    for first in range(0, len(batches), ranks.size):
        turn = batches[first : first + ranks.size]
        yield from turn[ranks.rank : ranks.rank + 1]
        if not is_sharded(llm):
            wait_for_all()
        done(sum(map(len, turn)))


@torch.inference_mode()  # as all passes of answering: what FSDP puts weights together in is of one mode
def put_together(llm: nn.Module, own: dict[int, T]) -> list[T]:
    """Return what all ranks found, in the order of the numbers, once none computes any more; every rank must ask."""
    finish(llm)
    return [found for _, found in sorted(from_all(own).items())]
