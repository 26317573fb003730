"""Every recipe of CONTRIBUTING.md works: it is applied to a copy of the repository, and what it says to run passes."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from checkout import Checkout, failure

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
RECIPES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text().split("\n# Recipes\n")[1], re.M | re.S))
STEP = re.compile(
    r"^(?:File `(?P<file>[^`]+)`|In `(?P<edited>[^`]+)`, (?P<how>after|in place of) the first line that begins with"
    r" (?P<tick>`+)(?P<line>.+?)(?P=tick)):\n\n```\w*\n(?P<text>.*?)^```$",
    re.M | re.S,
)
KERNEL = "A top-k kernel"


def apply(recipe: str, folder: Path) -> int:
    """Do what a recipe says to files; return in how many places."""
    steps = list(STEP.finditer(recipe))
    for step in steps:
        path = folder / (step["file"] or step["edited"])
        if step["file"]:
            assert not path.exists(), f"CONTRIBUTING.md: {path.name} is there already"
            path.write_text(step["text"])
            continue
        lines = path.read_text().splitlines(keepends=True)
        at = next((i for i, line in enumerate(lines) if line.strip().startswith(step["line"])), -1)
        assert at >= 0, f"CONTRIBUTING.md: no line of {step['edited']} begins with '{step['line']}'"
        lines[at + (step["how"] == "after") : at + 1] = [step["text"]]
        path.write_text("".join(lines))
    return len(steps)


def test_there_is_a_recipe_for_each_typical_change():
    """Fix: a typical change has a recipe in CONTRIBUTING.md, with what to run."""
    assert len(RECIPES) == 7
    assert all(re.search(r"^```sh\n", text, re.M) for text in RECIPES.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_applied_to_a_copy_stays_green(name: str, tmp_path: Path) -> None:
    """Fix: the code has changed since the recipe was written; make CONTRIBUTING.md say how it is done now."""
    if name == KERNEL and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the recipe's kernel is for x86-64")
    copy = Checkout(tmp_path / "clone")
    places = len(re.findall(r"^(?:File|In) `", RECIPES[name], re.M))
    assert apply(RECIPES[name], copy.folder) == places > 0
    for line in re.findall(r"^```sh\n(.*?)^```", RECIPES[name], re.M | re.S)[0].splitlines():
        done = copy.run("bash", "-c", line)
        assert done.returncode == 0, f"{line}\n{failure(done)}"
        assert not line.startswith("pytest") or re.search(r"\d+ passed", done.stdout), f"{line}: no test ran"
