"""What each committed run resolves to, field by field, whatever becomes of the defaults.

resolved.json holds the values of 2026-11-29, when the defaults were still the demo's: those of the demo in full; of each run of
config/runs what is filled in of its own sources, models and systems, and where its other sections differ from the demo's. A field that
has been added since is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jmlr.config import Config

ROOT = Path(__file__).resolve().parents[2]
HELD: dict[str, dict[str, Any]] = json.loads((ROOT / "tests/repo/resolved.json").read_text())
# Changed since, and meant: what is cut by tokens is not cut by words, and 0 is 2,048 tokens on a CPU, 16,384 on a GPU.
OWN = ("sources.", "models.", "systems.", "prepare.corpora", "prepare.questions", "prepare.documents")
MEANT = {"train.forward_tokens": 0, "prepare.chunk_words": 160}


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from flat(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for n, part in enumerate(value):
            yield from flat(part, f"{path}[{n}]")
    else:
        yield path, value


def resolved(file: str) -> dict[str, Any]:
    return dict(flat(Config.load(yaml.safe_load((ROOT / file).read_text())).model_dump(mode="json")))


def test_the_demo_has_the_values_that_it_always_had() -> None:
    """Fix: A default was changed: state the demo's value in config/config.yaml."""
    held, now = HELD["config/config.yaml"], resolved("config/config.yaml")
    assert len(held) > 200
    assert {k: now.get(k) for k in held} == held
    assert dict(flat(Config.load({}).model_dump(mode="json"))) == now, "a run that says nothing is the demo"


def test_the_demos_file_states_every_value_so_that_no_default_is_the_demos() -> None:
    """Fix: Run: jmlr config --write."""
    stated = dict(flat(yaml.safe_load((ROOT / "config/config.yaml").read_text())))
    now = resolved("config/config.yaml")
    assert {k: v for k, v in now.items() if v is not None} == {k: v for k, v in stated.items() if v is not None}


@pytest.mark.parametrize("file", sorted(set(HELD) - {"config/config.yaml"}))
def test_a_committed_run_has_the_values_that_it_had_when_it_was_measured(file: str, monkeypatch) -> None:
    """Fix: A default was changed: state the old value in the run's file, or, if it is meant to change, in MEANT."""
    monkeypatch.setenv("JMLR_DATA", "data")
    shared = {k: v for k, v in HELD["config/config.yaml"].items() if not k.startswith(OWN)}
    held, now = {**shared, **HELD[file]}, resolved(file)
    wrong = {k: (v, now.get(k)) for k, v in held.items() if now.get(k) != v}
    assert {k: new for k, (_, new) in wrong.items() if MEANT.get(k) != new} == {}


def test_every_run_that_stands_alone_is_held() -> None:
    """Fix: Add the new run to tests/repo/resolved.json."""
    alone = {str(p.relative_to(ROOT)) for p in (ROOT / "config/runs").glob("*.yaml")}
    demos = ("demo-rationales", "demo-c20", "demo-letter", "demo-short-queries", "demo-retrievers")
    since = (
        "own",
        "paper-others",
        "paper-released",
        "rationales",
        "openstax-retrievers",
        "pubmedqa-retrievers",
        *demos,
    )  # or not alone
    assert alone - set(HELD) == {f"config/runs/{name}.yaml" for name in since}, "or add it to resolved.json"
