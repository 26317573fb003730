"""Models on the hub: whether they can be had, asked once when a run begins and not hours later by a job.

check_hub({"models.llm.path": "HuggingFaceTB/SmolLM2-135M-Instruct"}, {"train"})       # a UserError where it cannot be had
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from jmlr.runtime.errors import UserError
from jmlr.runtime.warm import WITH_MODELS

FILES = (
    "config.json",
    "modules.json",
)  # a model has the first; what sentence-transformers wrote, the second in any case


def check_hub(models: Mapping[str, str], stages: Collection[str]) -> None:
    """Ask the hub for each model that the local cache does not hold; one request, without another try.

    Args:
        models: keys of the configuration -> folder or hub name; folders are passed over
        stages: those that have jobs

    Raises:
        UserError: the hub cannot be reached, does not have a model, or does not give it.
    """
    if not set(stages).intersection(WITH_MODELS):
        return
    for key, name in models.items():
        if not os.path.exists(name) and (wrong := _fault(name)):
            hint = "allowed: a folder on this machine, or a name that the hub knows"
            raise UserError(f"config: {key} '{name}': {wrong}; {hint}")


def _fault(name: str) -> str:
    """Return why a model cannot be had; "" where it can."""
    from huggingface_hub import file_exists, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError

    try:
        if any(isinstance(try_to_load_from_cache(name, file), str) or file_exists(name, file) for file in FILES):
            return ""
        return f"the hub does not have it, or no {' or '.join(FILES)} of it"
    except GatedRepoError:
        return "the hub gives it to those alone who accepted its terms; set HF_TOKEN"
    except HFValidationError:
        return "neither a folder nor a name of the hub's form"
    except Exception as error:  # of the HTTP library below, which is not the same in all versions
        return f"the hub cannot be reached ({' '.join(str(error).split())[:120]}), and the local cache does not have it"
