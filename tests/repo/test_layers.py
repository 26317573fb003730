"""Who may know whom: the imports of every module, at its top and inside functions, read from its syntax tree."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/jmlr"
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))
ABOVE = {  # the files that stand above the rooms, and what each may import
    "__init__": set(),
    "config": {"options", "runtime"},
    "together": {"config", "options", "runtime", "corpus", "models"},
    "checks": {"together", "config", "options", "runtime", "corpus", "models", "training"},
    "__main__": {"__init__", "config", "options", "runtime"},
    "warm": {"__main__", "runtime"},
}


def said(room: str) -> str:
    """Return what a room's docstring says that its modules may import."""
    found = re.search(
        r"^May import: ([^.;]*)", ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())), re.M
    )
    assert found, f"src/jmlr/{room}/__init__.py: its docstring has no line 'May import: ...'"
    return found[1]


def allowed(layer: str) -> set[str]:
    """Return the layers that a layer may import."""
    if layer in ABOVE:
        return ABOVE[layer]
    text = said(layer)
    if text.startswith("all rooms"):
        return {*ROOMS, "config", "checks"} - set(text.removeprefix("all rooms").removeprefix(" but ").split(", "))
    named = set() if text.startswith("nothing") else set(text.split(", "))
    assert named <= set(ROOMS), f"src/jmlr/{layer}/__init__.py: no room {sorted(named - set(ROOMS))}"
    return {layer, *named}


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
    """Fix: Put a module into a room of src/jmlr, or name a new file beside the rooms in ABOVE."""
    assert len(MODULES) > 40
    assert {p.parts[0].removesuffix(".py") for p in MODULES} == {*ROOMS, *ABOVE}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_what_belongs_there_and_what_it_may_import(room):
    """Fix: Give the docstring of the room's __init__.py its lines 'Here:' and 'May import:'."""
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert re.search(r"^Here: .+", text, re.M), f"src/jmlr/{room}/__init__.py: its docstring has no line 'Here: ...'"
    assert allowed(room)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_layers_below_it(path):
    """Fix: Move the code to the room that may know both, or widen 'May import:' in the room's __init__.py if the room is meant to know it."""
    layer = path.parts[0].removesuffix(".py")
    ours = [n.split(".") for n in imports(ast.parse((PACKAGE / path).read_text())) if n.split(".")[0] == "jmlr"]
    used = {"__init__" if len(n) == 1 or n[1] == "__version__" else n[1] for n in ours}
    assert used <= allowed(layer), f"{path} imports {sorted(used - allowed(layer))}; see src/jmlr/{layer}/__init__.py"


def test_no_stage_imports_another_and_nothing_imports_a_command():
    """Fix: Move what two stages share into the room of its subject."""
    for path in MODULES:
        names = {
            n.split(".")[1:3][-1]
            for n in imports(ast.parse((PACKAGE / path).read_text()))
            if n.startswith("jmlr.stages.")
        }
        assert path.parts[0] != "stages" or names <= {path.stem}, f"{path} imports {sorted(names)}"


def test_modules_import_each_other_in_no_circle():
    """Fix: Take what both need into a module of its own."""
    names = {"jmlr." + ".".join(p.with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES}
    needs = {n: {x for x in imported_modules(p) if x in names and x != n} for n, p in names.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail("modules import each other: " + " -> ".join(error.args[1]))


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a module names, whether by `import a.b` or by `from a import b`; the compiled one is none of ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{a.name}" for a in node.names}
            files = {n for n in inner if (PACKAGE.parent / n.replace(".", "/")).with_suffix(".py").exists()}
            compiled = {n for n in inner if n.rpartition(".")[2].startswith("_topk")}
            found |= files if files | compiled == inner else {*files, str(node.module)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_in_the_package_imports_snakemake(path):
    """Fix: The workflow calls the package, never the other way round: move it to workflow/rules/common.smk."""
    assert not any(n.split(".")[0] == "snakemake" for n in imports(ast.parse((PACKAGE / path).read_text())))


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "topk"], ids=str)
def test_only_topk_imports_the_compiled_module(path):
    """Fix: Call `jmlr.topk` instead of `_topk`."""
    assert path.parts[0] == "topk"
    others = [p for p in MODULES if p.parts[0] != "topk" and "_topk" in (PACKAGE / p).read_text()]
    assert others == [] or {p.as_posix() for p in others} <= {"runtime/digest.py"}


def test_the_workflow_imports_only_the_configuration_its_check_and_the_runtime():
    """Fix: A rule calls `jmlr <stage>`: move the work into the stage."""
    files = [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    lines = [line for f in files for line in re.findall(r"^(?:from|import) .*", f.read_text(), re.M)]
    ours = {w for line in lines for w in re.findall(r"jmlr[\w.]*", line)}
    assert ours
    assert all(re.match(r"jmlr\.(config|checks|runtime)\b", name) for name in ours)
    assert not any("torch" in line for line in lines)


def test_the_core_in_cpp_knows_neither_python_nor_torch():
    """Fix: Convert arguments in csrc/bindings*.cpp; the core takes pointers and sizes."""
    sources = [p for p in (ROOT / "csrc").rglob("*.[ch]*") if not p.name.startswith("bindings")]
    assert sources
    for path in sources:
        assert not re.search(r"#include\s*[<\"](Python\.h|pybind11|nanobind|torch)", path.read_text()), path.name
