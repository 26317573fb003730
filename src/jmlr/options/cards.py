"""Cards: published datasets and corpora as data, one YAML file each, that a run names instead of describing them.

    prepare:
      questions:
        - dataset: medmcqa            # config/datasets/medmcqa.yaml; what stands beside it wins over the card
      corpora:
        - corpus: medrag_textbooks    # config/corpora/medrag_textbooks.yaml; a source beside it replaces the card's

A card says what it is (`about`), where it comes from (`sources`, which a run's own source of the same name replaces),
how it is read (`entry`), and what differs where it does not come from the hub but in the published files (`original`).
A run's `fields` are laid over those of the card one by one, its other keys as a whole. Reading documents are the passages
where such a run names none.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "config"
KINDS = {"questions": ("dataset", "datasets"), "corpora": ("corpus", "corpora")}
PARTS = {"about", "sources", "entry", "original"}


def with_cards(data: dict[str, Any], folder: Path = FOLDER) -> dict[str, Any]:
    """Return a run's mapping with the entries that name a card filled in, and the sources they need.

    Raises:
        ValueError: there is no such card, or it is none; in one line.
    """
    prepare = data.get("prepare")
    if not isinstance(prepare, dict):
        return data
    given = data.get("sources") or {}
    sources, filled = dict(given) if isinstance(given, dict) else {}, dict(prepare)
    for kind, (key, place) in KINDS.items():
        entries = prepare.get(kind)
        if not isinstance(entries, list):
            continue
        filled[kind] = []
        for entry in entries:
            if isinstance(entry, dict) and entry.get(key) and (key == "corpus" or not entry.get("source")):
                name, card = _card(str(entry[key]), folder / place, f"prepare.{kind}: {key}")
                if not entry.get("source"):
                    sources = {**card.get("sources", {}), **sources}
                filled.setdefault("documents", [{"plain": True}])  # the default is the demo's, which is not here
                entry = _filled(entry, name, key, card, sources.get(entry.get("source", name)))
            filled[kind].append(entry)
    return {**data, "prepare": filled, **({"sources": sources} if sources else {})}


def names(kind: str, folder: Path = FOLDER) -> list[str]:
    """Return the names of the cards of a kind ('datasets', 'corpora')."""
    return sorted(p.stem for p in (folder / kind).glob("*.yaml"))


def read_card(path: Path) -> dict[str, Any]:
    """Return a card; raise ValueError if the file is none."""
    import yaml

    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(card, dict) or not set(card) <= PARTS or not all(isinstance(v, dict) for v in card.values()):
        raise ValueError(f"'{path}' is no card; allowed: the mappings {', '.join(sorted(PARTS))}")
    return card


def _card(name: str, folder: Path, where: str) -> tuple[str, dict[str, Any]]:
    if name.endswith((".yaml", ".yml")):
        return Path(name).stem, read_card(Path(name))
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
        raise ValueError(f"{where}: no card '{name}' ({hint}); one's own data needs a 'source', or a card's path")
    return name, read_card(folder / f"{name}.yaml")


def _filled(entry: dict[str, Any], name: str, key: str, card: dict[str, Any], source: Any) -> dict[str, Any]:
    """Return the entry with the card under it."""
    if source is None:
        raise ValueError(f"card '{name}': its data is not public: give 'sources.{name}' with origin local and its path")
    from_hub = isinstance(source, dict) and source.get("origin") == "hub"
    under = {**card.get("entry", {}), **({} if from_hub else card.get("original", {}))}
    own = {k: v for k, v in entry.items() if k != key}
    if isinstance(own.get("fields"), dict):
        own["fields"] = {**under.get("fields", {}), **own["fields"]}
    return {"source": name, **({"dataset": name} if key == "dataset" else {}), **under, **own}
