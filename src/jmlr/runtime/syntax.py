"""What of a definition counts: its syntax without what is written for people, and the names that it uses.

Left out: comments, layout, docstrings, annotations of functions, what `say` and `warn` are told, what an exception is told, the
message of an `assert`, and variables that hold nothing but a text for one of these.

    >>> one, two = (ast.parse(f"raise ValueError('{word}')").body[0] for word in ("no", "never"))
    >>> written(counted(one, frozenset())) == written(counted(two, frozenset()))
    True
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Exceptions that hold nothing but a message; of any other one only the words in its call are left out.
MESSAGES = {"ConfigError", "IndexFormatError", "NotFiniteError", "RuntimeError", "TypeError", "UserError", "ValueError"}
VALIDATORS = {"model_validator", "field_validator"}


def walk(*nodes: ast.AST) -> Iterator[ast.AST]:
    """Yield syntax nodes and all below them: `ast.walk` in half its time."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        stack += _children(node)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for value in node.__dict__.values():
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (v for v in value if isinstance(v, ast.AST))


def counted(node: ast.stmt, told: frozenset[str], *, options: bool = False) -> ast.stmt:
    """Take out of a statement what is for people, and return it.

    Args:
        node: a statement of a module
        told: names of the functions that only tell people something
        options: it is a class of options, of which only the methods count: its values reach a stage from outside
    """
    clean: ast.stmt = _Clean(told).visit(node) or ast.Pass()
    if options and isinstance(clean, ast.ClassDef):
        clean.body = [s for s in clean.body if isinstance(s, Function) and not VALIDATORS & set(_called(s))]
    return clean


def written(node: Any) -> str:
    """Write a syntax tree down, without empty fields: `ast.dump` treats those differently in each version of Python."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return ""  # what its names lead to is written down where they are used
    if isinstance(node, ast.AST):
        fields = [(k, v) for k, v in ast.iter_fields(node) if v is not None and v != [] and k not in ("kind", "ctx")]
        return f"{type(node).__name__}({','.join(f'{k}={written(v)}' for k, v in fields)})"
    return f"[{','.join(map(written, node))}]" if isinstance(node, list) else repr(node)


def uses(node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Yield the names from outside that a statement uses, each with the attributes read from it: ("np", "random", "default_rng").

    Where a name may be either, inner or outer, it counts as an outer one.
    """
    if isinstance(node, ast.Attribute | ast.Name):
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain, inner = [inner.attr, *chain], inner.value
        if not isinstance(inner, ast.Name):
            yield from uses(inner, bound)
        elif inner.id not in bound:
            yield inner.id, *chain
    elif isinstance(node, Function | ast.Lambda):
        outside = [*getattr(node, "decorator_list", []), *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        for part in outside:
            yield from uses(part, bound)
        own = bound | _bound(node)
        for part in node.body if isinstance(node.body, list) else [node.body]:
            yield from uses(part, own)
    else:
        for part in _children(node):
            yield from uses(part, bound)


def imports(nodes: Iterable[ast.AST]) -> dict[str, list[list[str]]]:
    """Return what import statements bind: name -> [module, ""] or [module, name in it], in all places."""
    found: dict[str, list[list[str]]] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for a in node.names:
                first = a.name.split(".")[0]
                found.setdefault(a.asname or first, []).append([a.name if a.asname else first, ""])
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                found.setdefault(a.asname or a.name, []).append([node.module or "", a.name])
    return found


def annotated(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the names in the annotations of all functions' parameters."""
    for part in walk(node):
        if isinstance(part, ast.arg) and part.annotation:
            yield from uses(part.annotation)


def mentioned(node: ast.AST) -> Iterator[str]:
    """Yield every identifier in a statement: names, attributes, parameters, keywords, and texts that could be one."""
    for part in walk(node):
        match part:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(name)) if name.isidentifier():
                yield name


def imported_by_name(node: ast.AST) -> Iterator[str]:
    """Yield what `import_module` is called with, `*` for what is only known at run time: "jmlr.targets.*", or "*"."""
    for part in walk(node):
        if isinstance(part, ast.Call) and dotted(part.func).endswith("import_module") and part.args:
            match part.args[0]:
                case ast.Constant(value=str() as name):
                    yield name
                case ast.JoinedStr(values=values):
                    yield "".join(str(v.value) if isinstance(v, ast.Constant) else "*" for v in values)
                case _:
                    yield "*"


def _called(node: ast.ClassDef | Function) -> Iterator[str]:
    """Yield the names of a definition's decorators."""
    for decorator in node.decorator_list:
        inner = decorator.func if isinstance(decorator, ast.Call) else decorator
        yield inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")


def _bound(node: Function | ast.Lambda) -> frozenset[str]:
    """Return a function's parameters and local variables."""
    args = node.args
    found = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg] if a}
    outer: set[str] = set()
    for part in _own(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            found.add(part.id)
        elif isinstance(part, ast.Global | ast.Nonlocal):
            outer |= set(part.names)
        elif isinstance(part, Function | ast.ClassDef | ast.ExceptHandler):
            found.add(part.name or "")
    return frozenset(found - outer)


def _own(node: Function | ast.Lambda) -> Iterator[ast.AST]:
    """Yield what stands in a function's own scope."""
    queue: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
    while queue:
        part = queue.pop()
        yield part
        scope = Function | ast.ClassDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        if not isinstance(part, scope):
            queue += _children(part)


class _Clean(ast.NodeTransformer):
    """Takes out what is for people."""

    def __init__(self, told: frozenset[str]) -> None:
        self.told, self.looked_up = told, ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = _undocumented(node.body)
        outer, self.looked_up = self.looked_up, "as words" if "dataclass" in _called(node) else "by name"
        self.generic_visit(node)
        self.looked_up = outer
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Call) and dotted(node.value.func) in self.told:
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = dotted(node.func)
        if name in MESSAGES:
            node.args, node.keywords = [], []
        elif name.endswith("Error"):
            for part in walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value = ""
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self.looked_up != "by name":  # a dataclass reads the words of an annotation, and looks none up
            node.annotation = ast.Constant(written(node.annotation) if self.looked_up == "as words" else None)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def _function(self, node: Function) -> ast.AST:
        node.body = _undocumented(node.body)
        node.returns = None
        outer, self.looked_up = self.looked_up, ""
        self.generic_visit(node)
        self.looked_up = outer
        while _Unread(node).found:  # a text may have stood in another one
            pass
        return node


class _Unread(ast.NodeTransformer):
    """Takes out assignments of texts to variables that a function no longer reads."""

    def __init__(self, function: Function) -> None:
        self.found = False
        self._read = {n.id for n in walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        self._read |= {name for n in walk(function) if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names}
        function.body = [s for statement in function.body if (s := self.visit(statement)) is not None]

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        if self._read & {"locals", "vars", "eval", "exec"}:
            return node
        if len(names) == len(node.targets) and not self._read & set(names) and _is_text(node.value):
            self.found = True
            return None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node  # its variables are read as attributes


def dotted(node: ast.expr) -> str:
    """Return a name with its attributes as it is written, 'progress.say'; "" for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name) if head := dotted(inner):
            return f"{head}.{name}"
    return ""


def _is_text(node: ast.expr) -> bool:
    """Tell whether an expression writes a text and does nothing else."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, op=ast.Add(), right=other):
            return _is_text(one) and _is_text(other)
    return False


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
