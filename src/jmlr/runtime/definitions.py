"""What a file of the package defines: the digest of each definition at its top, the names it uses, what it imports.

module = read_module(Path("src/jmlr/losses/pdist.py"))
module.definitions["pdist"].names        # [("scores",), ("torch", "softmax"), ...]

What was found is kept beside the bytecode, in `__pycache__`, for the next process: a DAG asks for all of the package's files.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jmlr.runtime import syntax
from jmlr.runtime.errors import UserError

Bound = dict[str, list[list[str]]]  # name -> [module, name in it], or [module, ""]; several where it depends
PROGRESS, TOLD = "jmlr.runtime.progress", ("say", "warn")  # its functions that only tell people something


@dataclass(frozen=True)
class Definition:
    """What counts of one name of a module: of all statements that bind it.

    The names in its functions' annotations do not count by themselves, and tell which options it gets from outside. `mentioned`
    are all identifiers in it: an option of another name is none that it reads.
    """

    digest: str = ""
    names: list[list[str]] = field(default_factory=list)
    imports: Bound = field(default_factory=dict)
    by_name: list[str] = field(default_factory=list)
    annotated: list[list[str]] = field(default_factory=list)
    mentioned: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Module:
    """A file: its definitions by name ("": what it does besides when it is imported), and what its top level imports."""

    definitions: dict[str, Definition]
    imports: Bound


def read_module(path: Path, *, options: bool = False) -> Module:
    """Return what a file of the package defines.

    Args:
        path: the file
        options: it holds options, whose values reach a stage from outside: of a class the methods alone count

    Raises:
        UserError: a relative import, or one of all names (`*`).
    """
    text = path.read_bytes()
    key = hashlib.sha256(_made_by() + bytes([options]) + text).hexdigest()
    kept = path.parent / "__pycache__" / f"{path.stem}.definitions.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        held = json.loads(kept.read_text(encoding="utf-8"))
        if held["key"] == key:
            return Module({k: Definition(**v) for k, v in held["definitions"].items()}, held["imports"])
    module = parse(text.decode(), str(path), options=options)
    _keep(kept, {"key": key, **asdict(module)})
    return module


def parse(text: str, name: str, *, options: bool = False) -> Module:
    """Return what the text of a file defines; `name` is for messages, the rest as for `read_module`."""
    tree = ast.parse(text)
    everywhere = [n for n in syntax.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    for node in everywhere:
        if isinstance(node, ast.ImportFrom) and (node.level or any(a.name == "*" for a in node.names)):
            what = "a relative import" if node.level else "an import of all names"
            raise UserError(f"'{name}': {what}; the digest of a stage follows absolute ones, by name, only")
    told = _told(syntax.imports(everywhere))
    bound: dict[str, list[ast.stmt]] = {}
    imported: list[ast.stmt] = []
    for statement in _top(tree.body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imported.append(statement)
        for symbol in _binds(statement):
            bound.setdefault(symbol, []).append(statement)
        if not isinstance(statement, syntax.Function | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.AugAssign):
            imported += [n for n in syntax.walk(statement) if isinstance(n, ast.Import | ast.ImportFrom)]
    found = {symbol: _definition(statements, told, options) for symbol, statements in bound.items()}
    return Module(found, syntax.imports(imported))


def _definition(statements: list[ast.stmt], told: frozenset[str], options: bool) -> Definition:
    annotated = [list(n) for n in dict.fromkeys(u for s in statements for u in syntax.annotated(s))]
    clean = [syntax.counted(s, told, options=options) for s in statements]
    written = "".join(syntax.written(s) for s in clean)
    return Definition(
        hashlib.sha256(written.encode()).hexdigest()[:32],
        [list(n) for n in dict.fromkeys(u for s in clean for u in syntax.uses(s))],
        syntax.imports(n for s in clean for n in syntax.walk(s)),
        [name for s in clean for name in syntax.imported_by_name(s)],
        annotated,
        sorted({name for s in clean for name in syntax.mentioned(s)}),
    )


def _top(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module that run: without docstrings, and without what only a type checker reads."""
    found: list[ast.stmt] = []
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                found += _top(statement.orelse)
            case _:
                found.append(statement)
    return found


def _binds(statement: ast.stmt) -> list[str]:
    """Return the names of a module that a statement binds, and "" where it does more than that."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return []
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = _stored(targets)
            plain = all(isinstance(t, ast.Name | ast.Tuple | ast.List) for t in targets)
            return names if plain else [*names, ""]
    inner = [n.name for n in syntax.walk(statement) if isinstance(n, syntax.Function | ast.ClassDef)]
    return [*_stored([statement]), *inner, ""]  # an `if`, a `try`, a call


def _stored(nodes: list[Any]) -> list[str]:
    found = [n.id for n in syntax.walk(*nodes) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return list(dict.fromkeys(found))


def _told(imports: Bound) -> frozenset[str]:
    """Return the names under which a module knows what only tells people something: "say", "progress.say"."""
    spoken = {name for name, ways in imports.items() for source, n in ways if source == PROGRESS and n in TOLD}
    whole = {name for name, ways in imports.items() for source, n in ways if f"{source}.{n}" == PROGRESS}
    return frozenset(spoken | {f"{name}.{told}" for name in whole for told in TOLD})


@cache
def _made_by() -> bytes:
    """Return what a kept file depends on beside the file it tells of: this code, and the version of Python."""
    code = b"".join(Path(f).read_bytes() for f in (__file__, str(syntax.__file__)))
    return hashlib.sha256(code + repr(sys.version_info[:2]).encode()).digest()


def _keep(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all; where the folder cannot be written to, the next process finds it out again."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(path)
