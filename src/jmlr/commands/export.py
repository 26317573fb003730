"""`jmlr export`: what others can use of a run: its models, with the adapter merged or as it is; its retrieval set; its questions.

jmlr export --run results/demo --out exported
jmlr export --run results/demo --out exported --adapter
jmlr export --run results/demo --out exported --beir
jmlr export --run results/demo --out exported --lm-eval
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jmlr.commands.parts import Trained
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_directory
from jmlr.runtime.finished import answering_round, made
from jmlr.runtime.manifest import list_outputs, read_manifest, tell_private, written_by
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import say


def export(
    out: Path,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    llm_precision: Precision = "float32",
    adapter: bool = False,
    beir: bool = False,
    lm_eval: bool = False,
) -> None:
    """Write llm/ (merged, with its tokenizer) and retriever/ (where it was trained), each with a model card.

    What was written is loaded again and held against the model with its adapter: a difference beyond rounding is refused.

    With `adapter`: adapter/ in place of llm/, for `peft.AutoPeftModelForCausalLM`; and base/, unless its base model is on the hub.
    With `beir`: its passages, questions and gold as a BEIR folder instead, for other retrievers to be measured on.
    With `lm_eval`: its test questions as tasks of lm-evaluation-harness, in the words of the system's prompts (docs/serve.md).

    Args:
        out: folder to make; an earlier export of the same is replaced, and nothing else
        run: folder of the run
        system: whose models
        seed: of the training
        llm_precision: how the language model's weights are written; bfloat16: half the size
        adapter: the adapter as it was trained, not merged
        beir: corpus.jsonl, queries.jsonl and qrels/ of the prepared run, in place of models
        lm_eval: a task for each data set, in place of models

    Example:
        jmlr export --run results/demo --system jmlr --out exported
    """
    if adapter + beir + lm_eval > 1:
        raise UserError("give one of --adapter, --beir and --lm-eval")
    if beir:
        _write_beir(out, run)
        return
    if lm_eval:
        _write_lm_eval(out, run, system, seed)
        return
    row = Trained.of(run, system, seed)
    with _fresh(out, f"{'the adapter' if adapter else 'the models'} of {system}, seed {seed}", run) as folder:
        if adapter:
            row.write_with_base(folder, llm_precision)
        else:
            row.write("llm", folder / "llm", llm_precision)
        if not row.without_retriever:
            row.write("retriever", folder / "retriever")
        elif answering_round(run, system, seed) == 0:
            say(f"export: no retriever: {row.without_retriever}")
    say(f"export: {', '.join(sorted(p.name for p in out.iterdir() if p.is_dir()))} in {out}")
    tell_private("export", out, run, "learned from texts of")


@contextmanager
def _fresh(out: Path, what: str, run: Path) -> Iterator[Path]:
    """Yield a fresh folder; one that is there is replaced by an export of the same (`what`, of a run of this name) alone."""
    holds = f"{what}, of run {Path(os.path.abspath(run)).name}"

    def own(folder: Path) -> set[str]:
        files = written_by("export", folder)
        told = read_manifest(folder).get("holds", "an export that does not say of what") if files else holds
        if told != holds:
            raise UserError(f"--out: '{out}' holds {told}, and stays as it is; give another folder")
        return files

    with fresh_directory(out, own) as folder:
        yield folder
        list_outputs("export", folder, holds)


def _write_lm_eval(out: Path, run: Path, system: str, seed: int) -> None:
    from jmlr.commands.lm_eval_tasks import write_tasks

    with _fresh(out, f"the tasks of {system}, seed {seed}", run) as folder:
        counts = write_tasks(folder, run, system, seed)
    told = [f"task {name}: {count_of(n, 'question')}" for name, n in counts.items()]
    say(f"export: {', '.join(told)} in {out}")
    tell_private("export", out, run)


def _write_beir(out: Path, run: Path) -> None:
    from jmlr.corpus.beir import write_beir

    made(run, run / "prepare")
    with _fresh(out, "the retrieval set", run) as folder:
        counts = write_beir(folder, run / "prepare")
    say(f"export: {', '.join(f'{n:,} {what}' for what, n in counts.items())} in {out}")
    tell_private("export", out, run)
