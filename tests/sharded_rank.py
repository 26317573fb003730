"""A rank of trainings with a sharded language model, in float64: `torchrun ... tests/sharded_rank.py CASES.json`.

Each case names a folder, the models, and what differs from OPTIONS; the folder gets trained.safetensors and about.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from jmlr.models.sharded import Turns, gathered, is_sharded
from jmlr.runtime.distributed import joined
from jmlr.runtime.signals import InterruptedTrainingError
from jmlr.training import loop
from toys import JOINT, open_session

OPTIONS = JOINT.model_copy(
    update={"steps": 4, "batch": 5, "retriever_learning_rate": 1e-3, "forward_tokens": 150, "micro_batch": 1}
)


def trained_of(session: Any) -> dict[str, torch.Tensor]:
    """Return what is trained, by model and name, on the first rank."""
    whole = {n: p.detach() for n, p in session.llm.named_parameters() if p.requires_grad}
    llm = gathered(session.llm, trained=True) if is_sharded(session.llm) else whole
    retriever = {n: p.detach() for n, p in session.retriever.named_parameters() if p.requires_grad}
    return {**{f"llm.{n}": p for n, p in llm.items()}, **{f"retriever.{n}": p for n, p in retriever.items()}}


def run(case: dict[str, Any], rank: int) -> None:
    """Train as a case says; `until`: it is stopped after so many steps, with its state saved."""
    folder, idle = Path(case["folder"]), []
    real = Turns._idle
    Turns._idle = lambda self, kind: (idle.append(kind), real(self, kind))[1]  # type: ignore[method-assign]
    session = open_session(
        Path(case["tiny"]), Path(case["candidates"]), llm=Path(case["llm"]), options=OPTIONS, **case["changes"]
    )
    session.llm.double()
    session.retriever.double()
    held = sum(getattr(p, "_local_tensor", p).numel() for p in session.llm.parameters())
    step = loop.one_step

    def stopping(session: Any, number: int, stop: Any) -> Any:
        stop.asked = stop.asked or number + 1 == case.get("until")
        return step(session, number, stop)

    loop.one_step = stopping
    history: list[Any] = []
    try:
        history = loop.train_round(session, 1, 1, scratch=folder / "scratch", key="", name="train")
    except InterruptedTrainingError:
        pass
    finally:
        loop.one_step, Turns._idle = step, real  # type: ignore[method-assign]
    trained = trained_of(session)
    seen: list[Any] = [(held, idle)]
    if torch.distributed.is_initialized():
        seen *= torch.distributed.get_world_size()
        torch.distributed.all_gather_object(seen, (held, idle))
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in trained.items()}, folder / "trained.safetensors")
        about = {
            "history": history,
            "held": [size for size, _ in seen],
            "idle": [kind for _, own in seen for kind in own],
            "sharded": is_sharded(session.llm),
        }
        (folder / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    with joined() as ranks:
        for given in json.loads(Path(sys.argv[1]).read_text()):
            run(given, ranks.rank)
