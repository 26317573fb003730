"""`jmlr config`: check configuration files, or write the files that are generated from `jmlr.config` and `jmlr.options`.

jmlr config --check config/runs/openstax.yaml config/offline/openstax.yaml          # one run, of files over each other
jmlr config --write          # config/config.yaml, config/schema.json and docs/config.md of the checkout
"""

from __future__ import annotations

import json
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jmlr.checks import checked
from jmlr.config import Config, ConfigError
from jmlr.options.own import BY_NAME
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_file
from jmlr.runtime.misread import read_mapping
from jmlr.runtime.progress import say
from jmlr.runtime.validation import nearest

HEAD = """\
# The embedded demo: all keys, with toy values that suit tiny models from scratch; what a run of one's own gets instead stands in
# brackets. `jmlr config --write` keeps the values, and generates the rest from src/jmlr/options.
# Another run is a file of its own that states only what differs (config/runs/): snakemake --cores all --configfile FILE.
# yaml-language-server: $schema=schema.json
"""
PAGE = """\
# Configuration

All keys, generated from `src/jmlr/options` by `jmlr config --write`.

A run is a YAML file with the keys that differ from these defaults: `snakemake --cores all --configfile
config/runs/openstax.yaml`. A smaller file after it goes on top: `--configfile config/runs/openstax.yaml more.yaml`, or,
on one machine, single values: `--config seeds='[0,1,2]'`. An unknown key, or a value of the wrong kind, ends the run
before it begins, with one line that names the key and the nearest valid one. `jmlr config --check FILE ...` says the
same without running anything, of files over each other as `--configfile` takes them. The mappings `sources`, `models`
and `systems` of a run take the place of the defaults as a whole; between files they are merged. So a model that has a
`path` in the file below, and is to be pre-trained, is given `path: ""` beside its `pretrain`; the other way round,
`pretrain: null`. A row, model or source set to `null` is taken away: `systems: {rag: null}`. Environment variables
(`$NAME`) are put into paths; a relative path starts at the working directory.

The defaults suit pretrained models and data of one's own. A run that reads the demo's world, or names no sources at
all, lies on `config/config.yaml`, the demo, instead.
"""


def config(check: list[Path] | None = None, write: bool = False, folder: Path = Path()) -> None:
    """Check configuration files, or write config/config.yaml, config/schema.json and docs/config.md from the defaults.

    Args:
        check: YAML files of one run, each over those before it, as `snakemake --configfile` takes them
        write: write the generated files
        folder: the checkout they are written to

    Example:
        jmlr config --check config/runs/openstax.yaml config/offline/openstax.yaml
    """
    if not check and not write:
        raise UserError("give --check FILE ... or --write")
    if check:
        run, named = read_config(*check, contents=True), " ".join(map(str, check))
        _variables(run, named)
        systems, seeds = count_of(len(run.systems), "system"), count_of(len(run.seeds), "seed")
        print(f"{named}: a run '{run.run}' of {systems} and {seeds}")
    if write and not (folder / "Snakefile").is_file():
        raise UserError(f"--write: '{folder}' is no checkout of this project: it has no Snakefile; --folder names one")
    if write:
        for name, text in generated().items():
            with fresh_file(folder / name) as target:
                target.write_text(text, encoding="utf-8")
            print(folder / name)


def _variables(run: Config, file: str) -> None:
    """Refuse an endpoint whose key's variable is not set; a run asks for it only when it asks the server."""
    used = {*(s.llm for s in run.systems.values()), *run.judge.judges}
    for name, endpoint in run.endpoints.items():
        if name in used and endpoint.key_env and not os.environ.get(endpoint.key_env):
            raise UserError(f"{file}: endpoints.{name}.key_env: the environment variable {endpoint.key_env} is not set")


def read_config(*files: Path, contents: bool = False, what: str = "--check") -> Config:
    """Read and check a configuration: a file and those over it, mapping by mapping, as `snakemake --configfile` takes them.

    Args:
        files: the first, and others over it in their order; what is no mapping is replaced as a whole.
        contents: check all that is named in them too.
        what: the argument that named the files.

    Raises:
        UserError: one line that names the file, or all of them where only together they are at fault.
    """
    data: dict[str, Any] = {}
    for file in files:
        part = read_mapping(file, what)
        if not part:
            raise UserError(
                f"{file}: it holds no keys, and Snakemake takes no such file; allowed: at least 'run: NAME'"
            )
        below, above = data.get("run"), part.get("run")
        if below and above and below != above:
            say(f"{file}: its run '{above}' takes the place of '{below}': files that are given together are one run")
        _say_replaced(file, part, data)
        _check_taken_away(file, part, data)
        data = _over(data, part)
    named = " ".join(map(str, files))
    try:
        if not contents:
            return Config.load(data)
        run = checked(data)
    except (ConfigError, UserError) as error:
        raise UserError(f"{named}: {error}") from None
    for line in run.warnings:
        say(f"{named}: warning: {line}")
    return run.config


def _say_replaced(file: Path, part: dict[str, Any], data: dict[str, Any]) -> None:
    """Say so where a run's file takes the place of what was meant to lie over it: values of files that name no run."""
    now = dict(_values(_over(data, part)))
    lost = [k for k, value in _values(data) if k not in now or now[k] != value]
    if "run" in part and "run" not in data and lost:
        what = f"{len(lost)} values of the files before it, {', '.join(lost[:3])} among them"
        say(f"{file}: warning: it is a run of its own, and replaces {what}; what is to lie over a run stands behind it")


