"""Which definitions of the package a function reaches: a walk over names, through imports, from definition to definition.

reached = reach(package, "jmlr.stages.train:train", skip=..., compiled=...)
reached["jmlr.losses.llm_rank:llm_rank"]        # the digest of what counts of it, and of what its names lead to

A node is a function, a class or a variable of a module: whatever one statement at its top binds. Methods count with their
class. A module that is used otherwise than by attributes counts whole. What a module does besides, when it is imported, is
the node `module:`, and counts for every module that is imported on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from jmlr.runtime.definitions import Bound, Definition, Module, read_module

ROOT = "jmlr"
OPTIONS = "jmlr.options"


class Source:
    """The files of a package as they are when they are first asked for."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self._read: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """Return a module; None where the package has no such file (a compiled one, or something in a module)."""
        if name not in self._read:
            path = self.package.joinpath(*name.split(".")[1:])
            path = path / "__init__.py" if path.is_dir() else path.with_name(path.name + ".py")
            self._read[name] = read_module(path, options=name.startswith(OPTIONS)) if path.is_file() else None
        return self._read[name]

    def reach(self, entry: str, *, skip: Callable[[str, str], bool], compiled: str) -> dict[str, str]:
        """Return the digests of all that is reached from a definition, by `module:name`, in the order of names.

        Args:
            entry: where to begin
            skip: whether a definition (the first argument) that uses another one (the second) may leave it out
            compiled: what counts for a compiled module

        Raises:
            UserError: a relative import, or one of all names (`*`).
        """
        found: dict[str, str] = {}
        queue = [entry]
        while queue:
            node = queue.pop()
            name, _, symbol = node.partition(":")
            module = self.module(name)
            if node in found or module is None:
                continue
            definition = module.definitions.get(symbol, Definition())
            leads: set[str] = set()
            for first, target in self._leads(name, module, definition, compiled):
                if not skip(node, target):
                    leads.add(f" {first}={target}")
                    queue += [n for n in self._nodes(target) if not skip(node, n)]
            found[node] = definition.digest + "".join(sorted(leads))
            queue += [f"{m}:" for m in self._imported(name, module, definition) if not skip(node, f"{m}:")]
        return {k: found[k] for k in sorted(found) if found[k]}

    def _leads(self, name: str, module: Module, used: Definition, compiled: str) -> Iterator[tuple[str, str]]:
        """Yield (name, what it leads to) of all names that a definition uses, and of what it imports by name.

        They lead to `module:name`, to `module:*`, or to the name of another package.
        """
        for first, *attributes in used.names:
            yield from ((first, t) for t in self._targets(name, module, used, first, attributes, compiled))
        for first, *attributes in used.annotated:  # values of these classes come from outside
            for target in self._targets(name, module, used, first, attributes, compiled):
                if target.startswith(OPTIONS):
                    yield first, target
        for pattern in used.by_name:
            head, star, _ = pattern.partition("*")
            if not star:
                yield from (("", t) for t in self._from(pattern, [], compiled))
            elif head.startswith(f"{ROOT}."):  # any other is a function of the user's own
                folder = self.package.joinpath(*head.split(".")[1:-1])
                for file in sorted(folder.glob("*.py")):
                    yield "", f"{head.rpartition('.')[0]}.{file.stem}:*"

    def _targets(
        self, name: str, module: Module, used: Definition, first: str, attributes: list[str], compiled: str
    ) -> Iterator[str]:
        if first not in used.imports and first in module.definitions:
            yield f"{name}:{first}"
        for source, inner in used.imports.get(first, module.imports.get(first, [])):
            yield from self._from(source, [inner, *attributes] if inner else attributes, compiled)

    def _from(self, source: str, names: list[str], compiled: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Yield what names, looked up one in the other from a module on, lead to."""
        if source.split(".")[0] != ROOT:
            yield ".".join([source, *names])
            return
        module = self.module(source)
        if module is None:  # a compiled one, or a name that is made at run time: then all of its module may be meant
            above, _, last = source.rpartition(".")
            yield compiled if last.startswith("_") else f"{above}:*"
        elif not names:
            yield f"{source}:*"
        elif (here := f"{source}:{names[0]}") not in seen and (
            names[0] in module.definitions or names[0] in module.imports
        ):
            if names[0] in module.definitions:
                yield here
            for other, name in module.imports.get(names[0], ()):
                yield from self._from(other, [name, *names[1:]] if name else names[1:], compiled, seen | {here})
        elif not names[0].startswith("__"):  # a module of a package, or a compiled one
            yield from self._from(f"{source}.{names[0]}", names[1:], compiled, seen)

    def _nodes(self, target: str) -> list[str]:
        name, colon, symbol = target.partition(":")
        module = self.module(name) if symbol == "*" else None
        return [f"{name}:{s}" for s in module.definitions] if module else [target] if colon else []

    def _imported(self, name: str, module: Module, used: Definition) -> Iterator[str]:
        """Yield the modules that are imported when a definition is used: its own, their packages, and what these import."""
        yield name
        if "." in name:
            yield name.rpartition(".")[0]
        for bound in (module.imports, used.imports):
            yield from self._modules(bound)

    def _modules(self, bound: Bound) -> Iterator[str]:
        for source, inner in (target for targets in bound.values() for target in targets):
            if source.split(".")[0] == ROOT:
                yield source
                if inner and self.module(f"{source}.{inner}"):
                    yield f"{source}.{inner}"
