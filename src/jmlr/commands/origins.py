"""What a published model comes from and is worth, as the run and the cards of others tell it: terms, data, figures; nothing is guessed.

licence_of("HuggingFaceTB/SmolLM2-135M-Instruct")     # {"license": "apache-2.0"}; {} where its card says nothing, or is not to be had
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jmlr.options.cards import FOLDER, read_card
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import model_of
from jmlr.runtime.manifest import NAME, read_manifest

LICENCE = ("license", "license_name", "license_link")


def ancestor(run: Path, model: str) -> str:
    """Return the model that others published and that this one goes back to; itself, or "" where the run began from nothing."""
    while model and (Path(model) / NAME).is_file():
        told = read_manifest(Path(model))
        begun = told.get("options", {}).get("init", "") if told.get("stage") == "pretrain" else ""
        try:
            model = model_of(run, begun) if begun else ""
        except UserError:  # it is not on this machine
            return ""
    return model


def licence_of(model: str) -> dict[str, str]:
    """Return the keys of a model's own card that tell its terms; none where there is no card, or it tells none."""
    from huggingface_hub import ModelCard, hf_hub_download

    if not model:
        return {}
    try:
        token, endpoint = os.environ.get("HF_TOKEN") or False, os.environ.get("HF_ENDPOINT") or None
        local = Path(model) / "README.md"
        file = local if Path(model).exists() else hf_hub_download(model, "README.md", token=token, endpoint=endpoint)
        told = ModelCard.load(file, ignore_metadata_errors=True).data
    except Exception:  # of the HTTP library below, which is not the same in all versions, or of a card that is no YAML
        return {}
    return {key: str(told.get(key)) for key in LICENCE if told.get(key)}


def data_of(run: Path) -> list[dict[str, str]]:
    """Return what a run's questions and passages are: name, what it serves as, title, licence and hub name, "" where not known."""
    prepared = run / "prepare"
    options = read_manifest(prepared).get("options", {}) if (prepared / NAME).is_file() else {}
    found = []
    for entry in options.get("questions", []):
        card = _card("datasets", entry.get("dataset", "")) if entry.get("dataset") else {}
        found.append(_told(run, entry, entry.get("dataset") or entry["source"], "questions", card))
    for entry in options.get("corpora", []):
        card = _card("corpora", entry["source"])
        read_as = card.get("entry", {})
        same = bool(read_as) and all(entry.get(key, value) == value for key, value in read_as.items())
        found.append(_told(run, entry, entry["source"], "passages", card if same else {}))
    return found


def _card(kind: str, name: str) -> dict[str, Any]:
    """Return a card of this project by its name; {} for a path of one's own and a name that none has."""
    file = FOLDER / kind / f"{name}.yaml"
    return read_card(file) if Path(name).name == name and file.is_file() else {}


def _told(run: Path, entry: Mapping[str, Any], name: str, what: str, card: Mapping[str, Any]) -> dict[str, str]:
    about, fetched = card.get("about", {}), run / "fetch" / entry["source"]
    options = read_manifest(fetched).get("options", {}) if (fetched / NAME).is_file() else {}
    invented = "an invented medicine, made by the demo" if options.get("origin") == "demo" else ""
    return {
        "name": name,
        "what": what,
        "title": about.get("title", "") or invented,
        "licence": about.get("licence", ""),
        "hub": options["path"] if options.get("origin") == "hub" else "",
    }


def results_of(row: Path, round: str, metric: str) -> list[dict[str, Any]]:
    """Return the figures of a row, a folder such as results/own/jmlr/seed0, as `metrics.csv` has them for one metric.

    None where it is not evaluated yet.

    Args:
        row: the folder
        round: whose retriever answers; figures of other rounds' retrievers are left out
        metric: which
    """
    file = row / "evaluate/metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as f:
        return [r for r in csv.DictReader(f) if r["metric"] == metric and (not r["k"] or r["round"] == round)]
