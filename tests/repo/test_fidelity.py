"""docs/fidelity.md against the runs at the paper's scale: every value stands there, and nothing there is stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOT_SETTINGS = ("run", "sources.", "report.")
TITLE = re.compile(r"^systems\.\w+\.title$")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a run with its path, written as the page writes it."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield path, ", ".join(str(next(iter(v.values())) if isinstance(v, dict) else v) for v in value) or "none"
        for (_, name), *rest in (v.items() for v in value if isinstance(v, dict)):
            yield from leaves(dict(rest), f"{path}.{name}") if rest else ()
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value).replace("\n", "\\n").strip()


def settings(name: str) -> dict[str, str]:
    run = yaml.safe_load((ROOT / f"config/runs/{name}.yaml").read_text())
    return {k: v for k, v in leaves(run) if not k.startswith(NOT_SETTINGS) and not TITLE.match(k)}


def written(column: str) -> dict[str, str]:
    """Return what a column of the page's tables says, by path."""
    found: dict[str, str] = {}
    heads: list[str] = []
    for line in (ROOT / "docs/fidelity.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if cells and cells[0] == "what":
            heads = cells
        elif cells:
            cell = cells[heads.index(column)]
            pairs = [p.partition(": ") for p in re.findall(r"`([\w.]+: [^`]+)`", cell)]
            found |= {key: value for key, _, value in pairs}
    return found


@pytest.mark.parametrize(("column", "run"), [("here", "paper-13b"), ("released", "paper-released")])
def test_every_value_of_a_run_is_named_with_its_reason_and_none_is_stale(column: str, run: str) -> None:
    """Fix: Bring the row of docs/fidelity.md up to date, with what paper and released code have, and why."""
    assert written(column) == settings(run)


def test_the_smaller_run_differs_in_its_model_alone() -> None:
    """Fix: Make paper-7b.yaml as paper-13b.yaml, or say in docs/fidelity.md what differs."""
    large, small = settings("paper-13b"), settings("paper-7b")
    assert {k for k in large | small if large.get(k) != small.get(k)} == {"models.llm.path"}
