#!/usr/bin/env bash
# numpy 2.4.6 on Linux with glibc: where large arrays begin, in memory and mapped from a file.
#
# The guess: an array of many megabytes begins on a page, or on a cache line (64 bytes) at least, and certainly no worse
# in memory than mapped from its .npy file.
# What happens: a new large array begins 16 bytes past a page, since the allocator's own note stands before it. So of
# rows that are a multiple of 64 bytes each load of 64 bytes straddles two cache lines. The header of a .npy file is
# filled up to a multiple of 64 bytes, so the same array mapped from its file begins on a line.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install numpy==2.4.6
cat > "$work/where.py" <<'PY'
import sys

import numpy as np

print("numpy", np.__version__)
shape = (100_000, 768)
ways = {
    "np.empty": np.empty(shape, np.uint8),
    "np.zeros": np.zeros(shape, np.uint8),
    "a copy": np.zeros(shape, np.uint8).copy(),
    "astype": np.zeros(shape, np.uint8).astype(np.float32),
}
np.save(sys.argv[1] + "/array.npy", ways["np.zeros"])
ways["mapped"] = np.load(sys.argv[1] + "/array.npy", mmap_mode="r")
ways["np.load"] = np.load(sys.argv[1] + "/array.npy")
past = {name: array.ctypes.data % 4096 for name, array in ways.items()}
for name, bytes_past in past.items():
    print(f"{name}: {bytes_past} bytes past a page, {bytes_past % 64} past a cache line")
in_memory = {p for name, p in past.items() if name != "mapped"}
raise SystemExit(in_memory != {16} or past["mapped"] % 64 != 0)
PY
if "$work/venv/bin/python" "$work/where.py" "$work"; then
  echo "as found"
else
  echo "the behaviour has changed"
  exit 1
fi
