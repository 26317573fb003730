"""What needs what: NumPy is enough for jmlr.topk, and whatever else is missing is said in one line with the extra that brings it."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jmlr.__main__ import PEOPLE, STAGES, home
from jmlr.runtime.extras import DISTRIBUTION, MODULES

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"pyyaml": "yaml", "pystemmer": "Stemmer"}
COME_ALONG = {
    "huggingface_hub": "datasets",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
}  # with what our extras name
OPTIONAL = {
    "wandb",
    "mlflow",
    "tensorboard",
}  # asked for by name, with an error of their own; the last is used where it is


ABSENT = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else super().find_spec(name, path, target)
sys.meta_path = [Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


def run(code: str, *, without: str = "") -> subprocess.CompletedProcess:
    """Run Python code in a process that finds some packages nowhere."""
    head = ABSENT.format(absent=without.split()) if without else "import sys\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True)


def modules_of(command: str) -> set[str]:
    """Return the modules of ours that a stage imports, directly or not, itself and their packages among them."""
    found: set[str] = set()
    queue = [f"jmlr.{home(command)}.{command}"]
    while queue:
        name = queue.pop()
        path = ROOT.joinpath("src", *name.split("."))
        outside = name in ("jmlr.__main__", "jmlr.config", *found) or name.startswith("jmlr.options")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if outside or not path.is_file():
            continue
        found.add(name)
        queue.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                queue += [a.name for a in node.names if a.name.startswith("jmlr")]
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("jmlr"):
                queue += [str(node.module), *(f"{node.module}.{a.name}" for a in node.names)]
    return found


def third_party(module: str) -> set[str]:
    """Return the packages that a module of ours imports, anywhere in it."""
    path = ROOT.joinpath("src", *module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"jmlr"}


def test_importing_topk_imports_numpy_and_nothing_else():
    code = "import jmlr.topk; print(*{n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names))"
    before, after = (set(run(c).stdout.split()) for c in (code.replace("jmlr.topk", "numpy"), code))
    assert "numpy" in before
    assert after - before == {"jmlr"}


def test_the_base_needs_numpy_alone_and_the_table_of_extras_is_that_of_the_project():
    assert [re.match(r"\w+", d)[0] for d in PROJECT["dependencies"]] == ["numpy"]
    assert PROJECT["name"] == DISTRIBUTION
    for extra, modules in MODULES.items():
        named = [re.match(r"[\w-]+", d)[0] for d in PROJECT["optional-dependencies"][extra]]
        assert sorted(IMPORTED_AS.get(n, n) for n in named if n != DISTRIBUTION) == sorted(modules), extra


@pytest.mark.parametrize("command", [*STAGES, *PEOPLE])
def test_some_extra_brings_whatever_a_command_imports(command):
    found = set().union(*map(third_party, modules_of(command))) - {"numpy"} - OPTIONAL
    known = {name for names in MODULES.values() for name in names}
    assert {COME_ALONG.get(name, name) for name in found} <= known, "add it to MODULES and to pyproject.toml"


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("jmlr.losses.llm_rank", "torch", "train"),
        ("jmlr.models.dense", "torch", "train"),
        ("jmlr.training.step", "torch", "train"),
        ("jmlr.endpoints.client", "httpx2", "train"),
        ("jmlr.report.page", "jinja2", "data"),
        ("jmlr.corpus.markup", "lxml", "data"),
        ("jmlr.metrics.hit", "pyarrow", "data"),
        ("jmlr.options", "pydantic", "data"),
        ("jmlr.config", "pydantic", "data"),
    ],
)
def test_a_module_says_in_one_line_which_extra_it_needs(module, missing, extra):
    done = run(f"import {module}", without=missing)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"[\w.]*MissingPackageError: jmlr\.\w+ needs the package {missing}, which is not installed: "
        rf"pip install -e '\.\[{extra}\]' in a checkout of this project, or '\.\[all\]' for the whole workflow",
        done.stderr.splitlines()[-1],
    )


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("config --write", "pydantic"),
        ("prepare --help", "lxml"),
        ("encode --out o --prepared p --retriever r --part passages", "torch"),
        ("encode --out o --prepared p --retriever r --part passages", "pyarrow"),
        ("report --out o --name r --prepared p --evaluations e --answers a --systems {}", "jinja2"),
        (f"plan {ROOT / 'config/config.yaml'}", "yaml"),
    ],
)
def test_a_command_whose_packages_are_missing_ends_with_one_line(line, missing):
    done = run(f"from jmlr.__main__ import main; sys.exit(main({line.split()}))", without=missing)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(
        rf"jmlr {line.split()[0]}: .*needs the package {missing}, .*pip install -e '\.\[\w+\]'.*\n", done.stderr
    )


def test_a_missing_package_that_no_extra_brings_is_a_fault_of_ours_and_keeps_its_traceback():
    done = run(
        "from jmlr.__main__ import main; sys.exit(main(['index', '--out', 'o', '--vectors', 'v']))", without="numpy"
    )
    assert done.returncode == 1
    assert done.stderr.endswith("No module named 'numpy'\n")


def test_help_and_version_need_no_extra():
    everything = " ".join(name for names in MODULES.values() for name in names)
    for option in ("--help", "--version"):
        done = run(f"from jmlr.__main__ import main; sys.exit(main(['{option}']))", without=everything)
        assert (done.returncode, done.stderr) == (0, "")
        assert "jmlr" in done.stdout
