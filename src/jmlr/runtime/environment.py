"""Environment variables in paths, so that a configuration names no machine's folders.

path: ${JMLR_DATA}/openstax
"""

from __future__ import annotations

import os
import re

from jmlr.runtime.errors import UserError


def expand(path: str, key: str) -> str:
    """Return a path with its environment variables ($NAME, ${NAME}) and a leading ~ replaced.

    Args:
        path: as it was given
        key: the option or configuration key it was given in, for the message

    Raises:
        UserError: a variable is not set, or empty.
    """
    for name in re.findall(r"\$\{(\w+)\}|\$(\w+)", path):
        variable = name[0] or name[1]
        if not os.environ.get(variable):
            raise UserError(f"{key} '{path}': the environment variable {variable} is not set")
    return os.path.expanduser(os.path.expandvars(path))
