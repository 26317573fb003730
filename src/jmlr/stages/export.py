"""`jmlr export`: the models of a finished run as folders for others, the language model with its adapter merged."""

from __future__ import annotations

import shutil
from pathlib import Path

from jmlr.runtime.files import fresh_directory
from jmlr.runtime.manifest import last_training, read_manifest
from jmlr.runtime.progress import say


def export(
    out: Path,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    bf16: bool = False,
) -> None:
    """Write llm/ (merged, with its tokenizer) and retriever/ (where it was trained), each with a model card.

    Args:
        out: folder to make
        run: folder of the run
        system: whose models
        seed: of the training
        bf16: write the language model in bfloat16, half the size; the default is float32
    """
    trained = last_training(run, system, seed)
    from jmlr.models.card import write_card
    from jmlr.models.llm import load_adapter, load_llm, merge_adapter

    manifest = read_manifest(trained)
    with fresh_directory(out) as folder:
        model, tokenizer = load_llm(manifest["notes"]["llm"])
        model = merge_adapter(load_adapter(model, trained / "adapter", trainable=False))
        (model.bfloat16() if bf16 else model).save_pretrained(folder / "llm")
        tokenizer.save_pretrained(folder / "llm")
        about = {k: manifest["notes"][k] for k in ("llm", "retriever")}
        about |= {k: manifest[k] for k in ("seed", "options", "code")}
        data = {Path(k).name: v for k, v in manifest["inputs"]["prepared"].items()}
        write_card(folder / "llm", "merged", {**about, "round": trained.parent.name.removeprefix("r"), "data": data})
        if (trained / "retriever").is_dir():
            shutil.copytree(trained / "retriever", folder / "retriever")
    say(f"export: {', '.join(sorted(p.name for p in out.iterdir()))} in {out}")