def _check_taken_away(file: Path, part: dict[str, Any], data: dict[str, Any]) -> None:
    """Refuse to take away what is not there: a row, model, endpoint or source that a file sets to null, and none before it has."""
    for section in BY_NAME:
        above, below = part.get(section) or {}, data.get(section) or {}
        for name in (k for k, v in above.items() if v is None and k not in below) if isinstance(above, dict) else ():
            hint = nearest(name, below) if below else "; allowed: in a file after the run's own"
            raise UserError(f"{file}: {section}.{name}: null takes it away, and it is not there{hint}")


def _values(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by their keys; a list is one value."""
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _values(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with another over it."""
    both = {k: _over(below[k], v) for k, v in above.items() if isinstance(v, dict) and isinstance(below.get(k), dict)}
    return {**below, **above, **both}


def generated() -> dict[str, str]:
    """Return the generated files of the checkout by name."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return {
        "config/config.yaml": HEAD + "\n".join(_yaml(Config.load({}), 0, set())) + "\n",
        "config/schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        "docs/config.md": PAGE + "\n".join(_tables(Config, "", set())) + "\n",
    }


def _yaml(model: BaseModel, indent: int, explained: set[tuple[type, str]]) -> Iterator[str]:
    """Yield the lines of a model; each key is explained where it first appears."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None and _models(info.annotation)[0]:
            continue
        comment = "" if (type(model), name) in explained else f"  # {_explained(info)}{_elsewhere(info, value)}"
        explained.add((type(model), name))
        if indent == 0 and isinstance(value, (BaseModel, dict)):
            yield ""
        yield from _entry(f"{' ' * indent}{name}:", value, indent, comment, explained)


def _elsewhere(info: Any, value: Any) -> str:
    """Return the default of a key, in brackets, where the demo has another value."""
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if info.is_required() or default == value or default in ("", [], {}) or _models(info.annotation)[0]:
        return ""
    return f" [{'none' if default is None else _scalar(default)}]"


def _entry(head: str, value: Any, indent: int, comment: str, explained: set[tuple[type, str]]) -> Iterator[str]:
    """Yield one key with its value: a section, a list of sections, or a scalar on the same line."""
    if isinstance(value, BaseModel):
        yield head + comment
        yield from _yaml(value, indent + 2, explained)
    elif isinstance(value, dict) and any(isinstance(v, BaseModel) for v in value.values()):
        yield head + comment
        for key, part in value.items():
            yield from _entry(f"{' ' * (indent + 2)}{key}:", part, indent + 2, "", explained)
    elif isinstance(value, list) and any(isinstance(v, BaseModel) for v in value):
        yield head + comment
        for part in value:
            first, *rest = _yaml(part, indent + 4, explained)
            yield f"{' ' * (indent + 2)}- {first.strip()}"
            yield from rest
    elif isinstance(value, dict) and value:
        yield head + comment
        yield from (f"{' ' * (indent + 2)}{k}: {_scalar(v)}" for k, v in value.items())
    else:
        yield f"{head} {_scalar(value)}{comment}"


def _scalar(value: Any) -> str:
    """Write a plain value so that YAML and JSON readers see the same one."""
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")  # YAML 1.1 wants the point
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z][\w/. -]*\w", value)
        and value.lower() not in ("yes", "no", "true", "false", "on", "off", "null")
    ):
        return value
    return json.dumps(value, ensure_ascii=False)


def _tables(model: type[BaseModel], path: str, seen: set[type]) -> Iterator[str]:
    """Yield a table of keys for a model, then those of the models inside it; each model is described once."""
    seen.add(model)
    text = (model.__doc__ or "").strip().split("\n")[0]
    yield from (
        "",
        f"## {f'`{path}`' if path else 'The run'}",
        "",
        text,
        "",
        "| key | kind | default | meaning |",
        "|---|---|---|---|",
    )
    inner: list[tuple[type[BaseModel], str]] = []
    for name, info in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        models, many = _models(info.annotation)
        inner += [(m, f"{key}.NAME" if many == "dict" else f"{key}[]" if many == "list" else key) for m in models]
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        shown = "see below" if models and default is not None else f"`{json.dumps(default)}`"
        text = (info.description or "").replace("|", "&#124;")
        yield f"| `{name}` | {_kind(info.annotation)} | {'required' if info.is_required() else shown} | {text} |"
    for part, key in inner:
        if part not in seen:
            yield from _tables(part, key, seen)


def _models(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """Return the models in an annotation, and whether they stand in a 'dict' or a 'list'."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], ""
    found = [m for a in typing.get_args(annotation) for m in _models(a)[0]]
    return found, getattr(typing.get_origin(annotation), "__name__", "")


def _kind(annotation: Any) -> str:
    """Say what kind of value an annotation allows."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " \\| ".join(f"`{a}`" for a in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(a) for a in arguments if a is not type(None))
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping to {_kind(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Any": "any"}[
        annotation.__name__
    ]


def _explained(info: Any) -> str:
    """Return a key's description, and its choices where the description does not go through them."""
    text, kind = info.description or "", info.annotation
    if typing.get_origin(kind) is not typing.Literal or f"{typing.get_args(kind)[0]}:" in text:
        return text
    return f"{text} ({' | '.join(typing.get_args(kind))})"
