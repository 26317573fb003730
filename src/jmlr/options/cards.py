"""Cards: published datasets and corpora as data, one YAML file each, that a run names instead of describing them.

    prepare:
      questions:
        - dataset: medmcqa            # config/datasets/medmcqa.yaml; what stands beside it wins over the card
      corpora:
        - corpus: medrag_textbooks    # config/corpora/medrag_textbooks.yaml; a source beside it replaces the card's

A card says what it is (`about`), where it comes from (`sources`, which a run's own source of the same name replaces),
how it is read (`entry`), and what differs between its published forms (`editions`). A run's `fields` are laid over those of
the card one by one, its other keys as a whole.

An edition is known by its files: the patterns of its `files` (of the splits that are read), or of its `file`. What comes from
the hub is the edition `hub`; of anything else exactly one edition must fit the names that the source has, or `edition: NAME`
beside the card's name says which it is.
"""

from __future__ import annotations

import difflib
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from jmlr.options.base import Closed, Name, option
from jmlr.options.data import CorpusOptions, QuestionsOptions, SourceOptions
from jmlr.runtime.counting import count_of
from jmlr.runtime.environment import expand
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below, matches
from jmlr.runtime.validation import nearest, one_line

PACKAGE = Path(__file__).resolve().parents[1]
FOLDER = PACKAGE / "cards" if (PACKAGE / "cards").is_dir() else PACKAGE.parents[1] / "config"  # a wheel holds them, too
KINDS = {"questions": ("dataset", "datasets"), "corpora": ("corpus", "corpora")}
OPTIONS: dict[str, type[BaseModel]] = {"dataset": QuestionsOptions, "corpus": CorpusOptions}


class About(Closed):
    """What a card describes, for people."""

    title: str = option(..., "what it is")
    licence: str = option("", "under which terms it is published")
    url: str = option("", "where it is described")
    cite: str = option("", "who published it")
    get: str = option("", "how to get it, where it is not fetched by itself")
    note: str = option("", "what else is worth knowing")
    size: str = option("", "how much it is, where no number is checked")


class Card(Closed):
    """One YAML file of config/datasets or config/corpora."""

    about: About = option(..., "what it is")
    sources: dict[Name, SourceOptions] = option(dict, "where it comes from")
    entry: dict[str, Any] = option(dict, "how it is read: keys of an entry of prepare.questions or prepare.corpora")
    editions: dict[Name, dict[str, Any]] = option(dict, "its published forms by name: what differs from `entry`")


def with_cards(data: dict[str, Any], folder: Path = FOLDER) -> dict[str, Any]:
    """Return a run's mapping with the entries that name a card filled in, and the sources they need.

    Raises:
        ValueError: there is no such card, it is none, or it is not known which of its editions a source holds; in one line.
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
                path = _path(str(entry[key]), folder / place, f"prepare.{kind}: {key}")
                card = read_card(path, OPTIONS[key])
                if not entry.get("source"):
                    sources = {**card.get("sources", {}), **sources}
                entry = _filled(entry, path, key, card, sources)
            filled[kind].append(entry)
    return {**data, "prepare": filled, **({"sources": sources} if sources else {})}


def names(kind: str, folder: Path = FOLDER) -> list[str]:
    """Return the names of the cards of a kind ('datasets', 'corpora')."""
    return sorted(p.stem for p in (folder / kind).glob("*.yaml"))


def read_card(path: Path, options: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return a card as it stands in its file.

    Args:
        path: the file
        options: what its entries are checked against; None: by the folder, config/datasets or config/corpora

    Raises:
        ValueError: the file is no card, or a key or value in it is wrong; in one line that names the file.
    """
    import yaml

    from jmlr.runtime.misread import misread

    options = options or OPTIONS["corpus" if path.parent.name == "corpora" else "dataset"]
    try:
        text = path.read_text(encoding="utf-8")
        card = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from None
    for fault in misread(text):
        raise ValueError(f"card '{path}', {fault}")
    if not isinstance(card, dict):
        raise ValueError(f"'{path}' is no card; allowed: the mappings {', '.join(Card.model_fields)}")
    try:
        Card.model_validate(card)
    except ValidationError as error:
        raise ValueError(f"card '{path}': {one_line(error, Card)}") from None
    entry = card.get("entry", {})
    for part, keys in {"entry": {}, **{f"editions.{k}": v for k, v in card.get("editions", {}).items()}}.items():
        try:
            options.model_validate({**entry, **keys})
        except ValidationError as error:
            raise ValueError(f"card '{path}': {part}: {one_line(error, options)}") from None
    return card


