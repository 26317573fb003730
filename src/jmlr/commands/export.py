"""`jmlr export`: what others can use of a run: its models, the language model with its adapter merged; or its retrieval set.

jmlr export --run results/demo --out exported
jmlr export --run results/demo --out exported --beir
"""

from __future__ import annotations

import shutil
from pathlib import Path

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_directory
from jmlr.runtime.finished import answering_round, last_training, made, model_of
from jmlr.runtime.manifest import belonging, list_outputs, read_manifest, tell_private, written_by
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import say


def export(
    out: Path,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    llm_precision: Precision = "float32",
    beir: bool = False,
) -> None:
    """Write llm/ (merged, with its tokenizer) and retriever/ (where it was trained), each with a model card.

    What was written is loaded again and held against the model with its adapter: a difference beyond rounding is refused.

    With `beir`: its passages, questions and gold as a BEIR folder instead, for other retrievers to be measured on.

    Args:
        out: folder to make
        run: folder of the run
        system: whose models
        seed: of the training
        llm_precision: how the language model's weights are written; bfloat16: half the size
        beir: corpus.jsonl, queries.jsonl and qrels/ of the prepared run, in place of models

    Example:
        jmlr export --run results/demo --system jmlr --out exported
    """
    if beir:
        _write_beir(out, run)
        return
    trained = last_training(run, system, seed)
    from jmlr.models.card import write_card

    manifest = read_manifest(trained)
    notes = manifest["notes"]
    with fresh_directory(out, lambda folder: written_by("export", folder)) as folder:
        _merged(folder / "llm", model_of(run, notes["llm"]), trained / "adapter", llm_precision)
        origin = notes.get("retriever_origin", notes["retriever"])
        about = {"llm": belonging(run, notes["llm"]), "retriever": belonging(run, origin) if origin else origin}
        about |= {k: manifest[k] for k in ("seed", "options", "code")}
        data = {Path(k).name: v for k, v in manifest["inputs"]["prepared"].items()}
        write_card(folder / "llm", "merged", {**about, "round": trained.parent.name.removeprefix("r"), "data": data})
        if answering_round(run, system, seed) == 0:
            say(f"export: no retriever: the one before training was best on dev, '{about['retriever']}'")
        elif (trained / "retriever").is_dir():
            shutil.copytree(trained / "retriever", folder / "retriever")
        list_outputs("export", folder)
    say(f"export: {', '.join(sorted(p.name for p in out.iterdir() if p.is_dir()))} in {out}")


def _merged(out: Path, llm: str, adapter: Path, precision: Precision) -> None:
    """Write a language model with its adapter merged, and its tokenizer; refuse what then answers otherwise."""
    import torch
    from transformers import AutoModelForCausalLM

    from jmlr.models.llm import agree, load_adapter, load_llm, merge_adapter, probe
    from jmlr.models.load import pretrained

    model, tokenizer = load_llm(llm)
    model = load_adapter(model, adapter, trainable=False)
    adapted = probe(model)
    model = merge_adapter(model)
    merged = probe(model)
    weights = list(model.parameters())  # not buffers: a rounded table of positions is no part of what is saved
    if precision == "bfloat16":
        for p in weights:
            p.data = p.data.bfloat16()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    for p in weights:
        p.data = p.data.float()
    rounded = probe(model)
    written = probe(pretrained(AutoModelForCausalLM, str(out), "merged model", dtype=torch.float32))
    if not (agree(adapted, merged) and agree(rounded, written)):
        what = "merging changed it" if agree(rounded, written) else "it does not load as it was saved"
        raise UserError(
            f"export: the merged model differs from '{llm}' with its adapter: {what}; use the adapter itself ('{adapter}', see its README.md)"
        )


def _write_beir(out: Path, run: Path) -> None:
    from jmlr.corpus.beir import write_beir

    made(run, run / "prepare")
    with fresh_directory(out, lambda folder: written_by("export", folder)) as folder:
        counts = write_beir(folder, run / "prepare")
        list_outputs("export", folder)
    say(f"export: {', '.join(f'{n:,} {what}' for what, n in counts.items())} in {out}")
    tell_private("export", out, run)
