"""How Snakemake was called: what it drops, or changes on the way to a job, without a word.

check_call(["snakemake", "--configfile", "a.yaml", "--configfile", "b.yaml"], {})    # UserError: --configfile stands twice
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jmlr.runtime.errors import UserError
from jmlr.runtime.misread import keys_of, refuse_misread
from jmlr.runtime.progress import say

# Snakemake's options that take several values: given twice, the last alone counts (seen with 9.27.1).
SEVERAL = (
    ("--configfile", "--configfiles"),
    ("--config", "-C"),
    ("--set-resources",),
    ("--set-threads",),
    ("--default-resources", "--default-res"),
    ("--forcerun", "-R"),
    ("--until", "-U"),
    ("--omit-from", "-O"),
)
FROM_PROFILE = ("set-resources", "set-threads", "default-resources")
VARIABLE = "JMLR_CONFIG"  # of the submitting Snakemake's environment, which its jobs inherit


def check_call(
    argv: Sequence[str], environment: Mapping[str, str], configfiles: Iterable[str | Path] = (), checkout: str = ""
) -> None:
    """Raise UserError for an option that counts in part, or a value in a file that YAML reads otherwise than it looks.

    Args:
        argv: the submitting Snakemake's command
        environment: its environment variables
        configfiles: what it was given by --configfile
        checkout: folder of the Snakefile
    """
    if set(checkout) & set("{}"):
        raise UserError(f"'{checkout}': Snakemake takes braces in its folder's name for a wildcard; move the checkout")
    for names in SEVERAL:
        if len(given := [word for word in _options(argv) if _is(word, names)]) > 1:
            what = f"{given[0]} stands {len(given)} times, and Snakemake takes the last alone"
            raise UserError(f"{what}; give it once, with all values after it: {names[0]} A B")
    profiles = list(profile_files(argv, environment))
    refuse_misread([*profiles, *configfiles])
    for key in FROM_PROFILE:
        for file in profiles:
            lost = keys_of(file, key)
            if lost and any(_is(word, (f"--{key}",)) for word in _options(argv)):
                say(f"note: --{key} takes the place of all of {key} in {file} ({', '.join(lost)})")


def profile_files(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files of the profiles that a command names, and of the workflow's own, as Snakemake finds them."""
    words = [w for word in _options(argv) for w in word.split("=", 1)]
    named = [b for a, b in pairwise(words) if a in ("--profile", "--workflow-profile")]
    home = environment.get("XDG_CONFIG_HOME") or "~/.config"
    places = [".", f"{home}/snakemake", "/etc/xdg/snakemake"]
    for name in dict.fromkeys([*(named or [environment.get("SNAKEMAKE_PROFILE", "")]), "profiles/default"]):
        found = [p for place in places if name and (p := Path(place).expanduser() / name).exists()][:1]
        for path in found:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            yield from (f for f in files if path.is_file() or re.fullmatch(r"(profile|config)(\.v\d\+)?\.yaml", f.name))


def same_config(config: Mapping[str, Any], *, submitting: bool, module: str = "") -> None:
    """Remember the configuration in the environment; in a job, raise UserError if it is not the one remembered.

    The SLURM plugin hands --config to its jobs by a shell that changes quotes, dollars and line ends (seen with 2.8.0),
    and a job reads files anew, which may have been edited since.

    Args:
        config: Snakemake's, before it is checked
        submitting: this is the Snakemake that a person started, not a job of it
        module: name by which another workflow uses this one; each of several has a configuration of its own
    """
    variable = f"{VARIABLE}_{module}" if module else VARIABLE
    digests = {str(key): hashlib.sha256(repr(value).encode()).hexdigest()[:16] for key, value in config.items()}
    if submitting:
        os.environ[variable] = json.dumps(digests)
    elif variable in os.environ and digests != (expected := json.loads(os.environ[variable])):
        other = [k for k in {**expected, **digests} if expected.get(k) != digests.get(k)]
        raise UserError(
            f"config: {', '.join(other)}: not as the submitting Snakemake had it; --config does not reach jobs unchanged: "
            "write its values into a file, --configfile RUN.yaml MORE.yaml; an edited file counts from the next call on"
        )


def _options(argv: Sequence[str]) -> Sequence[str]:
    """Return the words of a command before `--`, after which targets stand."""
    return argv[: list(argv).index("--")] if "--" in argv else argv


def _is(word: str, names: Iterable[str]) -> bool:
    """Tell whether a word is an option of one of these names: --name, --name=value, -N, -Nvalue."""
    return any(word == n or word.startswith(f"{n}=" if n.startswith("--") else n) for n in names)
