"""A language model cut over ranks (FSDP2): each holds its part of every weight and, in a training, of gradients and moments.

    shard(llm, where)                                   # on every rank; the whole model is on the host before
    losses = through(llm, answer_losses, prompts, answers); losses.sum().backward()
    finish(llm)                                         # before the gradients are used

A layer is put together where it computes and let go after it, so all ranks must compute the same number of times, and they do
not: texts of one rank make five parts, those of another three. So each pass is a turn that all take. Before it the ranks agree on
what the turn is for (one number goes round): judging, without gradient, goes before learning, and who wants the other or nothing
computes a few tokens whose gradient is zero. `finish` takes turns until no rank wants one.

`through` is all that training and answering call, and a model that is not cut computes there as ever; a model that is called
itself, as transformers' `generate` does for each token, takes a turn too. Names, shapes and order of the parameters are those of the
whole model.

Source: Zhao et al. 2023 (arXiv 2304.11277); torch.distributed.fsdp.fully_shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from jmlr.models.forward import causal, hidden_states, logits_of
from jmlr.runtime.errors import UserError

T = TypeVar("T")
NOTHING, LEARN, JUDGE = 0, 1, 2  # what a rank wants of a turn; of several the largest is done
IDLE_TOKENS = 8


def through(llm: nn.Module, compute: Callable[..., T], *given: Any) -> T:
    """Return `compute(llm, *given)`, one forward pass; of a sharded model as a turn of all ranks.

    With gradient, its backward pass must come before the next turn of this rank.
    """
    turns: Turns | None = getattr(causal(llm), "turns", None)
    return compute(llm, *given) if turns is None else turns.take(lambda: compute(llm, *given))


def is_sharded(llm: nn.Module) -> bool:
    """Tell whether a model is cut over the ranks."""
    return hasattr(causal(llm), "turns")


def finish(llm: nn.Module) -> None:
    """Take part in what other ranks still compute in this step; nothing where the model is whole."""
    if is_sharded(llm):
        causal(llm).turns.finish()


def shard(llm: nn.Module, where: torch.device, computed_in: torch.dtype | None = None) -> None:
    """Cut a model, adapters included, over all ranks, layer by layer, in place.

    Args:
        llm: on the host, the same on every rank
        where: the device of this rank
        computed_in: the format that weights are put together in and computed with, gradients being added in float32; None: their own

    Raises:
        UserError: it is not known which of its modules are layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    root = causal(llm)
    layers = [m for m in root.modules() if type(m).__name__ in set(root._no_split_modules or ())]
    if not layers:
        raise UserError(f"shard_llm: {type(root).__name__} does not say what its layers are; allowed: shard_llm false")
    how: dict[str, Any] = {
        "mesh": init_device_mesh(where.type, (torch.distributed.get_world_size(),)),
        "mp_policy": MixedPrecisionPolicy(computed_in, torch.float32 if computed_in else None),
        "reshard_after_forward": True,  # of the root too: between passes every parameter is the part, and no stale whole
    }
    for module in (*layers, root):
        fully_shard(module, **how)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # gradients are added up, as of a model that is whole
            module.set_force_sum_reduction_for_comms(True)
    root.turn = _call
    register_fsdp_forward_method(root, "turn")  # embedding, layers and head within one pass: a tied weight is one
    root.turns = Turns(llm, where)
    root.register_forward_pre_hook(lambda *_: root.turns.wait(), prepend=True)  # before FSDP's own


def _call(compute: Callable[[], T]) -> T:
    return compute()


class Turns:
    """The forward passes of a sharded model, which all ranks make together; see the module's description."""

    def __init__(self, llm: nn.Module, where: torch.device) -> None:
        self._llm, self._where = llm, where

    def take(self, compute: Callable[[], T]) -> T:
        """Compute in the next turn of its kind, with gradient or without, and take part in those before it."""
        self.wait()
        return causal(self._llm).turn(compute)

    def wait(self) -> None:
        """Take part in the turns before the next one of this rank, which must follow at once."""
        wanted = LEARN if torch.is_grad_enabled() else JUDGE
        while (kind := self._agree(wanted)) != wanted:
            self._idle(kind)

    def finish(self) -> None:
        """Take part until no rank wants a turn."""
        while (kind := self._agree(NOTHING)) != NOTHING:
            self._idle(kind)

    def _agree(self, wanted: int) -> int:
        asked = torch.tensor(wanted, device=self._where)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        return int(asked.item())

    def _idle(self, kind: int) -> None:
        """Compute a few tokens, and go back with a gradient of zero where the turn has one; no draw is used up."""
        ids = torch.zeros(1, IDLE_TOKENS, dtype=torch.long, device=self._where)
        half = torch.autocast(self._where.type, torch.bfloat16, enabled=self._mixed())
        with _same_draws(self._where), torch.set_grad_enabled(kind == LEARN), half:
            mean = causal(self._llm).turn(lambda: logits_of(self._llm, hidden_states(self._llm, ids)).mean())
        if kind == LEARN:
            mean.backward(torch.zeros_like(mean))

    def _mixed(self) -> bool:
        """Tell whether adapters are of another format than the model under them, which only autocast brings together."""
        return len({p.dtype for p in self._llm.parameters() if p.is_floating_point()}) > 1


def _same_draws(where: torch.device) -> Any:
    return torch.random.fork_rng(devices=[where] if where.type == "cuda" else [])


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor put together from its parts, which every rank must ask for; one that is whole, as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def part_like(tensor: Tensor, like: Any) -> Tensor:
    """Return this rank's part of a whole tensor, cut as `like` is; the tensor itself, on its device, where that is whole."""
    placed = tensor.to(like.device)
    if not hasattr(like, "full_tensor"):
        return placed
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


def gathered(llm: nn.Module, *, trained: bool) -> dict[str, Tensor]:
    """Return a model's tensors by name on the host of the first rank, put together one after the other; on other ranks nothing.

    Args:
        llm: sharded; every rank must ask
        trained: only what is trained: the adapter and the modules trained in full
    """
    held: dict[str, Tensor] = {}
    known: dict[int, Tensor] = {}
    first = torch.distributed.get_rank() == 0
    for name, p in _tensors(llm, trained):
        if id(p) not in known:  # a tied weight stays one
            found = whole(p.detach())
            known[id(p)] = found.cpu() if first else found.new_empty(0)
        if first:
            held[name] = known[id(p)]
    return held


def _tensors(llm: nn.Module, trained: bool) -> Iterator[tuple[str, Tensor]]:
    parameters = dict(llm.named_parameters(remove_duplicate=False))
    yield from ((n, p) for n, p in parameters.items() if p.requires_grad or not trained)
    if not trained:
        yield from ((n, b) for n, b in llm.state_dict().items() if n not in parameters)
