#!/usr/bin/env bash
# safetensors 0.8.0: save_file makes a file that only its owner can read, whatever the umask.
#
# Guess: a file of weights gets the mode that open() gives, 0644 under a umask of 022, like config.json beside it.
# Seen: 0600. On a shared file system colleagues read a model's configuration and not its weights.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "safetensors==0.8.0" numpy
umask 022
"$work/venv/bin/python" - "$work" <<'PY'
import sys
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

weights, beside = Path(sys.argv[1], "w.safetensors"), Path(sys.argv[1], "config.json")
save_file({"w": np.zeros(3, np.float32)}, weights)
beside.write_text("{}")
modes = [oct(p.stat().st_mode & 0o777) for p in (weights, beside)]
print("safetensors", safetensors.__version__, "modes of weights and of a text beside them", modes)
assert modes == ["0o600", "0o644"], "no longer so"
PY
