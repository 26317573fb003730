"""Small enough to read tonight."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted(p.relative_to(ROOT) for part in ("src", "tests", "benchmarks") for p in (ROOT / part).rglob("*.py"))
CPP = sorted(p.relative_to(ROOT) for p in (ROOT / "csrc").rglob("*") if p.suffix in (".h", ".cpp", ".cu", ".cuh"))


def lines(path: Path) -> int:
    return len((ROOT / path).read_text().splitlines())


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_python_file_has_at_most_400_lines(path):
    """Fix: Take a part that stands by itself out of the file."""
    assert lines(path) <= 400, (
        f"{path}: take a part that stands by itself out; how branched a function may be is ruff's C901"
    )


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_function_has_at_most_60_lines(path):
    """Fix: Give a step of the function a name of its own."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", CPP, ids=str)
def test_a_cpp_file_has_at_most_400_lines(path):
    """Fix: Take a part that stands by itself out of the file; bindings convert arguments and do nothing else."""
    assert lines(path) <= (150 if path.name.startswith("bindings") else 400)


def test_the_snakefile_fits_on_a_screen_and_the_only_functions_of_the_workflow_in_one_sitting():
    """Fix: Move what is no path and no wildcard from common.smk into jmlr.runtime."""
    assert lines(Path("workflow/Snakefile")) <= 80
    assert lines(Path("workflow/rules/common.smk")) <= 220


@pytest.mark.parametrize("path", [p for p in PYTHON if p.parts[0] == "src"], ids=str)
def test_a_file_opens_by_saying_what_it_is(path):
    """Fix: Begin the module with a docstring of one sentence."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text())), path


def test_there_is_no_drawer_for_everything():
    """Fix: Name the module after its subject instead of utils, helpers or misc."""
    assert not [p for p in PYTHON if p.stem in ("utils", "util", "helpers", "misc", "common")]
