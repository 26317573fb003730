"""Stage `train`: fine-tune the LLM's adapter, jointly with the retriever (JMLR) or without (RAG, closed book).

`results/{run}/{system}/seed{seed}/r{round}/train/` holds `adapter/` (PEFT), `retriever/` (where it is trained; a
sentence-transformers or PyLate directory, or one each for queries and passages) and `metrics.jsonl`. Round r goes on from
round r-1 with the candidates of its refreshed index.

Several ranks share one training: `torchrun --nproc-per-node=2 -m jmlr train ...`; what the environment must hold is told in
`jmlr.runtime.distributed`. Each computes its share of every batch, gradients are added up, and the first rank alone writes.

Example:
    jmlr train --out my/rag --prepared results/demo/prepare --llm results/demo/llm/seed0/pretrain --seed 1 --scratch my/scratch \\
        --search results/demo/retriever/seed0/r0/search --target frozen --steps 100
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jmlr.options import Closed, ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.runtime.digest import stage_digest
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import NAME, belonging, read_manifest, run_of, stage_output, state_key
from jmlr.runtime.progress import warn


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
    search: Path | None = None,
    previous: Path | None = None,
    vectors: list[Path] | None = None,
    index: Path | None = None,
) -> None:
    """Fine-tune the LLM, jointly with its retriever or without.

    Args:
        out: folder to make
        prepared: output of `prepare`
        llm: the base language model: folder or hub name
        seed: of this training
        scratch: folder for the state of an unfinished training; the same command goes on from it
        round: which round this is, from 1
        rounds: how many rounds share the steps
        retriever: the retriever to train; the base one in round 1, else that of the round before
        search: output of `search`; none for a closed book
        previous: output of `train` of the round before
        vectors: outputs of `encode` for the passages, where their encoder stays as it is: none is encoded again
        index: output of `index` of this round; for --live-candidates only
    """
    _check(options, round, rounds, previous, retriever, search, vectors, index)
    from jmlr.runtime.distributed import joined
    from jmlr.training.loop import Schedule, train_round
    from jmlr.training.session import Session

    inputs = {"prepared": prepared, "candidates": search, "previous": previous, "vectors": vectors, "index": index,
              "llm": Path(llm), "retriever": Path(retriever) if retriever else None}  # fmt: skip
    own: Any = {"inputs": inputs, "options": (options, reading, retrieval), "variants": _kind(retriever), "seed": seed}
    whole: Any = stage_output(out, "train", **own)
    with joined() as ranks, whole if ranks.rank == 0 else nullcontext((out, {})) as (folder, notes):
        session = Session.open(
            prepared=prepared, llm=llm, retriever=retriever if options.joint else None, previous=previous, vectors=vectors or [],
            candidates=search if options.passages or options.joint else None, index=index, seed=seed, options=options,
            reading=reading, retrieval=retrieval)  # fmt: skip
        _tell(session, prepared, search, previous, options)
        name = f"train {out.parts[-4] if len(out.parts) > 3 else out.name} r{round}"
        began = {"llm": llm, "retriever": _origin(previous) or retriever, "seed": seed, "round": round}
        notes.update(llm=llm, retriever=retriever, retriever_origin=began["retriever"], candidates=str(search) if search else None, ranks=ranks.size,
                     groups=[vars(g) for g in session.groups], questions=len(session.questions), steps=Schedule.of(session, round, rounds).total,
                     training_tokens_cut=session.passages.prompter.cut, reading_check=session.check_reading(name))  # fmt: skip
        history = train_round(session, round, rounds, scratch=scratch, name=name, key=state_key("train", **own, round=round, rounds=rounds))  # fmt: skip
        session.save(folder, history, round)
        if ranks.rank == 0:
            _write_cards(folder, prepared, began, *own["options"])
            notes["boards"] = _runs(scratch)
    if ranks.rank == 0:
        _clear(scratch, out)


def _kind(retriever: str | None) -> dict[str, str]:
    from jmlr.models.kinds import kind_of

    return {"retriever": kind_of(Path(retriever)) if retriever else ""}


def _tell(session: Any, prepared: Path, search: Path | None, previous: Path | None, options: TrainOptions) -> None:
    """Say what is trained, and warn where the round before made the retriever worse: this one goes on from it."""
    session.tell()
    from jmlr.training.rounds import fall

    told = read_manifest(previous)["notes"]["candidates"] if previous else ""
    before = Path(belonging(run_of(previous) or previous.parent, told)) if previous and told else None
    compared = previous and before and before.is_dir() and _is_by(before, read_manifest(previous)["notes"]["retriever"])
    fell = fall(prepared, before, search) if compared and before and search and options.joint else ""
    if fell:
        fix = f"lower retriever_learning_rate ({options.retriever_learning_rate:g}), or set prior_weight"
        warn("train", f"{fell} in the round before: the retriever forgets what it knew; {fix}")


def _is_by(search: Path, retriever: str) -> bool:
    """Tell whether a search compared a retriever's vectors, as far as it tells; one of words or of others' lists compared none."""
    encoded = search.parent / "encode/questions"
    known = read_manifest(encoded)["notes"]["retriever"] if (encoded / NAME).is_file() else retriever
    return known == retriever and not read_manifest(search).get("notes", {}).get("retriever")


def _runs(scratch: Path) -> dict[str, str]:
    from jmlr.training.boards import runs_of

    return runs_of(scratch)


def _clear(scratch: Path, out: Path) -> None:
    from jmlr.training.boards import drop_figures, keep_events
    from jmlr.training.state import drop_states

    keep_events(scratch, out)
    drop_figures(scratch)
    drop_states(scratch)


def _origin(previous: Path | None) -> str:
    """Return the retriever that the first round began from, by the manifest of the round before; "" where none tells."""
    told = read_manifest(previous)["notes"].get("retriever_origin") if previous else None
    return belonging(run_of(previous) or previous.parent, told) if previous and told else ""


def _check(
    options: TrainOptions,
    round: int,
    rounds: int,
    previous: Path | None,
    retriever: str | None,
    search: Path | None,
    vectors: list[Path] | None,
    index: Path | None,
) -> None:
    """Refuse options that need an input which was not given, or the other way round."""
    if not 1 <= round <= rounds or (round > 1) != (previous is not None):
        raise UserError(f"--round {round} of --rounds {rounds}: rounds count from 1, and a later one needs --previous")
    if options.joint and (retriever is None or search is None):
        raise UserError(f"--target {options.target} trains a retriever: give --retriever and --search")
    if options.passages and search is None:
        raise UserError(f"--passages {options.passages}: give --search, or --passages 0 for a closed book")
    if vectors and not options.keeps_passages:
        raise UserError("--vectors are those of a passage encoder that stays as it is: --retriever-encoders query_only")
    if options.live_candidates and (not options.joint or index is None):
        raise UserError("--live-candidates: give --index, and a --target that trains the retriever")


def _write_cards(folder: Path, prepared: Path, began: dict[str, Any], *options: Closed) -> None:
    """Put a model card into the adapter and the retriever; `began`: the models of round 1, the seed, the round."""
    from jmlr.models.card import write_card
    from jmlr.models.retriever import parts_of

    settings = {k: v for o in options for k, v in o.model_dump(mode="json").items()}
    about = {
        **began,
        "options": settings,
        "code": stage_digest("train", *options),
        "data": read_manifest(prepared)["outputs"],
    }
    write_card(folder / "adapter", "adapter", about)
    for part, kind in parts_of(folder / "retriever") if (folder / "retriever").is_dir() else []:
        write_card(part, kind, about)
