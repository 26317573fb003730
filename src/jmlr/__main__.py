"""The one door: `jmlr <stage> ...`, the same for rules, torchrun, SLURM and people.

Each stage is one function, `jmlr.stages.<stage>.<stage>`; its parameters become options, and an options model of
`jmlr.options` becomes one option per field; `--options FILE` holds values of them. A user's mistake ends with one line on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import signal
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jmlr import __version__
from jmlr.runtime.errors import ConfigError, UserError, full_disk
from jmlr.runtime.extras import needs
from jmlr.runtime.job_options import read_options
from jmlr.runtime.launch import tell_torchrun
from jmlr.runtime.stages import STAGES
from jmlr.runtime.validation import Word, nearest, one_line
from jmlr.runtime.warm import run_warm

if TYPE_CHECKING:
    from pydantic import BaseModel

PEOPLE = {
    "ask": "ask a finished run a question",
    "config": "check a configuration, or write the generated files of config/",
    "init": "look into your documents and questions, and write a run file that reads them",
    "export": "write a finished run's models for others, the language model with its adapter merged; or its retrieval set",
    "plan": "what a run submits to a cluster and costs, before anything runs",
    "push": "upload a trained row's adapter, language model or retriever to the Hugging Face hub, with its card",
    "review": "make blinded review pages of a finished run, or merge what reviewers sent back",
    "serve": "a page and an OpenAI-compatible API over a finished run",
    "why": "which functions have changed since a run's outputs were made",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Whoever reads our output may have read enough: `jmlr plan ... | head`."""
    if not sys.stderr.isatty():  # a log is no place for libraries' bars; tqdm asks when it is imported
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        try:
            given = list(sys.argv[1:] if argv is None else argv)
            code = run_warm(given)
            return _called(given) if code is None else code
        except SystemExit:  # argparse's help
            sys.stdout.flush()
            raise
    except BrokenPipeError:
        # nor does the interpreter complain on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _called(argv: list[str]) -> int:
    """Run one command; return its exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(), flush=True)
        return 0
    if argv[0] == "--version":
        print(f"jmlr {__version__}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in STAGES and name not in PEOPLE:
        print(f"jmlr: no command '{name}'{nearest(name, [*STAGES, *PEOPLE])}", file=sys.stderr)
        return 2
    try:
        function = getattr(importlib.import_module(f"jmlr.{home(name)}.{name}"), name)
        arguments = _parse(name, function, rest)
        first = [
            arguments.pop(k) for k, p in inspect.signature(function).parameters.items() if p.kind is p.POSITIONAL_ONLY
        ]
        function(*first, **arguments)
        sys.stdout.flush()
    except (UserError, ConfigError) as error:
        return _refused(name, str(error))
    except ModuleNotFoundError as error:
        if not (what := needs(error.name or "")):
            raise
        return _refused(name, what)
    except KeyboardInterrupt:
        print(f"jmlr {name}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not full_disk(error):
            raise
        return _refused(name, full_disk(error))
    return 0


def _refused(name: str, why: str) -> int:
    line = f"jmlr {name}: {why}"
    print(line, file=sys.stderr)
    tell_torchrun(line)
    return 2


def home(name: str) -> str:
    """Return the package that a command stands in.

    >>> home("train"), home("init")
    ('stages', 'commands')
    """
    return "stages" if name in STAGES else "commands"


def _overview() -> str:
    width = max(map(len, [*STAGES, *PEOPLE])) + 2
    lines = [
        "usage: jmlr <command> [options]     (jmlr <command> --help for its options)",
        "",
        "stages, in the order of the workflow:",
    ]
    lines += [f"  {name:{width}}{text}" for name, text in STAGES.items()]
    lines += ["", "for people:"] + [f"  {name:{width}}{text}" for name, text in PEOPLE.items()]
    lines += [
        "",
        "The workflow that runs the stages is the Snakefile of a checkout; an installed package has the commands alone.",
    ]
    return "\n".join(lines)


FILE = "options of a file"
FILE_HELP = "YAML file of the options below, and of those that take JSON; one that stands here too counts as given here"


class _Formatter(argparse.HelpFormatter):
    """Help with the defaults that say something, written as they are given: JSON for lists and mappings, switches by name."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)  # an example keeps its lines

    def _get_help_string(self, action: argparse.Action) -> str:
        text, value = action.help or "", action.default
        if action.required or value is None or value is argparse.SUPPRESS:
            return text
        if isinstance(value, bool):
            shown = action.option_strings[not value]
        else:
            shown = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
        return f"{text} (default: {shown.replace('%', '%%')})"


class _Parser(argparse.ArgumentParser):
    """An argument parser that refuses a wrong option with one line and names the nearest valid one."""

    def error(self, message: str) -> typing.NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized") and unknown.startswith("--"):
            message = f"unknown option {unknown}{nearest(unknown, self._option_string_actions)}"
        raise UserError(message)


