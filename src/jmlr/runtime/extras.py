"""What the package needs beyond NumPy, which is all that `jmlr.topk` needs: the extras of pyproject.toml.

A folder of modules that cannot be imported without something asks for it first, so that the error says how to come by it:

    require(__name__, "torch")

>>> how_to_install("train")
"pip install -e '.[train]' in a checkout of this project"
"""

from __future__ import annotations

from importlib.util import find_spec

from jmlr.runtime.errors import UserError

DISTRIBUTION = "jmlr-replication"  # on PyPI the name `jmlr` is another's
# What each extra lets us import.
MODULES = {
    "data": ("datasets", "ftfy", "jinja2", "lxml", "pyarrow", "pydantic", "regex", "tokenizers", "xxhash", "yaml"),
    "train": ("filelock", "httpx2", "peft", "safetensors", "threadpoolctl", "torch", "transformers"),
    "bm25": ("bm25s", "Stemmer"),
    "report": ("matplotlib",),
    "serve": ("starlette", "uvicorn"),
    "workflow": ("snakemake",),
}


class MissingPackageError(UserError, ImportError):
    """A package that an extra brings is not installed; the message is one line and says how to install it."""


def require(module: str, *names: str) -> None:
    """Raise MissingPackageError if one of the packages `names` that `module` imports is not installed. Nothing is imported."""
    for name in names:
        if find_spec(name) is None:
            raise MissingPackageError(f"{module} {needs(name)}")


def needs(name: str) -> str:
    """Return what to do about a missing package; "" for one that no extra brings."""
    extra = next((extra for extra, names in MODULES.items() if name in names), "")
    brought = f"{how_to_install(extra)}, or '.[all]' for the whole workflow"
    return extra and f"needs the package {name}, which is not installed: {brought}"


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra: from a checkout, as no package index has this distribution."""
    return f"pip install -e '.[{extra}]' in a checkout of this project"
