"""A function of one's own, named `module:function` in the configuration.

The module is looked for on the Python path, then in the folder of the run.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from jmlr.runtime.errors import UserError


def function_of(name: str, option: str, allowed: str) -> Callable[..., Any]:
    """Return the function.

    Args:
        name: 'module:function'
        option: which says so, for messages
        allowed: what else may stand there, for messages

    Raises:
        UserError: the name has another form, its module cannot be imported, or there is no such function.
    """
    module, _, function = name.partition(":")
    where = f"{option} '{name}'"
    if not module or not function:
        raise UserError(f"{where}: allowed: 'module:function', {allowed}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), function)
    except AttributeError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception as error:  # whatever the module does
        said = " ".join(str(error).split())
        raise UserError(f"{where}: cannot be imported: {type(error).__name__}: {said}") from None
    if not callable(found):
        raise UserError(f"{where}: not a function")
    return found
