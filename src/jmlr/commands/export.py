"""`jmlr export`: what others can use of a run: its models, with the adapter merged or as it is; its retrieval set; its questions.

jmlr export --run results/demo --out exported
jmlr export --run results/demo --out exported --adapter
jmlr export --run results/demo --out exported --beir
jmlr export --run results/demo --out exported --lm-eval
"""

from __future__ import annotations

import json
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
        out: folder to make
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
    trained = last_training(run, system, seed)
    from jmlr.models.card import write_card

    manifest = read_manifest(trained)
    notes = manifest["notes"]
    with fresh_directory(out, lambda folder: written_by("export", folder)) as folder:
        write = _unmerged if adapter else _merged
        card = write(folder, model_of(run, notes["llm"]), trained / "adapter", llm_precision)
        origin = notes.get("retriever_origin", notes["retriever"])
        about = {"llm": belonging(run, notes["llm"]), "retriever": belonging(run, origin) if origin else origin}
        about |= {k: manifest[k] for k in ("seed", "options", "code")}
        data = {Path(k).name: v for k, v in manifest["inputs"]["prepared"].items()}
        about |= {"round": trained.parent.name.removeprefix("r"), "data": data}
        write_card(folder / ("adapter" if adapter else "llm"), card, about)
        if answering_round(run, system, seed) == 0:
            say(f"export: no retriever: the one before training was best on dev, '{about['retriever']}'")
        elif (trained / "retriever").is_dir():
            shutil.copytree(trained / "retriever", folder / "retriever")
        list_outputs("export", folder)
    say(f"export: {', '.join(sorted(p.name for p in out.iterdir() if p.is_dir()))} in {out}")


def _merged(out: Path, llm: str, adapter: Path, precision: Precision) -> str:
    """Write a language model with its adapter merged, and its tokenizer; refuse what then answers otherwise.

    Returns the name of its card.
    """
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
    model.save_pretrained(out / "llm")
    tokenizer.save_pretrained(out / "llm")
    for p in weights:
        p.data = p.data.float()
    rounded = probe(model)
    written = probe(pretrained(AutoModelForCausalLM, str(out / "llm"), "merged model", dtype=torch.float32))
    if not (agree(adapted, merged) and agree(rounded, written)):
        what = "merging changed it" if agree(rounded, written) else "it does not load as it was saved"
        raise UserError(
            f"export: the merged model differs from '{llm}' with its adapter: {what}; use the adapter itself ('{adapter}', see its README.md)"
        )
    return "merged"


def _unmerged(out: Path, llm: str, adapter: Path, precision: Precision) -> str:
    """Write an adapter that names its base model on the hub, or one that is written beside it; refuse what then answers otherwise.

    Returns the name of its card. The tokenizer lies with the base model, which is where it is read from.
    """
    from transformers import AutoModelForCausalLM

    from jmlr.models.llm import agree, load_adapter, load_llm, probe
    from jmlr.models.load import is_gguf, pretrained

    shutil.copytree(adapter, out / "adapter")
    base = llm
    if Path(llm).exists() or is_gguf(llm):
        base = "base"
        model, tokenizer = load_llm(llm, precision=precision)
        model.save_pretrained(out / base)
        tokenizer.save_pretrained(out / base)
        written = pretrained(AutoModelForCausalLM, str(out / base), "base model", dtype=model.dtype)
        forms = [load_adapter(model, adapter, trainable=False), load_adapter(written, out / "adapter", trainable=False)]
        if not agree(probe(forms[0]), probe(forms[1])):
            raise UserError(f"export: the base model '{llm}' does not load as it was saved; use it with '{adapter}'")
    file = out / "adapter/adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": base}, indent=2) + "\n")
    return "unmerged" if base == "base" else "unmerged_hub"


def _write_lm_eval(out: Path, run: Path, system: str, seed: int) -> None:
    from jmlr.commands.lm_eval_tasks import write_tasks

    with fresh_directory(out, lambda folder: written_by("export", folder)) as folder:
        counts = write_tasks(folder, run, system, seed)
        list_outputs("export", folder)
    say(f"export: {', '.join(f'task {name}: {n:,} questions' for name, n in counts.items())} in {out}")
    tell_private("export", out, run)


def _write_beir(out: Path, run: Path) -> None:
    from jmlr.corpus.beir import write_beir

    made(run, run / "prepare")
    with fresh_directory(out, lambda folder: written_by("export", folder)) as folder:
        counts = write_beir(folder, run / "prepare")
        list_outputs("export", folder)
    say(f"export: {', '.join(f'{n:,} {what}' for what, n in counts.items())} in {out}")
    tell_private("export", out, run)