def _path(name: str, folder: Path, where: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
        raise ValueError(f"{where}: no card '{name}' ({hint}); one's own data needs a 'source', or a card's path")
    return folder / f"{name}.yaml"


def _filled(
    entry: dict[str, Any], path: Path, key: str, card: dict[str, Any], sources: dict[str, Any]
) -> dict[str, Any]:
    """Return the entry with the card under it."""
    name = path.stem
    source = sources.get(entry.get("source") or card.get("entry", {}).get("source") or name)
    if source is None and card.get("sources"):
        allowed = f"name one of them '{name}', as the card's file, or say `source:` in its entry"
        raise ValueError(f"card '{path}': its sources are {', '.join(card['sources'])}; allowed: {allowed}")
    if source is None:
        raise ValueError(f"card '{name}': its data is not public: give 'sources.{name}' with origin local and its path")
    own = {k: v for k, v in entry.items() if k not in (key, "edition")}
    under = {**card.get("entry", {}), **_edition(entry, path, card.get("editions") or {}, source)}
    if isinstance(own.get("fields"), dict):
        own["fields"] = {**under.get("fields", {}), **own["fields"]}
    return {"source": name, **({"dataset": name} if key == "dataset" else {}), **under, **own}


def _edition(entry: dict[str, Any], path: Path, editions: dict[str, dict[str, Any]], source: Any) -> dict[str, Any]:
    """Return the keys of the edition that a source holds; nothing where a card has no editions.

    Raises:
        ValueError: none is known to fit, or several do.
    """
    where, wanted = f"card '{path}': edition", entry.get("edition", "")
    from_hub = isinstance(source, dict) and source.get("origin") == "hub"
    if not editions and not wanted:
        return {}
    if wanted or from_hub:
        if (wanted or "hub") not in editions:
            raise ValueError(
                f"{where} '{wanted or 'hub'}'; allowed: {', '.join(editions) or 'none, it has no editions'}"
            )
        return editions[wanted or "hub"]
    splits = set(entry.get("splits") or entry.get("files") or ())
    known = {split for edition in editions.values() for split in edition.get("files", {})}
    for split in entry.get("splits") or ():
        if known and split not in known and not entry.get("files"):
            raise ValueError(f"{where}: splits: no edition has the split '{split}'{nearest(split, known)}")
    patterns = {k: _patterns(v, splits) for k, v in editions.items()}
    said = "; ".join(f"{k} ({', '.join(p)})" for k, p in patterns.items())
    found = list(_names_in(source, f"sources.{entry.get('source') or path.stem}"))
    fitting = [k for k, p in patterns.items() if p and all(any(matches(n, one) for n in found) for one in p)]
    if len(fitting) != 1:
        what = f"{' and '.join(fitting)} all fit" if fitting else f"none fits the {count_of(len(found), 'file')}"
        raise ValueError(
            f"{where}: {what} of its source; there are: {said}; 'edition: NAME' beside the card says which"
        )
    return editions[fitting[0]]


def _patterns(edition: dict[str, Any], splits: set[str]) -> list[str]:
    files = edition.get("files") or {"": edition["file"]} if "file" in edition else edition.get("files") or {}
    return [pattern for split, pattern in files.items() if not splits or not split or split in splits]


def _names_in(source: Any, where: str) -> Iterable[str]:
    """Return the names that the files of a source will have once it is fetched.

    Raises:
        ValueError: they cannot be known.
    """
    try:
        given = SourceOptions.model_validate(source)
    except ValidationError as error:
        raise ValueError(f"{where}: {one_line(error, SourceOptions)}") from None
    try:
        if given.origin == "local":
            return files_below(Path(expand(given.path, f"{where}.path")), given.files)
    except UserError as error:
        raise ValueError(
            f"{where}: {error}; its files tell which edition it is, or 'edition: NAME' beside the card"
        ) from None
    last = urllib.parse.unquote(urllib.parse.urlsplit(given.path).path).rpartition("/")[2]
    return given.files or [last]
