"""Model cards: what a published adapter or retriever was made from, with what, and how to load it.

write_card(folder / "adapter", "adapter", about)        # README.md; `about` as the stage's manifest has it, no text of the corpus
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from jmlr.models.kinds import of_kind
from jmlr.models.load import gguf_of
from jmlr.runtime.counting import count_of
from jmlr.runtime.extras import DISTRIBUTION

LLMS = {
    "adapter": {
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base}, dtype=torch.{dtype})  # as the run held it
model = PeftModel.from_pretrained(base, "{name}")""",
    },
    "unmerged": {  # its base model stands beside it
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import os
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

os.chdir("path/of/the/folder/above")  # peft looks for a base model on the hub, or from where Python runs
model = AutoPeftModelForCausalLM.from_pretrained("adapter", dtype=torch.{dtype})  # as the run held it
tokenizer = AutoTokenizer.from_pretrained("base")""",
    },
    "unmerged_hub": {
        "title": "LoRA adapter of a language model",
        "library": "peft",
        "load": """import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{name}", dtype=torch.{dtype})  # as the run held it
tokenizer = AutoTokenizer.from_pretrained({base})""",
    },
    "merged": {
        "title": "Language model, its adapter merged",
        "library": "transformers",
        "load": """from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")""",
    },
}
# An adapter is saved in float32; what holds it is another matter for each of the libraries' loaders.
LOADERS = (
    "Give the dtype, and load with peft: beside a base model in bfloat16 it holds the LoRA weights in float32 and rounds what "
    "was trained in full (`train_modules`); transformers' own `load_adapter`, and its `from_pretrained` of this folder, round both."
)


# Invented, as all that a card shows of a prompt, and not of the demo's medicine: no text of any data may stand in what is published.
PASSAGES = (
    ("Quorrin syndrome", "A grey rash on both palms is the first sign of Quorrin syndrome."),
    ("Wexley fever", "Wexley fever passes with two weeks of rest."),
)
QUESTION = "A man has Quorrin syndrome. Which finding is expected on examination?"
OPTIONS = ("a grey rash", "swollen knees", "a slow pulse", "loss of hearing")


