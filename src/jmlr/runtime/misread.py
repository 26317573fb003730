"""YAML that is read otherwise than it looks: 2:00:00 is 7200, 010 is 8, and of two equal keys the last alone counts.

>>> list(misread("train:\\n  runtime: 2:00:00"))
['line 2: runtime: 2:00:00 is read as 7200; write the number that is meant, without colons or a leading zero']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing

# YAML 1.1, which PyYAML and Snakemake read: colons count in sixties, a leading zero in eights.
OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9_]+(:[0-9_.]+)+")
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_mapping(file: Path, what: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; an empty one where it holds nothing.

    Args:
        file: the file
        what: the option or argument that names it

    Raises:
        UserError: it is not there, no UTF-8, no YAML, no mapping, or is read otherwise than it looks; in one line.
    """
    if existing(file, what).is_dir():
        raise UserError(f"{what}: '{file}' is a folder; allowed: a YAML file")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{where}: not YAML: {getattr(error, 'problem', error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text in UTF-8: {' '.join(str(error).split())}") from None
    if data is not None and not isinstance(data, dict):
        raise UserError(f"{file}: a mapping of keys is wanted, not {type(data).__name__}")
    refuse_misread([file])
    return data or {}


def refuse_misread(files: Iterable[str | Path]) -> None:
    """Raise UserError, with file and line, for the first value that YAML reads otherwise than it looks."""
    for file in files:
        for fault in misread(Path(file).read_text(encoding="utf-8", errors="replace")):
            raise UserError(f"{file}, {fault}")


def misread(text: str) -> Iterator[str]:
    """Yield 'line N: ...' for each such value or key; nothing for text that is no YAML, which its readers refuse."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return
    queue, seen = [root] if root else [], set[int]()
    while queue:
        node = queue.pop(0)
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _mapping(node)
            queue += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            yield from (f"{_line(item)}: {_value(item)}" for item in node.value if _other_base(item))
            queue += node.value


def keys_of(file: str | Path, key: str) -> list[str]:
    """Return the keys of a mapping below a key of a file; none where there is no such mapping."""
    try:
        data = yaml.safe_load(Path(file).read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError:
        return []
    inner = data.get(key) if isinstance(data, dict) else None
    return [str(k) for k in inner] if isinstance(inner, dict) else []


def _mapping(node: yaml.MappingNode) -> Iterator[str]:
    first: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else str(key)
        if name in first and name != "<<":
            yield f"{_line(key)}: '{name}' stands in {_line(first[name])} already, which would not count; allowed: once"
        first[name] = key
        if _other_base(value):
            yield f"{_line(value)}: {name}: {_value(value)}"


def _other_base(node: yaml.Node) -> bool:
    return node.tag in NUMBERS and bool(OTHER_BASE.fullmatch(node.value))


def _value(node: yaml.ScalarNode) -> str:
    return f"{node.value} is read as {yaml.safe_load(node.value)}; write the number that is meant, without colons or a leading zero"


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