def _parse(name: str, function: Callable[..., None], argv: Sequence[str]) -> dict[str, Any]:
    """Turn arguments into the function's keyword arguments."""
    from pydantic import BaseModel, ValidationError

    parser = _Parser(
        prog=f"jmlr {name}",
        description=(inspect.getdoc(function) or "").split("\n\n")[0],
        epilog=_example(function),
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    hints, parameters = typing.get_type_hints(function), inspect.signature(function).parameters
    texts = _parameter_texts(function)
    models: dict[str, type[BaseModel]] = {}
    paths = parser.add_argument_group("inputs and outputs")
    for key, parameter in parameters.items():
        if isinstance(hints[key], type) and issubclass(hints[key], BaseModel):
            models[key] = hints[key]
            group = parser.add_argument_group((hints[key].__doc__ or key).split("\n")[0].rstrip("."))
            for field, info in hints[key].model_fields.items():
                _add(group, field, info.annotation, info.get_default(call_default_factory=True), info.description or "")
        else:
            _add(
                paths,
                key,
                hints[key],
                parameter.default,
                texts.get(key, ""),
                positional=parameter.kind is parameter.POSITIONAL_ONLY,
            )
    if models:
        paths.add_argument("--options", type=Path, dest=FILE, metavar="FILE", help=FILE_HELP)
    held = _held(parser, argv, {f for model in models.values() for f in model.model_fields}) if models else {}
    said = {key: _names(value) for key, value in vars(parser.parse_args(argv)).items()}
    given = {FILE: None, **held, **said}
    arguments = {key: given[key] for key in parameters if key not in models}
    for key, model in models.items():
        try:
            arguments[key] = model.model_validate({f: given[f] for f in model.model_fields})
        except ValidationError as error:
            raise UserError((f"{given[FILE]}: " if given[FILE] else "") + one_line(error, model)) from None
    return arguments


def _held(parser: argparse.ArgumentParser, argv: Sequence[str], fields: set[str]) -> dict[str, Any]:
    """Return what the file of `--options` holds; the parser then gives these options only where the command line has them."""
    finder = _Parser(add_help=False, allow_abbrev=False)
    finder.add_argument("--options", type=Path)
    file = finder.parse_known_args(argv)[0].options
    held = read_options(file) if file else {}
    actions = {a.dest: a for a in parser._actions if a.dest in fields or a.type is _json}
    for key in held:
        if key not in actions:
            raise UserError(f"{file}: unknown option '{key}'{nearest(str(key), actions)}")
        actions[key].default, actions[key].required = argparse.SUPPRESS, False
    return held


def _add(group: Any, name: str, kind: Any, default: Any, text: str, positional: bool = False) -> None:
    """Add one option of a type that appears in stage functions and options models."""
    from pydantic import BaseModel

    if typing.get_origin(kind) in (typing.Union, types.UnionType):  # X | None
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    origin, required = typing.get_origin(kind), default is inspect.Parameter.empty
    spec: dict[str, Any] = {"help": (text or " ").replace("%", "%%"), "default": None if required else default}
    if origin is Literal:
        spec["choices"] = typing.get_args(kind)
    elif kind is bool:
        spec["action"] = argparse.BooleanOptionalAction
    elif kind == list[Word]:
        spec |= {"nargs": "+", "metavar": "NAME"}
    elif (origin in (list, dict) and typing.get_args(kind)[0] is not Path) or (
        isinstance(kind, type) and issubclass(kind, BaseModel)
    ):
        spec |= {"type": _json, "metavar": "JSON", "default": _plain(spec["default"])}
    elif origin is list:
        spec |= {"type": Path, "nargs": "+", "metavar": "PATH"}
    else:
        spec |= {"type": kind, "metavar": kind.__name__.upper()}
    if positional:
        group.add_argument(name, **{k: v for k, v in {**spec, "metavar": name.upper()}.items() if k != "default"})
    else:
        group.add_argument("--" + name.replace("_", "-"), dest=name, required=required, **spec)


def _names(value: Any) -> Any:
    """Return names as they were given, as words; one JSON list, as the workflow writes it, is taken apart."""
    only = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(only, str) or not only.startswith("["):
        return value
    try:
        return json.loads(only)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON ({error}): {only!r}") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        such = """such as '["a", "b"]' or '{"A": "a", "B": "b"}'"""
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text!r}; JSON is {such}") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # pydantic's
        return value.model_dump(mode="json")
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _example(function: Callable[..., None]) -> str:
    """Return the section 'Example:' of the function's docstring or its module's, which ends the help."""
    texts = [inspect.getdoc(where) or "" for where in (function, inspect.getmodule(function))]
    section = next((text.partition("Example:\n")[2] for text in texts if "Example:\n" in text), "")
    return f"example:\n{section.rstrip()}" if section else ""


def _parameter_texts(function: Callable[..., None]) -> dict[str, str]:
    """Read `name: text` lines of the section 'Args:' of a docstring."""
    texts: dict[str, str] = {}
    _, _, section = (inspect.getdoc(function) or "").partition("Args:\n")
    for line in section.split("\n"):
        if not line.startswith("    "):
            break
        key, colon, text = line.strip().partition(": ")
        if colon and key.isidentifier():
            texts[key] = text
        elif texts:
            texts[next(reversed(texts))] += " " + line.strip()
    return texts


if __name__ == "__main__":
    sys.exit(main())