def write_card(folder: Path, what: str, about: Mapping[str, Any]) -> None:
    """Write README.md into an exported model's folder.

    Args:
        folder: of the model.
        what: a key of LLMS, or a kind of retriever (`jmlr.models.kinds`).
        about: `llm`, `retriever` (names or None), `seed`, `round`, `options` (name to value), `data` and `code` (digests). What a
            training does not know yet, but an export: `ancestor` (the published model it goes back to, or ""), `licence` (keys of
            its card), `sources` (name, what, title, licence, hub), `dev` (how it chose the round, as `answer` notes it), `results`
            and `before` training (rows of metrics.csv), `measured` (how, in words), `encoders` (folders of two), `name` (on the hub).
    """
    llm, retriever = (shown_name(about[k]) for k in ("llm", "retriever"))
    card, base = (LLMS[what], about["llm"]) if what in LLMS else (of_kind(what).CARD, about["retriever"])
    how = (
        "Fine-tuned" if about["options"]["target"] == "frozen" else "Language model and retriever were trained jointly"
    )
    held = {
        "base": _first_argument(about["llm"] or ""),
        "dtype": "bfloat16" if about["options"].get("llm_precision") == "bfloat16" else "float32",
    }
    two = about.get("encoders", [])
    lines = [
        "---", _metadata(what, card["library"], base, about), "---", "",
        f"# {card['title']}",
        "",
        f"{how} by {_project()}, a replication of JMLR ([arXiv 2402.17887](https://arxiv.org/abs/2402.17887)).",
        "Not for clinical use.",
        "",
        *(_measured(about, what in LLMS) if "results" in about else []),
        *(_terms(about) if "licence" in about else []),
        "## How it was made", "", "| what | value |", "|---|---|",
        f"| language model it began from | `{llm}` |",
        *([f"| retriever it began from | `{retriever}` |"] if retriever else []),
        f"| seed, round | {about['seed']}, {about['round']} |",
        *_why_this_round(about.get("dev")),
        f"| code (digest) | `{about['code']}` |",
        *(f"| data: {name} (SHA-256) | `{digest}` |" for name, digest in about["data"].items()),
        "", "## Load it", "",
        *([_base(what, about), ""] if card["library"] == "peft" else []),
        *([f"Two encoders, a folder each: {' and '.join(f'`{name}/`' for name in two)}. Each is loaded as below.", ""] if two else []),
        "```python", card["load"].format(name=about.get("name", "path/of/this/folder"), **held), "```",
        *(["", LOADERS] if card["library"] == "peft" else []),
        *(_prompt(about["options"]) if what in LLMS and "question_prompt" in about["options"] else []),
        "", "## Settings", "", "| option | value |", "|---|---|",
        *(f"| `{k}` | `{_cell(v)}` |" for k, v in about["options"].items()), "",
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def project_urls() -> list[str]:
    """Return where the package says that its project is, such as 'Source, https://...'; nothing where it does not say."""
    try:
        return metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return []


def _project() -> str:
    known = dict(url.split(", ", 1) for url in project_urls() if ", " in url)
    url = next((known[name] for name in ("Source", "Repository", "Homepage") if name in known), "")
    return f"[jmlr]({url})" if url else "jmlr"


def _why_this_round(dev: Mapping[str, Any] | None) -> list[str]:
    """Return a row of the table where the dev split chose between rounds: by what, and how good each was."""
    if not dev or not dev["values"]:
        return []
    shares, last = [f"{value:.3f}" for value in dev["values"]], len(dev["values"]) - 1
    by = f"by {dev['metric']} of {count_of(dev['n'], 'question')}: {', '.join(shares)}"
    if dev["round"]:
        return [f"| why this round | of 0 (before training) to {last} the best on the dev split, {by} |"]
    what = "the retriever of 0 (before training) was the best on the dev split"
    return [f"| why this round | {what}, {by}; the language model of round 1 reads its passages |"]


def _base(what: str, about: Mapping[str, Any]) -> str:
    """Say which base model an adapter works with: in words where it is a folder of this machine, whose path helps nobody."""
    llm, beside = about["llm"], what == "unmerged"
    if not Path(llm).exists():
        return f"Its base model is `{llm}`." + (" It stands beside this folder, as `base/`." if beside else "")
    name, seed = f"`{Path(llm).name}`", Path(llm).parent.name
    if Path(llm).name == "pretrain" and seed.startswith("seed"):  # a run's own, results/RUN/NAME/seedN/pretrain
        begun, name = about.get("ancestor"), f"`{Path(llm).parent.parent.name}` with seed {seed.removeprefix('seed')}"
        name += ", which the run made" + (
            f" from `{shown_name(begun)}`" if begun else " from nothing" if begun == "" else ""
        )
    if beside:
        return f"Its base model is {name}. It stands beside this folder, as `base/`."
    return f"Its base model is {name}, which is not on the hub and no part of this folder; `jmlr export --adapter` writes both."


def _metadata(what: str, library: str, base: str | None, about: Mapping[str, Any]) -> str:
    """Return what the hub reads of a card, in YAML; what is not known is left out."""
    from huggingface_hub import EvalResult, ModelCardData

    task = ("text-generation", "Question answering") if what in LLMS else ("sentence-similarity", "Retrieval")
    hub = {s["name"]: s["hub"] for s in about.get("sources", []) if s["hub"]}
    results = [
        EvalResult(task_type=task[0], task_name=task[1], dataset_type=hub.get(r["dataset"], r["dataset"]), dataset_name=r["dataset"],
                   dataset_split=r["split"], metric_type=_metric(r), metric_value=float(r["value"]),
                   metric_name=f"{_metric(r)} (95 % interval {float(r['low']):.3f} to {float(r['high']):.3f}, n = {r['n']})")
        for r in about.get("results", []) if r["dataset"] != "all"
    ]  # fmt: skip
    invented = any("invented" in s["title"] for s in about.get("sources", []))
    direct = base and not Path(base).exists()
    data = ModelCardData(
        library_name=library,
        base_model=base if direct else None,
        datasets=sorted(set(hub.values())) or None,
        tags=["jmlr", "retrieval-augmented", *([] if invented else ["medical"])],
        model_name=f"jmlr {'adapter' if library == 'peft' else what}" if results else None,
        eval_results=results or None,
        **about.get("licence", {}),
    )
    return str(data.to_yaml())


def _metric(row: Mapping[str, str]) -> str:
    return f"{row['metric']}@{row['k']}" if row["k"] else row["metric"]


def _measured(about: Mapping[str, Any], reads: bool) -> list[str]:
    """Return the figures of a model with their intervals, and under which conditions they hold, as lines of its card."""
    if not about["results"]:
        return ["Not measured yet.", ""]
    before = {(r["dataset"], r["split"], r["k"]): f"{float(r['value']):.3f}" for r in about.get("before", [])}
    rows = (
        f"| {r['dataset']} | {r['split']} | {_metric(r)} | {before.get((r['dataset'], r['split'], r['k']), '-')} "
        f"| {float(r['value']):.3f} | {float(r['low']):.3f} to {float(r['high']):.3f} | {r['n']} |"
        for r in about["results"]
    )
    head = ["| questions | split | what | before training | value | 95 % interval over questions | n |", "|---|---|---|--:|--:|--:|--:|"]  # fmt: skip
    held = f"Of one training with one seed, measured by the run itself. {about.get('measured', '')}".strip()
    return [
        "## What it reaches",
        "",
        held,
        *(["", (READ if about["options"]["passages"] else CLOSED).format(**about["options"])] if reads else []),
        "",
        *head,
        *rows,
        "",
    ]


READ = (
    "Each question was read with K = {passages} passages that the row's own retriever found, which is not part of this repository, by "
    "weights held in {llm_precision}. Other passages, no passages and another precision give other figures; chance is one divided by "
    "the number of options."
)
CLOSED = "Each question was read without passages, by weights held in {llm_precision}; chance is one divided by the number of options."


def _terms(about: Mapping[str, Any]) -> list[str]:
    """Return under which terms a model may be used, as far as others' cards say, and what it learned from."""
    licence, begun = about["licence"], shown_name(about["ancestor"])
    named = licence.get("license_name") or licence.get("license")
    link = f" ({licence['license_link']})" if "license_link" in licence else ""
    if named:
        terms = f"Licence: {named}{link}, which is that of the model it goes back to, `{begun}`. The data have terms of their own."
    elif begun:
        terms = f"Licence: unknown. The card of the model it goes back to, `{begun}`, names none, or could not be read."
    else:
        terms = "Licence: unknown. The run made it from nothing but the data below."
    rows = (
        f"| {s['name']} | {s['what']} | {s['title'] or '-'} | {s['licence'] or 'unknown'} |" for s in about["sources"]
    )
    return ["## Terms and data", "", terms, "", "| data | serves as | what | licence |", "|---|---|---|---|", *rows, ""]


def _prompt(options: Mapping[str, Any]) -> list[str]:
    """Return what the language model reads, shown with an invented question; the best passage stands next to it."""
    read = PASSAGES[: options["passages"]][::-1]
    shown = [options["passage_prompt"].format(title=title, passage=text) for title, text in read]
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", OPTIONS, strict=True))
    asked = options["question_prompt"].format(question=QUESTION, options=lines) + options["answer_prompt"]
    answer = {"text": OPTIONS[0], "letter": "A"}.get(options["answer_form"], f"A. {OPTIONS[0]}")
    said = f"It was trained to read {options['passages']} passages. The answer expected here: `{answer}`. All of it is invented:"
    return ["", "## What it reads", "", said, "", "````text", "".join([*shown, asked]), "````"]


def shown_name(path: str | None) -> str | None:
    """Return how a card calls a model: a hub name in full, a local folder without what lies above its last three parts."""
    if path is None:
        return None
    return "/".join(Path(path).parts[-3:]).lstrip("/") if Path(path).exists() else path


def _first_argument(llm: str) -> str:
    """Return what `from_pretrained` is given for a model: its name, or of a GGUF file the folder and the file; a folder of
    this machine by its last name alone, behind what the reader puts in."""
    folder, file = gguf_of(llm)
    folder = f"path/to/{Path(folder).name}" if Path(llm).exists() else folder
    return f'"{folder}"' + "".join(f', {key}="{name}"' for key, name in file.items())


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|")
