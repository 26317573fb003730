"""A rank that answers: `torchrun ... tests/answering_rank.py CASES.json`; each case is what `jmlr answer` is told, and tells back.

`about-RANK.json` beside the cases: of each case the weights that the rank held of a cut model, and how often it computed for others.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jmlr.models import sharded
from jmlr.options import AnswerOptions
from jmlr.runtime.distributed import joined
from jmlr.stages.answer import answer
from toys import toy_reading

PATHS = ("out", "prepared", "trained", "searches")


def run(case: dict[str, Any]) -> None:
    """Answer as a case says."""
    paths = {k: [Path(p) for p in v] if isinstance(v, list) else Path(v) for k, v in case.items() if k in PATHS}
    others = {k: case[k] for k in ("llm", "passages") if k in case}
    answer(**paths, **others, options=AnswerOptions(**case["options"]), reading=toy_reading(**case["reading"]))


def main(cases: Path) -> None:
    """Answer all cases, and tell of each what this rank held and did for others."""
    idle: list[int] = []
    held: list[int] = []
    wait, cut = sharded.Turns._idle, sharded.shard

    def counted(self: Any, kind: int) -> None:
        idle.append(kind)
        wait(self, kind)

    def weighed(llm: Any, *given: Any) -> None:
        cut(llm, *given)
        held.append(sum(getattr(p, "_local_tensor", p).numel() for p in llm.parameters()))

    told = []
    # one group for all cases: who joins a second one may find the places of the first, and wait for ever
    with joined(), patch.object(sharded.Turns, "_idle", counted), patch.object(sharded, "shard", weighed):
        for case in json.loads(cases.read_text()):
            idle.clear()
            held.clear()
            run(case)
            told.append({"out": Path(case["out"]).name, "held": list(held), "idle": len(idle)})
    (cases.parent / f"about-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
