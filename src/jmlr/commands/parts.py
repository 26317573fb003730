"""What others can use of a trained row, each a folder with its card: the adapter, the language model with it merged, the retriever.

row = Trained.of(Path("results/demo"), "jmlr", 0)
row.write("adapter", Path("exported/adapter"))          # a UserError where the row trained no such part
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jmlr.commands.origins import ancestor, data_of, licence_of, results_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import answering_round, last_training, model_of
from jmlr.runtime.manifest import belonging, read_manifest, verify_outputs
from jmlr.runtime.precision import Precision

Part = Literal["adapter", "llm", "retriever"]
PARAMETERS = "adapter_config.json"


@dataclass(frozen=True)
class Trained:
    """A row of a run that was trained.

    Attributes:
        run, system, seed: which row
        folder: output of `train` of the round that answers
        manifest: of that training
    """

    run: Path
    system: str
    seed: int
    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def of(cls, run: Path, system: str, seed: int) -> Trained:
        """Find a row; raise UserError where nothing of it is trained, or not whole."""
        folder = last_training(run, system, seed)
        return cls(run, system, seed, folder, read_manifest(folder))

    @property
    def base(self) -> str:
        """The language model that the adapter was trained on: folder or hub name."""
        return model_of(self.run, self.manifest["notes"]["llm"])

    @property
    def without_retriever(self) -> str:
        """Why the row has no retriever of its own; "" where it has one."""
        if answering_round(self.run, self.system, self.seed) == 0:
            return f"the one before training was best on dev, '{self._models()['retriever']}'"
        return "" if (self.folder / "retriever").is_dir() else f"'{self.system}' trained none"

    def write(self, part: Part, out: Path, precision: Precision = "float32", name: str = "") -> None:
        """Write a part and its card into a fresh folder.

        Args:
            part: which
            out: the folder
            precision: of the weights of a merged language model
            name: under which others will load it, on the hub; "": from a folder

        Raises:
            UserError: the row has no such part, a file of it is damaged, or a merged model answers otherwise than its parts.
        """
        from jmlr.models.card import write_card

        about = {**self._about("retriever" if part == "retriever" else "llm"), **({"name": name} if name else {})}
        if part == "llm":
            _merged(out, self.base, self.folder / "adapter", precision)
            measured = f"The weights here are written in {precision}, and were not measured again."
            write_card(out, "merged", {**about, "measured": measured})
            return
        if part == "retriever" and (why := self.without_retriever):
            raise UserError(f"no retriever of '{self.system}' in '{self.run}': {why}; allowed: adapter, llm")
        self._copy(part, out)
        if part == "adapter":
            _name_base(out / PARAMETERS, self.base)
            write_card(out, "adapter", about)
            return
        from jmlr.models.retriever import parts_of

        found = parts_of(out)  # one encoder, or a folder for each of two, whose card stands above them as well
        inside = [encoder.name for encoder, _ in found if encoder != out]
        for place in dict.fromkeys([out, *(encoder for encoder, _ in found)]):
            write_card(place, found[0][1], {**about, "encoders": inside})

    def write_with_base(self, folder: Path, precision: Precision) -> None:
        """Write adapter/ for `peft.AutoPeftModelForCausalLM`, wherever it lies: its base model is on the hub, or stands beside it in base/.

        Args:
            folder: where both go
            precision: of the base model's weights, if they are written

        Raises:
            UserError: the base model does not load as it was saved.
        """
        from jmlr.models.card import write_card
        from jmlr.models.load import is_gguf

        self._copy("adapter", folder / "adapter")
        here = Path(self.base).exists() or is_gguf(self.base)
        if here:
            _beside(folder / "base", self.base, self.folder / "adapter", precision)
        _name_base(folder / "adapter" / PARAMETERS, "base" if here else self.base)
        write_card(folder / "adapter", "unmerged" if here else "unmerged_hub", self._about("llm"))

    def _copy(self, part: Part, out: Path) -> None:
        """Copy a part's files as the training wrote them; refuse a damaged one."""
        names = [file for file in self.manifest["outputs"] if file.startswith(f"{part}/")]
        verify_outputs(self.folder, f"{part} of '{self.system}'", names)
        for file in names:
            place = out / Path(file).relative_to(part)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / file, place)

    def _models(self) -> dict[str, str | None]:
        notes = self.manifest["notes"]
        origin = notes.get("retriever_origin", notes["retriever"])
        return {
            "llm": belonging(self.run, notes["llm"]),
            "retriever": belonging(self.run, origin) if origin else origin,
        }

    def _chosen(self) -> dict[str, Any]:
        """Return how the dev split chose the round that answers; {} where it chose none."""
        answer = self.run / self.system / f"seed{self.seed}" / "answer"
        notes = read_manifest(answer)["notes"] if answering_round(self.run, self.system, self.seed) is not None else {}
        return {**notes["dev"], "round": notes["round"]} if notes.get("dev") else {}

    def _about(self, model: Literal["llm", "retriever"]) -> dict[str, Any]:
        """Return what a card tells: how it was made, from what under which terms, and what was measured."""
        models, number = self._models(), self.folder.parent.name.removeprefix("r")
        row = self.run / self.system / f"seed{self.seed}"
        base = ancestor(self.run, models[model] or "")
        return {
            **models,
            **{k: self.manifest[k] for k in ("seed", "options", "code")},
            "round": number,
            "data": {Path(k).name: v for k, v in self.manifest["inputs"]["prepared"].items()},
            "ancestor": base,
            "dev": self._chosen(),
            "licence": licence_of(base),
            "sources": data_of(self.run),
            "results": results_of(row, number, "hit" if model == "retriever" else "accuracy"),
            "before": results_of(row, "0", "hit") if model == "retriever" else [],
        }


def _name_base(file: Path, llm: str) -> None:
    """Let an adapter name its base model as its card does: a path of this machine helps nobody, and may tell a name."""
    from jmlr.models.card import shown_name

    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "base_model_name_or_path": shown_name(llm)}, indent=2) + "\n")


def _beside(out: Path, llm: str, adapter: Path, precision: Precision) -> None:
    """Write a base model and its tokenizer; refuse what then answers otherwise with its adapter."""
    from transformers import AutoModelForCausalLM

    from jmlr.models.llm import agree, load_adapter, load_llm, probe
    from jmlr.models.load import pretrained

    model, tokenizer = load_llm(llm, precision=precision)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    written = pretrained(AutoModelForCausalLM, str(out), "base model", dtype=model.dtype)
    if not agree(*(probe(load_adapter(held, adapter, trainable=False)) for held in (model, written))):
        raise UserError(f"export: the base model '{llm}' does not load as it was saved; use it with '{adapter}'")


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
