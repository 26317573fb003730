"""Code as an input: one digest for each stage, over the syntax trees of all first-party modules it imports.

Editing a loss changes the digest of `train` and of no other stage; editing a comment or a docstring changes none. The
digest is the same for every version of Python, so that a login node and a compute node agree.

    >>> stage_digest("search") == stage_digest("search")
    True
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jmlr.runtime.errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent
# Left out: the version; the configuration, whose values reach a stage as options; what only says how a stage went.
RECORDS = {
    f"jmlr.runtime.{m}" for m in ("digest", "energy", "errors", "extras", "manifest", "meter", "progress", "validation")
}
OUTSIDE = {"jmlr", "jmlr.__main__", "jmlr.config"} | RECORDS  # and jmlr.options
DATA = ("*.jinja", "*.css", "*.js", "*.svg", "*.json", "*.txt")
STRING = r'"(?:\\.|[^"\\\n])*"'
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
CPP_NOISE = re.compile(rf"({STRING}|'(?:\\.|[^'\\\n])')|(?://[^\n]*|/\*.*?\*/|\s)+", re.S)
CMAKE_NOISE = re.compile(rf"({STRING})|(?:#[^\n]*|\s)+", re.S)


@cache
def stage_digest(stage: str, package: Path = PACKAGE) -> str:
    """Return the SHA-256 (first 16 hexadecimal digits) of everything a stage computes with.

    Args:
        stage: its name
        package: folder of the package `jmlr`

    Raises:
        UserError: there is no such stage.
    """
    if not _file(package, f"jmlr.stages.{stage}").is_file():
        raise UserError(f"no stage '{stage}' in '{package / 'stages'}'")
    names = modules_of(stage, package)
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n{_parsed(_file(package, name))[1]}\n".encode())
    for folder in sorted({_file(package, n).parent for n in names}):
        for file in sorted(f for pattern in DATA for f in folder.glob(pattern)):  # templates and the like
            digest.update(f"{file.name}\n".encode() + file.read_bytes())
    if "jmlr.topk" in names:
        digest.update(_extension(package))
    return digest.hexdigest()[:16]


def modules_of(stage: str, package: Path = PACKAGE) -> list[str]:
    """Return the names of a stage's module and of all first-party modules it imports, directly or not, sorted."""
    found: set[str] = set()
    queue = [f"jmlr.stages.{stage}"]
    while queue:
        name = queue.pop()
        if name in found or name in OUTSIDE or name.startswith("jmlr.options") or not _file(package, name).is_file():
            continue
        found.add(name)
        queue += [name.rpartition(".")[0], *_parsed(_file(package, name))[0]]
    return sorted(found)


def _file(package: Path, module: str) -> Path:
    path = package.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_name(path.name + ".py")


@cache
def _parsed(path: Path) -> tuple[list[str], str]:
    """Return what a file imports of ours, inside functions too, and its code without comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise UserError(f"'{path}': a relative import; the digest of a stage follows absolute ones only")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]  # `from package import module` too
        elif isinstance(node, DOCUMENTED) and _has_docstring(node.body):
            node.body = node.body[1:]
    return [n for n in names if n.split(".")[0] == "jmlr"], _dump(tree)


def _has_docstring(body: list[ast.stmt]) -> bool:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *_]:
            return True
    return False


def _dump(node: Any) -> str:
    """Write a syntax tree down, without empty fields: `ast.dump` treats those differently in each version of Python."""
    if isinstance(node, ast.AST):
        fields = [(k, v) for k, v in ast.iter_fields(node) if v is not None and v != [] and k not in ("kind", "ctx")]
        return f"{type(node).__name__}({','.join(f'{k}={_dump(v)}' for k, v in fields)})"
    return f"[{','.join(map(_dump, node))}]" if isinstance(node, list) else repr(node)


def _extension(package: Path) -> bytes:
    """Return the extension's source and how it is built, without comments and layout; without a source, the compiled module."""
    checkout = package.parent.parent
    if not (checkout / "csrc").is_dir():
        return b"".join(f.read_bytes() for f in sorted((package / "topk").glob("_topk*.so")))
    sources = [f for f in sorted((checkout / "csrc").rglob("*.[ch]*")) if not f.name.startswith(("bench", "test"))]
    build = [checkout / "CMakeLists.txt", *sorted((checkout / "cmake").glob("*.cmake"))]
    texts = [(CMAKE_NOISE, f) for f in build] + [(CPP_NOISE, f) for f in sources]
    return "\n".join(noise.sub(_keep_strings, f.read_text(encoding="utf-8")).strip() for noise, f in texts).encode()


def _keep_strings(found: re.Match[str]) -> str:
    return found[1] or " "
