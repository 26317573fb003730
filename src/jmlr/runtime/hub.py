"""Models on the hub: whether they can be had, asked once when a run begins and not hours later by a job.

check_hub({"models.llm.path": "HuggingFaceTB/SmolLM2-135M-Instruct"}, {"train"})       # a UserError where it cannot be had
"""

from __future__ import annotations

import os
import textwrap
import urllib.parse
from collections.abc import Collection, Mapping
from pathlib import Path

from jmlr.runtime.errors import UserError, shown
from jmlr.runtime.warm import WITH_MODELS

FILES = (
    "config.json",
    "modules.json",
)  # a model has the first; what sentence-transformers wrote, the second in any case
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
)  # one that is read without a model may have no config.json
FOLDERS = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")  # variables that name where the local cache is


def check_hub(models: Mapping[str, str], stages: Collection[str]) -> None:
    """Ask the hub for each model that the local cache does not hold; one request, without another try.

    Args:
        models: keys of the configuration -> folder or hub name; folders are passed over
        stages: those that have jobs

    Raises:
        UserError: the hub cannot be reached, does not have a model, or does not give it; or a variable of the environment is wrong.
    """
    wanted = {k: name for k, name in models.items() if _users(k).intersection(stages) and not os.path.exists(name)}
    if wanted:
        check_environment()
    for key, name in wanted.items():
        if wrong := _fault(name, _files(key)):
            hint = "allowed: a folder on this machine, or a name that the hub knows"
            raise UserError(f"config: {key} '{name}': {wrong}; {hint}")


def _users(key: str) -> set[str]:
    """Return the stages that read what a key names."""
    if key == "prepare.tokenizer":
        return {"prepare"}
    return {"pretrain"} if key.endswith(".pretrain.tokenizer") else set(WITH_MODELS)


def _files(key: str) -> tuple[str, ...]:
    """Return the files of which one must be there."""
    if key == "prepare.tokenizer":
        return TOKENIZER_FILES[:1]
    return (*TOKENIZER_FILES, *FILES) if key.endswith(".tokenizer") else FILES


def check_environment() -> None:
    """Refuse variables with which the hub's library fails in words that blame the hub."""
    for variable in FOLDERS:
        place = Path(os.path.expanduser(os.path.expandvars(os.environ.get(variable, ""))))
        if file := next((p for p in (place, *place.parents) if p.is_file()), None):
            raise UserError(
                f"{variable} {shown(place, 200)}: {shown(file, 200)} is a file; allowed: a folder, or not set"
            )
    if endpoint := os.environ.get("HF_ENDPOINT", ""):
        try:
            url = urllib.parse.urlsplit(endpoint)
            good = url.scheme in ("http", "https") and bool(url.hostname)
        except ValueError:
            good = False
        if not good:
            raise UserError(f"HF_ENDPOINT {shown(endpoint, 200)}: no URL; allowed: https://HOST, or not set")


def _fault(name: str, files: Collection[str]) -> str:
    """Return why a model cannot be had; "" where it can."""
    from huggingface_hub import file_exists, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled

    try:
        if any(isinstance(try_to_load_from_cache(name, file), str) or file_exists(name, file) for file in files):
            return ""
        return f"the hub does not have it, or no {' or '.join(files)} of it"
    except GatedRepoError:
        return "the hub gives it to those alone who accepted its terms; set HF_TOKEN"
    except HFValidationError:
        return "neither a folder nor a name of the hub's form"
    except OfflineModeIsEnabled:
        return (
            "HF_HUB_OFFLINE is set, and the local cache does not have it; unset it, or fetch the model first: hf download "
            + name
        )
    except Exception as error:  # of the HTTP library below, which is not the same in all versions
        said = textwrap.shorten(" ".join(str(error).split()) or type(error).__name__, 160, placeholder=" ...")
        return f"the hub cannot be reached ({said}), and the local cache does not have it"
