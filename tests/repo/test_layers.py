"""Who may know whom: the imports of every module, at its top and inside functions, read from its syntax tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/jmlr"
NOUNS = {"corpus", "models", "losses", "topk", "metrics", "demo", "endpoints", "judging"}
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
ALLOWED = {
    "__init__": set(),
    "options": {"options", "runtime"},
    "config": {"options", "runtime"},
    "checks": {"together", "config", "options", "runtime", "corpus"},
    "together": {"config", "options", "runtime", "corpus", "models"},
    "runtime": {"runtime"},
    **{noun: {"runtime", noun} for noun in NOUNS},
    "training": {"runtime", "training", *NOUNS},
    "report": {"runtime", "report", *NOUNS},
    "commands": {"checks", "commands", "config", "options", "runtime", "stages", "training", "report", *NOUNS},
    "stages": {"checks", "config", "options", "runtime", "training", "report", *NOUNS},
    "__main__": {"__init__", "config", "options", "runtime", "stages", "training", "report", *NOUNS},
}


def imports(tree: ast.AST) -> set[str]:
    """Return the dotted names that a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide layers"
            names |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "jmlr" else {str(node.module)}
    return names


def test_every_part_of_the_package_has_a_layer():
    assert len(MODULES) > 40
    assert {p.parts[0].removesuffix(".py") for p in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_layers_below_it(path):
    layer = path.parts[0].removesuffix(".py")
    ours = [n.split(".") for n in imports(ast.parse((PACKAGE / path).read_text())) if n.split(".")[0] == "jmlr"]
    used = {"__init__" if len(n) == 1 or n[1] == "__version__" else n[1] for n in ours}
    assert used <= ALLOWED[layer], f"{path} imports {sorted(used - ALLOWED[layer])}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_in_the_package_imports_snakemake(path):
    assert not any(n.split(".")[0] == "snakemake" for n in imports(ast.parse((PACKAGE / path).read_text())))


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "topk"], ids=str)
def test_only_topk_imports_the_compiled_module(path):
    assert path.parts[0] == "topk"
    others = [p for p in MODULES if p.parts[0] != "topk" and "_topk" in (PACKAGE / p).read_text()]
    assert others == [] or {p.as_posix() for p in others} <= {"runtime/digest.py"}


def test_the_workflow_imports_only_the_configuration_its_check_and_the_runtime():
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    lines = [line for f in files for line in re.findall(r"^(?:from|import) .*", f.read_text(), re.M)]
    ours = {w for line in lines for w in re.findall(r"jmlr[\w.]*", line)}
    assert ours
    assert all(re.match(r"jmlr\.(config|checks|runtime)\b", name) for name in ours)
    assert not any("torch" in line for line in lines)


def test_the_core_in_cpp_knows_neither_python_nor_torch():
    sources = [p for p in (ROOT / "csrc").rglob("*.[ch]*") if not p.name.startswith("bindings")]
    assert sources
    for path in sources:
        assert not re.search(r"#include\s*[<\"](Python\.h|pybind11|nanobind|torch)", path.read_text()), path.name
