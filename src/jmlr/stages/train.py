"""Stage `train`: fine-tune the LLM's adapter, jointly with the retriever (JMLR) or without (RAG, closed book).

`results/{run}/{system}/seed{seed}/r{round}/train/` holds `adapter/` (PEFT), `retriever/` (sentence-transformers; where it
is trained) and `metrics.jsonl`. Round r goes on from round r-1 with the candidates of its refreshed index.

Several ranks share one training: `torchrun --nproc-per-node=2 -m jmlr train ...`; what the environment must hold is told in
`jmlr.runtime.distributed`. Each computes its share of every batch, gradients are added up, and the first rank alone writes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jmlr.options import ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.runtime.digest import stage_digest
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest, stage_output
from jmlr.runtime.progress import say

BOARD = "tensorboard"


def train(
    out: Path,
    prepared: Path,
    llm: str,
    seed: int,
    scratch: Path,
    options: TrainOptions,
    reading: ReadingOptions,
    retrieval: RetrievalOptions,
    round: int = 1,
    rounds: int = 1,
    retriever: str | None = None,
    candidates: Path | None = None,
    previous: Path | None = None,
    index: Path | None = None,
) -> None:
    """Fine-tune the LLM, jointly with its retriever or without.

    Args:
        out: folder to make: adapter/, retriever/, metrics.jsonl
        prepared: output of `prepare`
        llm: the base language model: folder or hub name
        seed: of this training
        scratch: folder for the state of an unfinished training; the same command goes on from it
        round: which round this is, from 1
        rounds: how many rounds share the steps
        retriever: the retriever to train; the base one in round 1, else that of the round before
        candidates: output of `search`; none for a closed-book system
        previous: output of `train` of the round before
        index: output of `index` of this round; for --live-candidates only
    """
    joint = options.target != "frozen"
    if joint and (retriever is None or candidates is None):
        raise UserError(f"--target {options.target} trains a retriever: give --retriever and --candidates")
    if options.passages and candidates is None:
        raise UserError(f"--passages {options.passages}: give --candidates, or --passages 0 for a closed book")
    if not 1 <= round <= rounds or (round > 1) != (previous is not None):
        raise UserError(f"--round {round} of --rounds {rounds}: rounds count from 1, and a later one needs --previous")
    if options.live_candidates and (not joint or index is None):
        raise UserError("--live-candidates: give --index, and a --target that trains the retriever")
    from jmlr.runtime.distributed import joined

    models = {"llm": Path(llm), "retriever": Path(retriever) if retriever else None}
    inputs = {"prepared": prepared, "candidates": candidates, "previous": previous, "index": index, **models}
    with joined() as ranks, ExitStack() as stack:
        folder, notes = Path(), {}
        if ranks.rank == 0:
            folder, notes = stack.enter_context(
                stage_output(out, "train", inputs=inputs, options=[options, reading, retrieval], seed=seed)
            )
        _train(locals(), folder, notes, first=ranks.rank == 0)
        notes["ranks"] = ranks.size
    if ranks.rank == 0:
        if (scratch / BOARD).is_dir():  # beside the manifest, not in it: its bytes tell the time
            shutil.rmtree(out / BOARD, ignore_errors=True)
            shutil.move(scratch / BOARD, out / BOARD)
        shutil.rmtree(scratch, ignore_errors=True)


def _train(given: dict[str, Any], folder: Path, notes: dict[str, Any], first: bool) -> None:
    """Open the session, say what it holds, run it, and save it where this is the first rank."""
    from jmlr.training.judging import report
    from jmlr.training.session import Session

    options, out, round = given["options"], given["out"], given["round"]
    reading, retrieval, joint = given["reading"], given["retrieval"], given["joint"]
    session = Session.open(
        **{k: given[k] for k in ("prepared", "llm", "previous", "seed")},
        retriever=given["retriever"] if joint else None,
        candidates=given["candidates"] if options.passages or joint else None,
        index=given["index"] if options.live_candidates else None,
        options=options.model_dump(),
        reading=reading.model_dump(),
        retrieval=retrieval.model_dump(),
    )
    name = f"train {out.parts[-4] if len(out.parts) > 3 else out.name} r{round}"
    say("\n".join(map(str, session.groups)))
    notes.update({k: str(given[k]) if given[k] else None for k in ("llm", "retriever", "candidates")})
    notes.update(groups=[vars(g) for g in session.groups], questions=len(session.questions))
    notes["training_tokens_cut"] = session.passages.prompter.cut
    if joint:
        judged = session.judge()
        report(judged, name)
        notes["judge"] = vars(judged) if judged else None
    history = session.run(round=round, rounds=given["rounds"], scratch=given["scratch"], key=_key(given), name=name)
    if first:
        session.save(folder, history, round)


def _key(given: dict[str, object]) -> str:
    """Digest what a saved state must agree with: code, options, and the data's own digests."""
    parts = [stage_digest("train")]
    for name in ("options", "reading", "retrieval"):
        parts.append(given[name].model_dump_json())  # type: ignore[attr-defined]
    for name in ("prepared", "candidates", "previous", "index"):
        folder = given[name]
        parts.append(json.dumps(read_manifest(folder)["outputs"]) if isinstance(folder, Path) else "")
    parts += [str(given[name]) for name in ("llm", "retriever", "seed", "round", "rounds")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
