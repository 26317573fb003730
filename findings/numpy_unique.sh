#!/usr/bin/env bash
# numpy 2.4.6: np.unique of integers, beside a sort and one comparison of neighbours.
#
# The guess: np.unique costs what a sort costs, as it did up to NumPy 2.2, or less, since it now uses a hash table.
# What happens: from 2.3 on the values go through a hash table and are sorted afterwards. For int64 that are mostly different, as
# keys and hashes are, this takes many times as long as NumPy's own vectorised sort, and more so the more there are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install numpy==2.4.6
cat > "$work/unique.py" <<'PY'
import time

import numpy as np

print("numpy", np.__version__)


def by_sort(x):
    y = np.sort(x)
    return y[np.concatenate([[True], y[1:] != y[:-1]])]


def seconds(function, x):
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function(x)
        times.append(time.perf_counter() - start)
    return min(times)


ratios = []
for n in (2_000, 100_000, 1_000_000):
    x = np.random.default_rng(0).integers(0, 1 << 40, n)
    assert np.array_equal(np.unique(x), by_sort(x))
    ratios.append(seconds(np.unique, x) / seconds(by_sort, x))
    print(f"{n:,} int64: np.unique takes {ratios[-1]:.1f} times as long as sort and compare")
raise SystemExit(min(ratios) < 2)
PY
if "$work/venv/bin/python" "$work/unique.py"; then
  echo "as found"
else
  echo "the behaviour has changed"
  exit 1
fi
