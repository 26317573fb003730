"""What of a run is there: `ask`, `export` and `review` may be given one that goes on, or a copy that lacks a part.

    trained = last_training(run, "jmlr", 0)          # a folder, or: 'results/own': system 'jmlr' with seed 0 is not trained
                                                     # yet; finished: closed_book seed0; go on with `snakemake ...`
    index = part(run, notes["index"])                # what a manifest names, and whole

Every message tells which systems are finished, and how to go on.
"""

from __future__ import annotations

import re
from pathlib import Path

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing
from jmlr.runtime.manifest import NAME, anew, belonging, in_checkout, read_manifest
from jmlr.runtime.progress import say
from jmlr.runtime.stages import STAGES
from jmlr.runtime.validation import nearest

OWN = re.compile(r"/seed\d+/")  # in the name of what a run made itself; no model on the hub has it
DEEPEST = 6  # results/{run}/{system}/seed{seed}/r{round}/encode/{part}


def finished(run: Path) -> str:
    """Return which systems of a run have answered, with their seeds, and which are trained without having answered yet."""
    have = {
        stage: {(p.parts[len(run.parts)], p.parts[len(run.parts) + 1]) for p in run.glob(f"*/seed*/{stage}/{NAME}")}
        for stage in ("answer", "r*/train")
    }
    told = {"finished": have["answer"], "trained, without answers": have["r*/train"] - have["answer"]}
    said = [f"{what}: {', '.join(f'{s} {seed}' for s, seed in sorted(rows))}" for what, rows in told.items() if rows]
    return "; ".join(said if have["answer"] else ["no system of it is finished yet", *said])


def unfinished(run: Path, what: str, output: Path | None = None, known: bool = True) -> UserError:
    """Return what to say where a run lacks something: what, which systems are finished, and how to go on, or to make an output.

    known: that is in the run's configuration; else it may be none of its systems

    Raises:
        UserError: there is no such folder, or it is no run's.
    """
    if not run.exists() and (others := sorted(p.parent.name for p in Path("results").glob("*/prepare"))):
        raise UserError(f"--run: there is no '{run}'; runs here: {', '.join(f'results/{name}' for name in others)}")
    if not existing(run, "--run").is_dir() or not any(any(run.glob("*/" * n + NAME)) for n in range(1, DEEPEST)):
        raise UserError(f"--run: '{run}' is no run: it holds no stage's output; allowed: a folder such as results/demo")
    own, file = in_checkout(run)
    fix = anew(output, run) if output else f"go on with `snakemake --cores all{own}` in the checkout{file}"
    return UserError(f"'{run}': {what}; {finished(run)}; {'' if known else 'if its configuration has it, '}{fix}")


def made(run: Path, output: Path) -> Path:
    """Return a stage's output of a run; raise UserError if it is not there, or lacks a file that its manifest lists."""
    if not (output / NAME).is_file():
        raise unfinished(run, f"there is no '{output}' yet, or it was not copied", output)
    if lost := next((name for name in read_manifest(output)["outputs"] if not (output / name).exists()), ""):
        raise UserError(f"'{output}' is not whole: it lacks '{lost}'; copy it again, or {anew(output, run)}")
    return output


def part(run: Path, name: str) -> Path:
    """Return the output of a stage that a manifest of the run names; raise UserError as `made` does."""
    place = Path(belonging(run, name))
    return made(run, place if place.exists() else run / name)


def model_of(run: Path, name: str) -> str:
    """Return the model that a manifest of the run names: a folder, or a name on the hub.

    Raises:
        UserError: it is one that the run made, and is not there, or not whole; or as `belonging` does.
    """
    place = belonging(run, name)
    if OWN.search(name) and not Path(place).exists():
        output = next((p for p in (run / name, *(run / name).parents) if p.name in STAGES), None)
        raise unfinished(run, f"the model '{name}' is not there yet, or was not copied", output)
    if (Path(place) / NAME).is_file():
        made(run, Path(place))
    return place


def answered(run: Path, system: str, seed: int) -> Path:
    """Return the answers of a system; raise UserError if there are none."""
    folder = run / system / f"seed{seed}" / "answer"
    if not (folder / NAME).is_file():
        raise _lacking(run, system, seed, "has not answered yet")
    return made(run, folder)


def answering_round(run: Path, system: str, seed: int) -> int | None:
    """Return the round whose retriever `answer` chose on the dev split (train.keep_best); None where it chose none."""
    folder = run / system / f"seed{seed}" / "answer"
    found = read_manifest(folder)["notes"].get("round") if (folder / NAME).is_file() else None
    return None if found is None else int(found)


def last_training(run: Path, system: str, seed: int) -> Path:
    """Return the training that answers: of the round that `answer` chose (round 0 is answered by the LLM of 1), else the last.

    Raises:
        UserError: there is none, or it is not whole.
    """
    folders = sorted(run.glob(f"{system}/seed{seed}/r*/train"), key=lambda p: int(p.parent.name[1:]))
    folders = [f for f in folders if (f / NAME).is_file()]
    if not folders and (run / system / f"seed{seed}" / "answer" / NAME).is_file():
        raise UserError(f"'{run}': nothing of system '{system}' is trained: models as they are answer; {finished(run)}")
    if not folders:
        raise _lacking(run, system, seed, "is not trained yet")
    if not (run / system / f"seed{seed}" / "answer" / NAME).is_file():
        last = folders[-1].parent.name[1:]
        say(f"system '{system}' with seed {seed} has not answered yet: its last finished round, {last}, is taken")
    chosen = answering_round(run, system, seed)
    return made(
        run, next((f for f in folders if chosen is not None and f.parent.name == f"r{max(chosen, 1)}"), folders[-1])
    )


def _lacking(run: Path, system: str, seed: int, what: str) -> UserError:
    """Return what to say of a system that lacks a stage, or that the run knows nothing of: it may be a slip."""
    known = sorted({p.parts[-3] for stage in ("r*", "answer") for p in run.glob(f"*/seed*/{stage}")})
    if system in known:
        return unfinished(run, f"system '{system}' with seed {seed} {what}")
    near = nearest(system, known) if known else ""
    meant = near if "did you mean" in near else ""
    return unfinished(run, f"no system '{system}' is finished or begun{meant}", known=False)
